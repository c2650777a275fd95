"""Simulate a sprint's working day: of the sprint that is named, or of every active sprint.

in      ScheduleDue(schedule="scrum-simulate" or "run-dailyscrum-..."), ScrumRequested
out     SprintSimulated for each sprint
asks    sprint-service, daily-scrum-service
fails   a sprint that fails, in whatever way, does not hold up the others: their events leave.
        TemporaryError while a service is down; PermanentError for a sprint that does not exist.
        A sprint's day is simulated once, however it is requested: where the outcome of a call is
        unknown, the tasks are looked at before it is made again
"""

from __future__ import annotations

import logging

from functions.dsm_client import dsm
from functions.dsm_client.settings import ServiceSettings
from functions.events.schedule import ScheduleDue
from functions.events.scrum import ScrumRequested, SprintSimulated
from functions.events.sprint import Sprint
from functions.kit.clients import Unreadable, each
from functions.kit.context import Context
from functions.kit.contract import function
from functions.kit.durable import call_once
from functions.kit.durable.locks import SIMULATION
from functions.kit.errors import (
    BadAnswer,
    FunctionError,
    PermanentError,
    TemporaryError,
    shortened,
)
from functions.scrum_simulate import decide

logger = logging.getLogger(__name__)

# Sprints simulated at once: each writes to the same two services.
_AT_ONCE = 8


@function(emits=[SprintSimulated], schedules=["scrum-simulate", "run-dailyscrum-*"], inbox=True)
async def scrum_simulate(
    event: ScheduleDue | ScrumRequested, ctx: Context
) -> list[SprintSimulated]:
    async def choose() -> decide.PlanJson:
        sprints, unreadable = await sprints_of(event, ctx)
        return decide.plan(event, sprints, unreadable, ctx.now())

    # Kept, so that a retry after midnight, or after a sprint was closed, means the same day.
    plan = decide.planned((await ctx.checkpoints(ctx.key).step("plan", choose)).result)

    async def attempt(sprint: decide.Chosen) -> SprintSimulated | FunctionError:
        try:
            async with ctx.alone(SIMULATION, sprint.sprint_id, str(plan.scrum_date)):
                return await simulate(sprint, plan, ctx)
        except FunctionError as error:
            return error
        except Exception as error:
            logger.error("sprint %s", sprint.sprint_id, exc_info=error)
            return TemporaryError(shortened(f"{type(error).__name__}: {error}"))

    outcomes = await each(plan.sprints, attempt, _AT_ONCE)
    simulated = [outcome for outcome in outcomes if isinstance(outcome, SprintSimulated)]
    failed = [
        f"sprint {sprint.sprint_id}: {outcome.detail}"
        for sprint, outcome in zip(plan.sprints, outcomes, strict=True)
        if isinstance(outcome, FunctionError)
    ]
    detail = "; ".join((*failed, *plan.unreadable))
    if not detail:
        return simulated
    if any(isinstance(outcome, TemporaryError) for outcome in outcomes):
        raise TemporaryError(detail, events=simulated)
    raise PermanentError(detail, events=simulated)


async def sprints_of(
    event: ScheduleDue | ScrumRequested, ctx: Context
) -> tuple[list[Sprint], list[str]]:
    """The sprint that the event names, its project's active one, or all active ones.

    Beside them, why others that were listed could not be read.
    """
    sprints = dsm(ctx).sprints
    if event.sprint_id is not None:
        sprint = (await sprints.detail(event.sprint_id)).sprint
        if event.project_id not in (None, sprint.project_id):
            raise PermanentError(
                f"sprint {sprint.sprint_id} is of project {sprint.project_id}, "
                f"not of {event.project_id}"
            )
        return [sprint], []
    if event.project_id is not None:
        active = await sprints.active(event.project_id)
        if active is None:
            raise PermanentError(f"project {event.project_id} has no active sprint")
        return [active], []
    listed = await sprints.by_project()
    unreadable = [
        f"project {one.field('project_id') or '?'}: {one.detail}"
        for one in listed
        if isinstance(one, Unreadable) and not decide.over(one.field("status"))
    ]
    projects = [one for one in listed if not isinstance(one, Unreadable)]
    return decide.active_sprints(projects), unreadable


async def simulate(sprint: decide.Chosen, plan: decide.Plan, ctx: Context) -> SprintSimulated:
    """One sprint's day: made once, and where that is unknown, read from its tasks."""
    services = dsm(ctx)
    key = decide.day_key(sprint.sprint_id, plan.scrum_date)

    async def progress() -> dict[str, int]:
        return decide.progress_of(await services.sprints.tasks(sprint.sprint_id))

    async def look(before: decide.Progress) -> decide.DayJson | None:
        moved = decide.between(before, await progress(), ctx.now())
        return decide.day(before, moved, ctx.now()) if moved else None

    async def call(before: decide.Progress) -> decide.DayJson:
        at, warnings = ctx.now(), []
        if ctx.settings(ServiceSettings).daily_scrum_route == "run-daily-scrum":
            await services.sprints.run_daily_scrum(sprint.sprint_id, key=key)
            moved = decide.between(before, await progress(), at)
        else:
            try:
                run = await services.scrums.run(sprint.sprint_id, key=key)
                moved = decide.answered(run, at)
            except (BadAnswer, ValueError) as error:
                # It was simulated all the same, and must not be again.
                warnings = [f"What moved was read from the tasks: {shortened(str(error))}"]
                moved = decide.between(before, await progress(), at)
        return decide.day(before, moved, at, *warnings)

    kept = await call_once(ctx.checkpoints(key), "run", before=progress, call=call, look=look)
    return decide.simulated(sprint, plan.scrum_date, kept.result)
