"""Where the DSM services are."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from functions.kit.settings import Settings


class ServiceSettings(Settings):
    """Where the DSM services are."""

    project_service_url: str = Field(
        "http://project-service.dsm.svc.cluster.local", description="base URL of project-service"
    )
    sprint_service_url: str = Field(
        "http://sprint-service.dsm.svc.cluster.local", description="base URL of sprint-service"
    )
    backlog_service_url: str = Field(
        "http://backlog-service.dsm.svc.cluster.local", description="base URL of backlog-service"
    )
    daily_scrum_service_url: str = Field(
        "http://daily-scrum-service.dsm.svc.cluster.local",
        description="base URL of daily-scrum-service",
    )
    chronicle_service_url: str = Field(
        "http://chronicle-service.dsm.svc.cluster.local",
        description="base URL of chronicle-service",
    )
    project_orchestrator_url: str = Field(
        "http://project-orchestrator.dsm.svc.cluster.local",
        description="base URL of project-orchestrator",
    )
    daily_scrum_route: Literal["run", "run-daily-scrum"] = Field(
        "run",
        description="how a day is simulated. `run`: POST /scrums/{sprint_id}/run of "
        "daily-scrum-service; `run-daily-scrum`: POST /sprints/{sprint_id}/run-daily-scrum of "
        "sprint-service, which files a report itself",
    )
