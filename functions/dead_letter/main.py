"""Keep every event that could not be handled, until somebody sends it again.

in      any event, as the broker's dead letter sink gets it
out     nothing: an answer with an event would go round in circles
asks    the broker, when a letter is sent again
fails   TemporaryError while the database or the broker is down
"""

from __future__ import annotations

import json
import logging
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions.dead_letter import decide, tables
from functions.dead_letter.gauges import gauges
from functions.dead_letter.later import Later, patience_s
from functions.events.base import AnyEvent
from functions.kit import wire
from functions.kit.answers import in_words
from functions.kit.context import Context
from functions.kit.door import who_of
from functions.kit.errors import (
    Conflict,
    FunctionError,
    NotFound,
    PermanentError,
    TemporaryError,
    shortened,
)
from functions.kit.function import function, route
from functions.kit.settings import ProcessSettings
from functions.kit.workers import each

logger = logging.getLogger(__name__)

M = TypeVar("M", bound=BaseModel)

# Letters sent again at once, and in one request: the answer must come within the deadline.
_AT_ONCE = 8
_MOST_AT_ONCE = 200


class Filter(BaseModel):
    """Which letters; an unknown field is refused, so that a slip does not mean "all"."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str | None = None
    function: str | None = None
    state: tables.State | None = None


class Page(Filter):
    """Newest first: `before` is the `next` of the page before."""

    limit: int = Field(50, ge=1, le=500)
    before: int | None = Field(None, ge=1)


async def letters(request: Request, ctx: Context) -> Response:
    """The list, newest first, and how many fit in all."""
    page = _read(Page, dict(request.query_params))
    wanted = (page.type, page.function, page.state)
    async with ctx.store.connection() as connection:
        rows = await tables.newest(connection, wanted, page.limit + 1, page.before)
        total = await tables.count(connection, wanted)
    more = len(rows) > page.limit
    shown = [row.summary() for row in rows[: page.limit]]
    following = shown[-1]["seen"] if more else None
    return JSONResponse({"letters": shown, "next": following, "total": total})


async def letter(request: Request, ctx: Context) -> Response:
    """One letter: the whole event, what was said about it, and who sent it again."""
    number = _number(request)
    async with ctx.store.connection() as connection:
        found = await tables.one(connection, number)
        if found is None:
            raise NotFound(f"there is no letter {number}")
        audit = await tables.redrives(connection, number)
    event = wire.to_json(wire.from_attributes(found.attributes, found.data))
    return JSONResponse({**found.summary(), "event": event, "redrives": audit})


async def redrive_one(request: Request, ctx: Context) -> Response:
    """Send one letter again; 202 where that takes longer than the caller prefers to wait."""
    number = _number(request)
    async with ctx.store.connection() as connection:
        if await tables.one(connection, number) is None:
            raise NotFound(f"there is no letter {number}")
    work = redrive(number, _who(request), ctx)
    done = await ctx.part(Later).done_within(work, patience_s(request))
    if done is None:
        return JSONResponse({"letter": number, "outcome": None, "state": "redriving"}, 202)
    outcome = done.result()
    if outcome is None:
        raise Conflict(f"letter {number} is redriven already, or being redriven right now")
    if outcome.outcome == "failed":
        raise TemporaryError(f"letter {number} was not sent: {outcome.detail}")
    return JSONResponse({"letter": number, "outcome": outcome.outcome})


async def redrive_many(request: Request, ctx: Context) -> Response:
    """Send the letters of a filter again, oldest first; those that are open if it names no state.

    One request sends 200 at most and says how many are `left`. An empty filter is refused: it is
    more often a slip than a wish. 202 where it takes longer than the caller prefers to wait.
    """
    try:
        body = json.loads(await request.body() or b"{}")
    except ValueError as error:
        raise PermanentError(f"the body is no valid JSON: {error}") from None
    chosen = _read(Filter, body)
    if chosen == Filter():
        raise PermanentError('give type, function or state; {"state": "open"} means all')
    wanted = (chosen.type, chosen.function, chosen.state or "open")
    async with ctx.store.connection() as connection:
        numbers, total = await tables.oldest(connection, wanted, _MOST_AT_ONCE)

    async def send(number: int) -> tables.Outcome | None:
        return await redrive(number, _who(request), ctx)

    work = each(numbers, send, _AT_ONCE)
    done = await ctx.part(Later).done_within(work, patience_s(request))
    left = total - len(numbers)
    if done is None:
        return JSONResponse({"redriving": len(numbers), "left": left}, 202)
    said = [
        {"letter": number, "outcome": o.outcome, "detail": o.detail}
        for number, o in zip(numbers, done.result(), strict=True)
        if o is not None
    ]
    return JSONResponse({"redriven": said, "left": left})


async def redrive(number: int, who: str, ctx: Context) -> tables.Outcome | None:
    """Send one letter's event to the broker; None where it is not to be sent.

    The audit row is there before the event leaves, so a crash in between leaves a letter that says
    "redriving": nobody knows whether it was sent, and sending it again is harmless, as functions
    know an event by its source and id. If the event fails anew while it is being sent, its dead
    letter opens the row, and the mark afterwards must not hide that.
    """
    publish_s = ctx.settings(ProcessSettings).publish_timeout_s
    async with ctx.store.transaction() as tx:
        claim = await tables.claim(tx, number, who, publish_s)
    if claim is None:
        return None
    message = wire.from_attributes(
        decide.original(claim.attributes) | {"redriveof": str(number)}, claim.data
    )
    problem = None
    try:
        await ctx.publisher.publish([message])
    except FunctionError as error:
        problem = shortened(error.detail)
    async with ctx.store.transaction() as tx:
        return await tables.settle(tx, number, claim.redrive, problem)


@function(
    routes=[
        route("/", letters),
        route("/letters", letters),
        route("/letters/{number}", letter),
        route("/letters/{number}/redrive", redrive_one, ["POST"]),
        route("/redrive", redrive_many, ["POST"]),
    ],
    gauges=gauges,
)
async def dead_letter(event: AnyEvent, ctx: Context) -> None:
    failure = decide.failure(event.said)
    async with ctx.store.transaction() as tx:
        number, count = await tables.keep(tx, event.said, event.data, failure, ctx.now())
    logger.warning(
        "dead letter",
        extra={"fields": {"letter": number, "count": count, "failed_at": failure.function}},
    )


def _read(kind: type[M], given: object) -> M:
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise PermanentError(in_words(error)) from None


def _number(request: Request) -> int:
    text = request.path_params["number"]
    if not text.isdecimal() or len(text) > 18:
        raise NotFound(f"there is no letter {shortened(text, 40)}")
    return int(text)


def _who(request: Request) -> str:
    return who_of(request.headers) or "anonymous"
