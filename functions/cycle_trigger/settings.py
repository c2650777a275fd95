"""What cycle-trigger reads."""

from __future__ import annotations

from pydantic import Field

from functions.kit.settings import Settings


class CycleSettings(Settings):
    """How cycles are run, and with which schedules."""

    cycle_schedules_file: str = Field(
        "", description="JSON file, project id to the cron of its daily scrum; none: the default"
    )
    cycle_concurrency: int = Field(
        1,
        ge=1,
        le=100,
        description="cycles that a process, of which there is one, works on at once; parallel ones "
        "open the circuit breakers of services that are not this project's own",
    )
    create_cronjob: bool = Field(
        True,
        description="ask project-orchestrator for a schedule of each new sprint; false where its "
        "CronJobs would simulate the day a second time",
    )
