"""Simulate a sprint's working day: of the sprint that is named, or of every active sprint.

in      ScheduleDue(schedule="scrum-simulate" or "run-dailyscrum-..."), ScrumRequested
out     SprintSimulated for each sprint
asks    sprint-service, daily-scrum-service
fails   a sprint that fails does not hold up the others: their events leave. TemporaryError while
        a service is down; PermanentError for a sprint that does not exist, or that did not move
        although it has tasks to move. The key is (sprint, date): a day is simulated once
"""

from __future__ import annotations

from functions.events.schedule import ScheduleDue
from functions.events.scrum import ScrumRequested, SprintSimulated
from functions.events.sprint import Sprint
from functions.kit.context import Context
from functions.kit.errors import FunctionError, PermanentError, TemporaryError
from functions.kit.function import function
from functions.kit.workers import each
from functions.scrum_simulate import decide

# Sprints simulated at once: each writes to the same two services.
_AT_ONCE = 8


@function(emits=[SprintSimulated], schedules=["scrum-simulate", "run-dailyscrum-*"], inbox=True)
async def scrum_simulate(
    event: ScheduleDue | ScrumRequested, ctx: Context
) -> list[SprintSimulated]:
    async def choose() -> decide.PlanJson:
        return decide.plan(event, await sprints_of(event, ctx), ctx.now())

    # Kept, so that a retry after midnight, or after a sprint was closed, means the same day.
    plan = decide.planned((await ctx.journal(ctx.key).step("plan", choose)).result)

    async def attempt(sprint: decide.Chosen) -> SprintSimulated | FunctionError:
        try:
            return await simulate(sprint, plan, ctx)
        except FunctionError as error:
            return error

    outcomes = await each(plan.sprints, attempt, _AT_ONCE)
    simulated = [outcome for outcome in outcomes if isinstance(outcome, SprintSimulated)]
    errors = [outcome for outcome in outcomes if isinstance(outcome, FunctionError)]
    if not errors:
        return simulated
    words = "; ".join(error.detail for error in errors)
    if any(isinstance(error, TemporaryError) for error in errors):
        raise TemporaryError(words, events=simulated)
    raise PermanentError(words, events=simulated)


async def sprints_of(event: ScheduleDue | ScrumRequested, ctx: Context) -> list[Sprint]:
    """The sprint that the event names, its project's active one, or all active ones."""
    sprints = ctx.services.sprints
    if event.sprint_id is not None:
        sprint = (await sprints.detail(event.sprint_id)).sprint
        if event.project_id not in (None, sprint.project_id):
            raise PermanentError(
                f"sprint {sprint.sprint_id} is of project {sprint.project_id}, "
                f"not of {event.project_id}"
            )
        return [sprint]
    if event.project_id is not None:
        active = await sprints.active(event.project_id)
        if active is None:
            raise PermanentError(f"project {event.project_id} has no active sprint")
        return [active]
    return decide.active_sprints(await sprints.by_project())


async def simulate(sprint: decide.Chosen, plan: decide.Plan, ctx: Context) -> SprintSimulated:
    key = decide.day_key(sprint.sprint_id, plan.scrum_date)
    run = await ctx.services.scrums.run(sprint.sprint_id, key=key)
    try:
        if not run.updates:
            decide.check_nothing_to_move(sprint, await ctx.services.sprints.tasks(sprint.sprint_id))
        return decide.simulated(sprint, plan.scrum_date, run, ctx.now())
    except ValueError as error:
        raise PermanentError(str(error)) from None
