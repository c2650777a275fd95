"""The six DSM services, as their clients see them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from datetime import date
from typing import Any

import httpx

import functions.kit.clients.http  # noqa: F401 - a tenth of a second, not in the first request
from functions.dsm_client.settings import ServiceSettings
from functions.events.base import Id, Value
from functions.events.cycle import BacklogCounts, BacklogGenerated, Orchestration
from functions.events.scrum import ScrumRun
from functions.events.sprint import (
    Member,
    ProjectSprints,
    Sprint,
    SprintCounts,
    SprintDetail,
    Task,
    TaskSummary,
)
from functions.kit.clients import ServiceClient, Unreadable, path, typed
from functions.kit.context import Context, Resources
from functions.kit.errors import NotFound, PermanentError, TemporaryError

logger = logging.getLogger(__name__)

DAILY_REPORT = "/v1/notes/daily_scrum_report"


class _Project(Value):
    id: Id


class _Filed(Value):
    note_id: str


class _Projects(Value):
    """A project's sprints, not read yet."""

    project_id: Id
    sprints: list[Any] = []


class Services:
    """The six DSM services."""

    def __init__(self, http: httpx.AsyncClient, settings: ServiceSettings) -> None:
        self.projects = Projects("project-service", settings.project_service_url, http)
        self.sprints = Sprints("sprint-service", settings.sprint_service_url, http)
        self.backlogs = Backlogs("backlog-service", settings.backlog_service_url, http)
        self.scrums = Scrums("daily-scrum-service", settings.daily_scrum_service_url, http)
        self.chronicle = Chronicle("chronicle-service", settings.chronicle_service_url, http)
        self.orchestrator = Orchestrator(
            "project-orchestrator", settings.project_orchestrator_url, http
        )


def dsm(ctx: Context) -> Services:
    """The clients of this process."""
    return ctx.part(_services)


def _services(resources: Resources) -> Services:
    return Services(resources.http, resources.settings(ServiceSettings))


class Projects(ServiceClient):
    async def all_ids(self) -> list[str | Unreadable]:
        found = await self.items("/projects", _Project)
        return [p if isinstance(p, Unreadable) else p.id for p in found]

    async def team(self, project_id: str) -> list[Member]:
        answer = await self.get(path("projects", project_id, "team-members"), dict[str, Any])
        return typed(self.name, list[Member], answer.get("team_members"))


class Sprints(ServiceClient):
    async def by_project(self) -> list[ProjectSprints | Unreadable]:
        """The projects that ever had a sprint, each with its sprints.

        A sprint that cannot be read is an item of its own, beside its project with the others.
        """
        return await self._read("/sprints/list_projects", self._by_project, {})

    def _by_project(self, body: bytes) -> list[ProjectSprints | Unreadable]:
        found: list[ProjectSprints | Unreadable] = []
        for project in self._each(_Projects, body):
            if isinstance(project, Unreadable):
                found.append(project)
                continue
            sprints = self._each(Sprint, project.sprints)
            found += [one for one in sprints if isinstance(one, Unreadable)]
            good = [one for one in sprints if isinstance(one, Sprint)]
            found.append(ProjectSprints(project_id=project.project_id, sprints=good))
        return found

    async def overview(self) -> list[SprintCounts | Unreadable] | None:
        """Each project's active sprint, or else its latest, counted; None: no such route there."""
        try:
            return await self.items("/sprints/overview", SprintCounts)
        except NotFound:
            return None

    async def of(self, project_id: str) -> list[Sprint]:
        """Every sprint of a project, newest start first."""
        return await self.get(path("sprints", "by-project", project_id), list[Sprint])

    async def active(self, project_id: str) -> Sprint | None:
        """The project's sprint in progress, the newest where there are several."""
        found = await self.items(
            path("sprints", "by-project", project_id), Sprint, status="in_progress"
        )
        if found and isinstance(found[0], Unreadable):
            raise PermanentError(found[0].detail)
        return next((sprint for sprint in found if isinstance(sprint, Sprint)), None)

    async def summary(self, sprint_id: str) -> TaskSummary:
        return await self.get(path("sprints", sprint_id, "task-summary"), TaskSummary)

    async def detail(self, sprint_id: str) -> SprintDetail:
        """A sprint with its tasks; `NotFound` where there is none."""
        return await self.get(path("sprints", sprint_id), SprintDetail)

    async def tasks(self, sprint_id: str) -> list[Task]:
        """A sprint's tasks; one that cannot be read is left out, and costs no other."""
        found = await self.items(path("sprints", sprint_id, "tasks"), Task)
        for one in found:
            if isinstance(one, Unreadable):
                logger.warning("a task of sprint %s is left out: %s", sprint_id, one.detail)
        tasks = [one for one in found if isinstance(one, Task)]
        if not tasks and found and isinstance(found[0], Unreadable):
            raise PermanentError(found[0].detail)
        return tasks

    async def run_daily_scrum(self, sprint_id: str, *, key: str) -> None:
        """Simulate a sprint's working day by the route that files its own report."""
        at = path("sprints", sprint_id, "run-daily-scrum")
        await self.post(at, dict[str, Any], key=key, repeat=False)


class Backlogs(ServiceClient):
    async def generate(self, project_id: str, *, key: str) -> BacklogGenerated:
        """Add ten new tasks to the project's backlog."""
        at = path("backlogs", project_id)
        return await self.post(at, BacklogGenerated, key=key, repeat=False)

    async def unassigned(self, project_id: str) -> int:
        """How many tasks wait for a sprint."""
        found = await self.get(path("backlogs", project_id, "summary"), BacklogCounts)
        return found.unassigned_for_sprint_count


class Scrums(ServiceClient):
    async def run(self, sprint_id: str, *, key: str) -> ScrumRun:
        """Simulate a sprint's working day."""
        return await self.post(path("scrums", sprint_id, "run"), ScrumRun, key=key, repeat=False)


class Chronicle(ServiceClient):
    async def file_daily_report(self, report: Mapping[str, object], *, key: str) -> str:
        """File a daily report; returns the note's id."""
        answer = await self.post(DAILY_REPORT, _Filed, key=key, body=report, repeat=False)
        return answer.note_id

    async def daily_report(self, sprint_id: str, day: date) -> dict[str, Any] | None:
        """The report of a sprint's day, if there is one."""
        try:
            return await self.get(
                DAILY_REPORT, dict[str, Any], sprint_id=sprint_id, daily_scrum_date=str(day)
            )
        except NotFound:
            return None

    async def note(
        self, kind: str, body: Mapping[str, object], *, key: str, timeout_s: float
    ) -> dict[str, Any]:
        """Write a note of a kind; `TemporaryError` where that takes longer than `timeout_s`.

        For a note that must not hold up the work that it is about.
        """
        try:
            async with asyncio.timeout(timeout_s):
                return await self.post(
                    path("v1", "notes", kind), dict[str, Any], key=key, body=body
                )
        except TimeoutError:
            raise TemporaryError(f"{self.name}: no answer within {timeout_s:g} s") from None


class Orchestrator(ServiceClient):
    async def orchestrate(
        self, project_id: str, options: Mapping[str, object], *, key: str
    ) -> Orchestration:
        """Let project-orchestrator look at a project and do what is due."""
        return await self.post(
            path("orchestrate", "project", project_id),
            Orchestration,
            key=key,
            repeat=False,
            body={"action": "analyze_and_orchestrate", "options": dict(options)},
        )
