"""Report how complete every active sprint is.

in      ScheduleDue(schedule="sprint-report"), SprintReportRequested
out     SprintsReported, SprintCompleted for each finished sprint: again for one that was closed
        since and has no successor
asks    project-service, sprint-service
fails   TemporaryError while the lists of projects cannot be read or, on a tick, no project can
        for now: nothing is written, so a retry is harmless. A single project that fails, and
        all where trying again cannot help, are rows that say so. PermanentError for a project
        that does not exist
"""

from __future__ import annotations

import asyncio
import logging

from pydantic import Field
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions.dsm_client import dsm
from functions.events.base import Event
from functions.events.schedule import ScheduleDue
from functions.events.sprint import (
    ProjectSprints,
    Sprint,
    SprintCompleted,
    SprintCounts,
    SprintReportRequested,
    SprintsReported,
)
from functions.kit.clients import Unreadable, each
from functions.kit.context import Context
from functions.kit.contract import Query, function
from functions.kit.contract.decorator import route
from functions.kit.errors import FunctionError, PermanentError, TemporaryError, shortened
from functions.kit.settings import Settings
from functions.sprint_report import decide, tables

logger = logging.getLogger(__name__)


class ReportSettings(Settings):
    """What sprint-report reads."""

    report_concurrency: int = Field(32, ge=1, le=1000, description="projects asked at once")


async def show(request: Request, ctx: Context) -> Response:
    """The report as it is now, of all projects or of `?project_id=`; nothing is sent."""
    query = Query(request)
    query.refuse_others("project_id")
    readings = await gather_readings(ctx, query.text("project_id"))
    report = decide.report([reading.status for reading in readings], ctx.now())
    if "text/csv" in request.headers.get("accept", ""):
        return Response(decide.as_csv(report.sprints), media_type="text/csv")
    return JSONResponse(report.model_dump(mode="json"))


@function(
    emits=[SprintsReported, SprintCompleted],
    schedules=["sprint-report"],
    inbox=True,
    renders={"text/csv": lambda events: decide.csv_of(events)},
    routes=[route("/", show)],
    retention=lambda ctx: tables.RETENTION,
)
async def sprint_report(event: ScheduleDue | SprintReportRequested, ctx: Context) -> list[Event]:
    readings = await gather_readings(ctx, event.project_id)
    if isinstance(event, ScheduleDue) and decide.worth_waiting(readings):
        raise TemporaryError(f"no project could be read: {readings[0].status.detail}")
    statuses = [reading.status for reading in readings]
    # A consumer may fail for good, and a broker forgets: it is sent until there is a next sprint.
    await tables.remember(ctx.store, decide.completions(statuses))
    last = [reading.last_sprint_id for reading in readings if reading.last_sprint_id]
    again = await tables.reported(ctx.store, last)
    # The morning that was missed is reported as that one, however late.
    at = event.nominal if isinstance(event, ScheduleDue) else ctx.now()
    return decide.events(statuses, list(again.values()), at)


async def gather_readings(ctx: Context, project_id: str | None) -> list[decide.Reading]:
    """The state of every project, or of one, sorted by project; what cannot be read comes last."""
    registered, counted = await asyncio.gather(
        dsm(ctx).projects.all_ids(), dsm(ctx).sprints.overview()
    )
    with_sprints = await dsm(ctx).sprints.by_project() if counted is None else counted
    known = {one for one in registered if isinstance(one, str)}
    known |= {one.project_id for one in with_sprints if not isinstance(one, Unreadable)}
    broken = [one for one in (*registered, *with_sprints) if isinstance(one, Unreadable)]
    if project_id is not None:
        if project_id not in known:
            raise PermanentError(f"project_id: there is no project {project_id!r}")
        known, broken = {project_id}, []

    readable = [one for one in with_sprints if not isinstance(one, Unreadable)]
    if counted is not None:
        by_project = {one.project_id: one for one in readable if isinstance(one, SprintCounts)}
        rows = [decide.counted(project, by_project.get(project)) for project in sorted(known)]
        return [*rows, *decide.nameless([_named(one) for one in broken], known)]
    latest = decide.latest(one for one in readable if isinstance(one, ProjectSprints))

    async def reading(project: str) -> decide.Reading:
        return await read(ctx, project, latest.get(project))

    read_ones = await each(sorted(known), reading, ctx.settings(ReportSettings).report_concurrency)
    return [*read_ones, *decide.nameless([_named(one) for one in broken], known)]


async def read(ctx: Context, project_id: str, last: Sprint | None) -> decide.Reading:
    """One project's row; a failure of whatever kind is a row too. `last`: its latest sprint."""
    sprints, sprint = dsm(ctx).sprints, None
    try:
        sprint = await sprints.active(project_id)
        if sprint is None:
            row = decide.no_sprint(project_id, last)
            return decide.Reading(row, last_sprint_id=last.sprint_id if last else None)
        return decide.Reading(decide.measured(sprint, await sprints.summary(sprint.sprint_id)))
    except FunctionError as error:
        detail, passing = error.detail, isinstance(error, TemporaryError)
    except Exception as error:
        logger.error("project %s", project_id, exc_info=error)
        detail, passing = shortened(f"{type(error).__name__}: {error}"), False
    row = decide.unreadable(project_id, sprint.sprint_id if sprint else None, detail)
    return decide.Reading(row, passing)


def _named(item: Unreadable) -> tuple[str | None, str]:
    return item.field("project_id") or item.field("id"), item.detail
