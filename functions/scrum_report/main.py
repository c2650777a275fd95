"""File a sprint's daily report: one note in the chronicle for each sprint and day.

in      SprintSimulated, and never before
out     ScrumReported; nothing for a sprint without tasks, which has nothing to report
asks    sprint-service, project-service, chronicle-service
fails   TemporaryError while a service is down. What is reported is composed once and kept, and
        filed under a key of the sprint and the day, so a retry can neither change nor double it.
        A team that is refused for good counts as nobody; one that is away for now is waited for,
        as a wrong number would stay in the chronicle for ever
"""

from __future__ import annotations

import asyncio
import logging

from functions.events.scrum import ScrumReported, SprintSimulated
from functions.events.sprint import Member
from functions.kit.context import Context
from functions.kit.errors import PermanentError
from functions.kit.function import function
from functions.scrum_report import decide

logger = logging.getLogger(__name__)


@function(emits=[ScrumReported], inbox=True)
async def scrum_report(event: SprintSimulated, ctx: Context) -> ScrumReported | None:
    key = decide.note_key(event)
    journal = ctx.journal(key)

    async def compose() -> decide.Report | None:
        tasks, summary, team = await asyncio.gather(
            ctx.services.sprints.tasks(event.sprint_id),
            ctx.services.sprints.summary(event.sprint_id),
            team_of(event.project_id, ctx),
        )
        return decide.report(event, tasks, summary, team) if tasks else None

    async def file() -> str:
        return await ctx.services.chronicle.file_daily_report(report, key=key)

    report = (await journal.step("compose", compose)).result
    if report is None:
        return None
    note_id = (await journal.step("file", file)).result
    return decide.filed(event, report, note_id)


async def team_of(project_id: str, ctx: Context) -> list[Member]:
    try:
        return await ctx.services.projects.team(project_id)
    except PermanentError as error:
        logger.warning("the report counts no team members: %s", error)
        return []
