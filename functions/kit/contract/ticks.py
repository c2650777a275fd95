"""The ticks of an API: each is a run on record, and wakes a process for what must not wait."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response

from functions.events.schedule import ScheduleDue
from functions.kit import cloudevents
from functions.kit.clients.off_loop import off_loop
from functions.kit.context import Context
from functions.kit.contract import envelope
from functions.kit.contract.http_api import Consume, Ctx
from functions.kit.contract.runs import runs
from functions.kit.durable import inbox


def on_tick(schedules: Sequence[str], work: Callable[[Context], Awaitable[None]]) -> Consume:
    """Do `work`, which is safe to repeat, at each tick of `schedules`."""

    async def consume(message: cloudevents.Message, ctx: Context) -> None:
        size = len(message.data)
        due = await off_loop(size, envelope.open_, message, (ScheduleDue,), schedules)
        assert isinstance(due, ScheduleDue), "of no other kind"
        await run_tick(message, due, ctx, partial(work, ctx))

    return consume


async def run_tick(
    message: cloudevents.Message,
    due: ScheduleDue,
    ctx: Context,
    work: Callable[[], Awaitable[Any]],
) -> None:
    """Do `work` on record for the tick in a message; `PermanentError` for one of another time."""
    envelope.check_time(due, ctx.now())
    about = (due.identity() or message.id, (message.source, message.id))
    key = inbox.Key(ctx.function, message.type, *about)
    await inbox.recorded(ctx.store, key, message.type, work)


def add_runs(app: FastAPI) -> None:
    """`GET /runs`: the ticks, as every function lists its runs."""

    async def list_runs(request: Request, ctx: Ctx) -> Response:
        return await runs(request, ctx)

    app.add_api_route("/runs", list_runs, methods=["GET"], include_in_schema=False)
