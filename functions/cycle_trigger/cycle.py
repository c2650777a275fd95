"""The four steps of one cycle, each made once and checked by its answer and by what is there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from functions.cycle_trigger import decide
from functions.cycle_trigger.schedules import look_up
from functions.cycle_trigger.settings import CycleSettings
from functions.cycle_trigger.steps import Steps
from functions.dsm_client import dsm
from functions.events.cycle import BacklogGenerated, CycleCompleted, Orchestration
from functions.kit.context import Context

Answer = dict[str, Any]


async def run(cycle: decide.Cycle, ctx: Context) -> CycleCompleted:
    """Do what is not done yet of a cycle."""
    steps = Steps(ctx.checkpoints(cycle.key), cycle.key)
    schedule = await steps.keep("schedule", lambda: look_up(cycle.project_id, ctx))
    scheduled = ctx.settings(CycleSettings).create_cronjob
    here = _Project(cycle, ctx, decide.options(schedule["cron"], create_cronjob=scheduled))
    done = [
        await steps.do("close-sprint", here.orchestrate, here.closed, look=here.is_closed),
        await steps.do(
            *("generate-backlog", here.generate, here.filled),
            before=here.unassigned,
            look=here.is_filled,
        ),
        await steps.do("start-sprint", here.orchestrate, here.started, look=here.is_started),
        # Asked to verify, an orchestrator makes the schedule that is not wanted.
        await steps.do("verify", here.orchestrate if scheduled else here.inspect, here.verified),
    ]
    return decide.completed(cycle, schedule["cron"], schedule["warnings"], done)


@dataclass(frozen=True)
class _Project:
    """What the services do for the cycle's project, and what they say about it."""

    cycle: decide.Cycle
    ctx: Context
    options: dict[str, object]

    async def orchestrate(self, key: str) -> Answer:
        services = dsm(self.ctx)
        done = await services.orchestrator.orchestrate(self.cycle.project_id, self.options, key=key)
        return done.model_dump(mode="json")

    async def generate(self, key: str) -> Answer:
        done = await dsm(self.ctx).backlogs.generate(self.cycle.project_id, key=key)
        return done.model_dump(mode="json")

    async def inspect(self, key: str) -> Answer:
        return {"project_id": self.cycle.project_id, "sprint_id": await self.active()}

    async def active(self) -> str | None:
        sprint = await dsm(self.ctx).sprints.active(self.cycle.project_id)
        return sprint.sprint_id if sprint else None

    async def unassigned(self) -> int:
        return await dsm(self.ctx).backlogs.unassigned(self.cycle.project_id)

    async def closed(self, answer: Answer) -> decide.Verdict:
        done = Orchestration.model_validate(answer)
        if self.cycle.sprint_id is None or decide.closed_by(done) == self.cycle.sprint_id:
            return decide.good(done)
        return decide.after_closing(self.cycle, done, await self.active())

    async def is_closed(self, before: object) -> decide.Verdict | None:
        return decide.seen_closed(self.cycle, await self.active())

    async def filled(self, answer: Answer) -> decide.Verdict:
        return decide.after_filling(self.cycle, BacklogGenerated.model_validate(answer))

    async def is_filled(self, before: int) -> decide.Verdict | None:
        return decide.seen_filled(before, await self.unassigned())

    async def started(self, answer: Answer) -> decide.Verdict:
        done = Orchestration.model_validate(answer)
        sprint_id = decide.started_by(done) or await self.active()
        return decide.after_starting(self.cycle, done, sprint_id)

    async def is_started(self, before: object) -> decide.Verdict | None:
        return decide.seen_started(self.cycle, await self.active())

    async def verified(self, answer: Answer) -> decide.Verdict:
        return decide.after_all(Orchestration.model_validate(answer))
