"""File a sprint's daily report: one note in the chronicle for each sprint and day.

in      SprintSimulated, and never before
out     ScrumReported
asks    sprint-service, project-service, chronicle-service
fails   TemporaryError while a service is down. What is reported is composed once and kept, and
        filed under a key of the sprint and the day, so a retry can neither change nor double it
"""

from __future__ import annotations

import asyncio

from functions.events.scrum import ScrumReported, SprintSimulated
from functions.kit.context import Context
from functions.kit.function import function
from functions.scrum_report import decide


@function(emits=[ScrumReported], inbox=True)
async def scrum_report(event: SprintSimulated, ctx: Context) -> ScrumReported:
    key = decide.note_key(event)
    journal = ctx.journal(key)

    async def compose() -> decide.Report:
        tasks, summary, team = await asyncio.gather(
            ctx.services.sprints.tasks(event.sprint_id),
            ctx.services.sprints.summary(event.sprint_id),
            ctx.services.projects.team(event.project_id),
        )
        return decide.report(event, tasks, summary, team)

    async def file() -> str:
        return await ctx.services.chronicle.file_daily_report(report, key=key)

    report = (await journal.step("compose", compose)).result
    note_id = (await journal.step("file", file)).result
    return decide.filed(event, report, note_id)
