"""Tell the world how complete every active sprint is.

in      ScheduleDue(schedule="sprint-report"), SprintReportRequested
out     SprintsReported, SprintCompleted for each finished sprint
asks    project-service, sprint-service
fails   TemporaryError while the lists of projects or, on a tick, all sprints cannot be read:
        nothing is written, so a retry is harmless. A single project that fails is a row that
        says so. PermanentError for a project that nobody knows
"""

from __future__ import annotations

import asyncio

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions.events.base import Event
from functions.events.schedule import ScheduleDue
from functions.events.sprint import (
    SprintCompleted,
    SprintReportRequested,
    SprintsReported,
    SprintStatus,
)
from functions.kit.context import Context
from functions.kit.errors import FunctionError, PermanentError, TemporaryError
from functions.kit.function import function, route
from functions.kit.settings import Settings
from functions.kit.workers import each
from functions.sprint_report import decide


class ReportSettings(Settings):
    """What sprint-report reads."""

    report_concurrency: int = Field(32, ge=1, le=1000, description="projects asked at once")


async def show(request: Request, ctx: Context) -> Response:
    """The report as it is now, of all projects or of `?project_id=`; nothing is sent."""
    unknown = set(request.query_params) - {"project_id"}
    if unknown:
        raise PermanentError(f"{', '.join(sorted(unknown))}: unknown; there is project_id")
    statuses = await gather_statuses(ctx, request.query_params.get("project_id"))
    report = decide.report(statuses, ctx.now())
    if "text/csv" in request.headers.get("accept", ""):
        return Response(decide.as_csv(report.sprints), media_type="text/csv")
    return JSONResponse(report.model_dump(mode="json"))


@function(
    emits=[SprintsReported, SprintCompleted],
    inbox=True,
    renders={"text/csv": lambda events: decide.csv_of(events)},
    routes=[route("/", show)],
)
async def sprint_report(event: ScheduleDue | SprintReportRequested, ctx: Context) -> list[Event]:
    statuses = await gather_statuses(ctx, event.project_id)
    if isinstance(event, ScheduleDue) and decide.all_failed(statuses):
        raise TemporaryError(f"no project could be read: {statuses[0].detail}")
    return decide.events(statuses, ctx.now())


async def gather_statuses(ctx: Context, project_id: str | None) -> list[SprintStatus]:
    """The state of every project, or of one, sorted by project."""
    registered, with_sprints = await asyncio.gather(
        ctx.services.projects.all_ids(), ctx.services.sprints.by_project()
    )
    known = {*registered, *(project.project_id for project in with_sprints)}
    if project_id is not None:
        if project_id not in known:
            raise PermanentError(f"project_id: nobody knows a project {project_id!r}")
        known = {project_id}

    async def status(project: str) -> SprintStatus:
        return await status_of(ctx, project)

    return await each(sorted(known), status, ctx.settings(ReportSettings).report_concurrency)


async def status_of(ctx: Context, project_id: str) -> SprintStatus:
    sprints = ctx.services.sprints
    try:
        sprint = await sprints.active(project_id)
    except FunctionError as error:
        return decide.unreadable(project_id, None, error.detail)
    if sprint is None:
        return decide.no_sprint(project_id)
    try:
        return decide.measured(sprint, await sprints.summary(sprint.sprint_id))
    except FunctionError as error:
        return decide.unreadable(project_id, sprint.sprint_id, error.detail)
