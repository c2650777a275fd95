"""File a sprint's daily report: one note in the chronicle for each sprint and day.

in      SprintSimulated, and never before
out     ScrumReported; nothing for a sprint without tasks, which has nothing to report
asks    sprint-service, project-service, chronicle-service
fails   TemporaryError while a service is down. What is reported is composed once and kept, and
        filed once for the sprint and the day: where the outcome of a call is unknown, the chronicle
        is asked for that day's report before it is filed again.
        A team that is refused for good counts as empty; one that is away for now is waited for,
        as a wrong number would stay in the chronicle for ever
"""

from __future__ import annotations

import asyncio
import logging

from functions.dsm_client import dsm
from functions.dsm_client.settings import ServiceSettings
from functions.events.scrum import ScrumReported, SprintSimulated
from functions.events.sprint import Member
from functions.kit.context import Context
from functions.kit.contract import function
from functions.kit.durable import call_once
from functions.kit.errors import PermanentError, TemporaryError
from functions.scrum_report import decide

logger = logging.getLogger(__name__)


@function(emits=[ScrumReported], inbox=True)
async def scrum_report(event: SprintSimulated, ctx: Context) -> ScrumReported | None:
    key = decide.note_key(event)
    checkpoints = ctx.checkpoints(key)

    async def compose() -> decide.Report | None:
        tasks, summary, team = await asyncio.gather(
            dsm(ctx).sprints.tasks(event.sprint_id),
            dsm(ctx).sprints.summary(event.sprint_id),
            team_of(event.project_id, ctx),
        )
        return decide.report(event, tasks, summary, team) if tasks else None

    async def file(may_be_there: bool) -> str:
        found = await look(may_be_there) if may_be_there else None
        return found or await dsm(ctx).chronicle.file_daily_report(report, key=key)

    async def look(_: object) -> str | None:
        return await filed_note(event, ctx)

    async def before() -> bool:
        # That route of the simulation files a report of its own.
        return ctx.settings(ServiceSettings).daily_scrum_route == "run-daily-scrum"

    report = (await checkpoints.step("compose", compose)).result
    if report is None:
        return None
    note = await call_once(checkpoints, "file", before=before, call=file, look=look)
    return decide.filed(event, report, note.result)


async def filed_note(event: SprintSimulated, ctx: Context) -> str | None:
    """The chronicle's note of that sprint and day; None where there is none."""
    report = dsm(ctx).chronicle.daily_report
    try:
        found = await report(event.sprint_id, event.scrum_date)
    except TemporaryError:
        # There is a chronicle that answers 500 for each report that it has, and 404 for one that
        # it has not: if it is well, the report is there.
        if await report(event.sprint_id, decide.NO_DAY) is not None:
            raise
        return decide.UNNAMED
    return None if found is None else decide.note_of(found)


async def team_of(project_id: str, ctx: Context) -> list[Member]:
    try:
        return await dsm(ctx).projects.team(project_id)
    except PermanentError as error:
        logger.warning("the report counts no team members: %s", error)
        return []
