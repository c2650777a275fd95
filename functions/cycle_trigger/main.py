"""Run a project's next cycle: close the finished sprint, fill the backlog, start the next sprint.

in      SprintCompleted, CycleRequested
out     CycleCompleted
asks    project-orchestrator, backlog-service; sprint-service where an answer leaves doubt
fails   TemporaryError while a service is down, PermanentError where a step did not do what it is
        for. Steps that are done stay done: the next delivery goes on where this one ended. All
        is keyed by the sprint, so a sprint has one cycle, whoever asks for it
"""

from __future__ import annotations

from typing import Any

from functions.cycle_trigger import decide
from functions.cycle_trigger.schedules import look_up
from functions.cycle_trigger.steps import Steps
from functions.events.cycle import BacklogGenerated, CycleCompleted, CycleRequested, Orchestration
from functions.events.sprint import SprintCompleted
from functions.kit.context import Context
from functions.kit.durable.inbox import alone
from functions.kit.errors import PermanentError
from functions.kit.function import function


@function(emits=[CycleCompleted], inbox=True)
async def cycle_trigger(event: SprintCompleted | CycleRequested, ctx: Context) -> CycleCompleted:
    async def finished() -> str | None:
        return await finished_sprint(event, ctx)

    # Kept, so that a retry means the same sprint although the next one is there by now.
    sprint_id = (await ctx.journal(ctx.key).step("sprint", finished)).result
    cycle = decide.Cycle(event.project_id, sprint_id)
    assert ctx.tx is not None, "a function with an inbox has a transaction"
    await alone(ctx.tx, cycle.key)
    return await run(cycle, ctx)


async def finished_sprint(event: SprintCompleted | CycleRequested, ctx: Context) -> str | None:
    """The sprint whose cycle this is: the complete one, or the newest where none is active."""
    if isinstance(event, SprintCompleted):
        return event.sprint_id
    sprints = await ctx.services.sprints.of(event.project_id)
    active = decide.active(sprints)
    if active is None:
        return sprints[0].sprint_id if sprints else None
    summary = await ctx.services.sprints.summary(active.sprint_id)
    if problem := decide.incomplete(active.sprint_id, summary):
        raise PermanentError(problem)
    return active.sprint_id


async def run(cycle: decide.Cycle, ctx: Context) -> CycleCompleted:
    """The four steps, each checked by what it said and, in doubt, by what sprint-service says."""
    services, steps = ctx.services, Steps(ctx.journal(cycle.key), cycle.key)
    schedule = await steps.keep("schedule", lambda: look_up(cycle.project_id, ctx))
    options = decide.options(schedule["cron"])

    async def orchestrate(key: str) -> dict[str, Any]:
        answer = await services.orchestrator.orchestrate(cycle.project_id, options, key=key)
        return answer.model_dump(mode="json")

    async def generate(key: str) -> dict[str, Any]:
        answer = await services.backlogs.generate(cycle.project_id, key=key)
        return answer.model_dump(mode="json")

    async def active_now() -> str | None:
        sprint = await services.sprints.active(cycle.project_id)
        return sprint.sprint_id if sprint else None

    async def closed(answer: dict[str, Any]) -> decide.Verdict:
        said = Orchestration.model_validate(answer)
        if cycle.sprint_id is None or decide.closed_by(said) == cycle.sprint_id:
            return decide.good(said)
        return decide.after_closing(cycle, said, await active_now())

    async def filled(answer: dict[str, Any]) -> decide.Verdict:
        return decide.after_filling(cycle, BacklogGenerated.model_validate(answer))

    async def started(answer: dict[str, Any]) -> decide.Verdict:
        said = Orchestration.model_validate(answer)
        return decide.after_starting(cycle, said, decide.started_by(said) or await active_now())

    async def verified(answer: dict[str, Any]) -> decide.Verdict:
        return decide.after_all(Orchestration.model_validate(answer))

    done = [
        await steps.do("close-sprint", orchestrate, closed),
        await steps.do("generate-backlog", generate, filled),
        await steps.do("start-sprint", orchestrate, started),
        await steps.do("verify", orchestrate, verified),
    ]
    return decide.completed(cycle, schedule["cron"], schedule["warnings"], done)
