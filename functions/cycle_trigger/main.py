"""Run a project's next cycle: close the finished sprint, fill the backlog, start the next sprint.

in      SprintCompleted, CycleRequested; ScheduleDue(schedule="cycle-sweep")
out     CycleCompleted
asks    project-orchestrator, backlog-service; sprint-service where an answer leaves doubt
fails   TemporaryError while a service is down, PermanentError where a step did not do what it is
        for. Steps that are done stay done: the next delivery goes on where this one ended, and so
        does the sweep with a cycle that is not delivered again. All is keyed by the sprint, so a
        sprint has one cycle, however it is requested
"""

from __future__ import annotations

import logging

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions.cycle_trigger import cycle as cycles
from functions.cycle_trigger import decide, tables
from functions.cycle_trigger.limit import Limit
from functions.cycle_trigger.steps import step_of
from functions.dsm_client import dsm
from functions.events.cycle import CycleCompleted, CycleRequested
from functions.events.schedule import ScheduleDue
from functions.events.sprint import SprintCompleted, newest_active
from functions.kit.cloudevents import format_time
from functions.kit.context import Context
from functions.kit.contract import Query, Settling, function, page
from functions.kit.contract.decorator import route
from functions.kit.durable import Connection
from functions.kit.durable.locks import CYCLE
from functions.kit.errors import FunctionError, PermanentError

logger = logging.getLogger(__name__)

# The sweep leaves alone what a delivery, or its retry, may still be at work on.
_QUIET_S = 300.0
_MAX_SWEPT = 100


async def unfinished(request: Request, ctx: Context) -> Response:
    """`GET /cycles?limit=100&cursor=`: those begun and not completed, latest first."""
    query = Query(request)
    limit, skipped = query.limit(100, 1000), query.cursor() or 0
    found = await tables.unfinished(ctx.store, limit + 1, skipped)
    rows, following = page(found, limit, lambda _: skipped + limit)
    shown = [
        {**row, "begun_at": format_time(row["begun_at"])}
        | {"updated_at": format_time(row["updated_at"])}
        for row in rows
    ]
    return JSONResponse({"cycles": shown, "next": following})


@function(
    emits=[CycleCompleted],
    schedules=["cycle-sweep"],
    inbox=True,
    routes=[route("/cycles", unfinished)],
    retention=lambda ctx: tables.RETENTION,
)
async def cycle_trigger(
    event: ScheduleDue | SprintCompleted | CycleRequested, ctx: Context
) -> Settling:
    if isinstance(event, ScheduleDue):
        done = await sweep(ctx)
    else:

        async def finished() -> str | None:
            return await finished_sprint(event, ctx)

        # Kept, so that a retry means the same sprint although the next one is there by now.
        sprint_id = (await ctx.checkpoints(ctx.key).step("sprint", finished)).result
        cycle = decide.Cycle(event.project_id, sprint_id)
        done = [(cycle, await complete(cycle, ctx))]

    async def settle(tx: Connection) -> list[CycleCompleted]:
        """A cycle is completed once, whoever came to its end: with its event, or not at all."""
        return [fact for cycle, fact in done if await tables.end(tx, cycle, ctx.store.now)]

    return settle


async def finished_sprint(event: SprintCompleted | CycleRequested, ctx: Context) -> str | None:
    """The sprint whose cycle this is: the complete one, or the newest where none is active."""
    if isinstance(event, SprintCompleted):
        return event.sprint_id
    sprints = await dsm(ctx).sprints.of(event.project_id)
    active = newest_active(sprints)
    if active is None:
        return sprints[0].sprint_id if sprints else None
    summary = await dsm(ctx).sprints.summary(active.sprint_id)
    if problem := decide.incomplete(active.sprint_id, summary):
        raise PermanentError(problem)
    return active.sprint_id


async def complete(cycle: decide.Cycle, ctx: Context) -> CycleCompleted:
    """Finish a cycle, alone; how it stands is kept whatever happens."""
    await tables.begin(ctx.store, cycle)
    try:
        async with ctx.part(Limit).place(ctx), ctx.alone(CYCLE, cycle.key):
            completed = await cycles.run(cycle, ctx)
    except FunctionError as error:
        state: tables.State = "failed" if isinstance(error, PermanentError) else "open"
        await tables.note(ctx.store, cycle, state, step_of(error), error.detail)
        raise
    return completed


async def sweep(ctx: Context) -> list[tuple[decide.Cycle, CycleCompleted]]:
    """Go on with the cycles that were begun and that no delivery finishes."""
    done = []
    for cycle in await tables.left_open(ctx.store, _QUIET_S, _MAX_SWEPT):
        if ctx.remaining_s == 0:
            break  # the next sweep takes the rest
        try:
            done.append((cycle, await complete(cycle, ctx)))
        except Exception as error:
            # Its row has the reason; it holds up no other.
            known = isinstance(error, FunctionError)
            logger.warning("%s: %s", cycle.key, error, exc_info=None if known else error)
    return done
