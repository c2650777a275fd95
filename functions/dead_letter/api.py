"""The HTTP API of dead letters: list, read, send again, dismiss, delete, and the audit of it."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response

from functions.dead_letter import audit, tables
from functions.dead_letter.redrive import Edit, Reason, as_kept, edited, redrive
from functions.kit import cloudevents
from functions.kit.clients import each
from functions.kit.clients.off_loop import off_loop
from functions.kit.context import Context
from functions.kit.contract import ACTIONS, Query, page, user_of
from functions.kit.contract.callers import for_operators
from functions.kit.contract.decorator import route
from functions.kit.contract.problem import describe
from functions.kit.errors import Conflict, NotFound, PermanentError, shortened

M = TypeVar("M", bound=BaseModel)

# Dead letters dismissed at once, and in one request: the answer must come within the deadline.
_AT_ONCE = 8
_MAX_AT_ONCE = 200
_NOT_OPEN = "it is not open any more"

Text = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=1000, pattern=r"^[^\x00]+$"),
]


# As in an address: without an offset it is UTC.
Instant = Annotated[
    datetime, AfterValidator(lambda at: at if at.tzinfo else at.replace(tzinfo=UTC))
]


class Filter(BaseModel):
    """Which dead letters; an unknown field is refused, so that a slip does not mean "all"."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    type: str | None = None
    function: str | None = None
    state: tables.State | None = None
    since: Instant | None = None
    until: Instant | None = None

    @property
    def is_empty(self) -> bool:
        return not any((self.type, self.function, self.state, self.since, self.until))


class Redriven(Filter):
    """Which dead letters are sent again, and why."""

    reason: Reason = ""


class Why(BaseModel):
    """Why a dead letter is dismissed or deleted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    reason: Text


class Dismissal(Filter, Why):
    """Which dead letters are dismissed, and why."""


async def dead_letters(request: Request, ctx: Context) -> Response:
    """`?type=&function=&state=&since=&until=&limit=50&cursor=`: newest first, and how many in all.

    `since` and `until` are about when it last failed.
    """
    query = Query(request)
    query.refuse_others(*Filter.model_fields, "limit", "cursor", "before")
    state = query.choice("state", get_args(tables.State))
    times = (query.instant("since"), query.instant("until"))
    wanted = (query.text("type"), query.text("function"), state, *times)
    limit, cursor = query.limit(), query.cursor("before")
    async with ctx.store.connection() as connection:
        await tables.settle(connection)
        rows = await tables.newest(connection, wanted, limit + 1, cursor)
        total = await tables.count(connection, wanted)
    shown, following = page(rows, limit, lambda row: row["seen"])
    return JSONResponse({"dead_letters": shown, "next": following, "total": total})


async def dead_letter(request: Request, ctx: Context) -> Response:
    """One dead letter: the whole event, why it failed, and what users did with it."""
    found = await _found(request, ctx)
    async with ctx.store.connection() as connection:
        redrives = await tables.redrives(connection, found.number)
        ends = await audit.of(connection, found.number)
    event = cloudevents.to_json(found.event)
    answer = {**found.summary(), "event": event, "redrives": redrives, "audit": ends}
    return JSONResponse(answer)


async def redrives(request: Request, ctx: Context) -> Response:
    """`?numbers=1,2,3`: these dead letters, up to 200, each with its trace and latest redrive.

    One that is not there is left out.
    """
    query = Query(request)
    query.refuse_others("numbers")
    numbers = [_decimal(text) for text in (query.text("numbers") or "").split(",") if text]
    if len(numbers) > _MAX_AT_ONCE:
        raise PermanentError(f"numbers: at most {_MAX_AT_ONCE} at once")
    async with ctx.store.connection() as connection:
        await tables.settle(connection)
        return JSONResponse({"dead_letters": await tables.last_redrives(connection, numbers)})


async def redrive_one(request: Request, ctx: Context) -> Response:
    """Send one dead letter again, edited as in the body: `{"data": ..., "attributes": {}}`, which
    may have a `reason`.

    It leaves by the outbox; the dead letter tells how that ended.
    """
    edit = _read(Edit, await _json(request))
    found = await _found(request, ctx)
    number = found.number
    message = as_kept(found) if edit.is_empty else edited(found, edit)
    who, is_edited = _who(request), not edit.is_empty
    if not await redrive(number, who, edit.reason, ctx, message, is_edited=is_edited):
        raise Conflict(
            f"dead letter {number} is not open: it is redriven already, or being redriven right "
            "now, or dismissed"
        )
    return JSONResponse({"dead_letter": number, "state": "redriving", "id": message.id}, 202)


async def redrive_many(request: Request, ctx: Context) -> Response:
    """Send the dead letters of a filter again, oldest first; the open ones if it names no state.

    One request sends up to 200 and answers how many are `left`. An empty filter is refused: it is
    more often a slip than a wish. Each dead letter tells how its sending ended.
    """
    given = _read(Redriven, await _json(request))
    chosen = _chosen(given)

    who = _who(request)

    async def send(number: int) -> dict[str, Any]:
        try:
            is_sending = await redrive(number, who, given.reason, ctx)
        except (Conflict, PermanentError) as error:
            return {"dead_letter": number, "outcome": "failed", "detail": shortened(error.detail)}
        outcome = "redriving" if is_sending else "skipped"
        detail = None if is_sending else _NOT_OPEN
        return {"dead_letter": number, "outcome": outcome, "detail": detail}

    numbers, left = await _oldest(ctx, chosen)
    # One after the other: what has one partition key leaves in this order.
    return JSONResponse({"redriven": [await send(number) for number in numbers], "left": left}, 202)


async def dismiss_one(request: Request, ctx: Context) -> Response:
    """Mark an open dead letter as dismissed, with the reason: nothing is sent."""
    why = _read(Why, await _json(request))
    number = (await _found(request, ctx)).number
    if not await _end("dismissed", number, request, why.reason, ctx):
        raise Conflict(f"dead letter {number} is not open")
    return JSONResponse({"dead_letter": number, "outcome": "dismissed"})


async def _end(action: str, number: int, request: Request, reason: str, ctx: Context) -> bool:
    """Dismiss or delete a dead letter, and record who did it; False where it cannot be."""
    end = {"dismissed": audit.dismiss, "deleted": audit.delete}[action]
    who, now = _who(request), ctx.now()
    async with ctx.store.transaction() as tx:
        return await end(tx, number, who, reason, now)


async def dismiss_many(request: Request, ctx: Context) -> Response:
    """Dismiss the open dead letters of a filter, oldest first, up to 200, with one reason."""
    given = _read(Dismissal, await _json(request))
    chosen = _chosen(given)

    async def dismiss(number: int) -> dict[str, Any]:
        done = await _end("dismissed", number, request, given.reason, ctx)
        detail = None if done else _NOT_OPEN
        return {
            "dead_letter": number,
            "outcome": "dismissed" if done else "skipped",
            "detail": detail,
        }

    numbers, left = await _oldest(ctx, chosen)
    return JSONResponse({"dismissed": await each(numbers, dismiss, _AT_ONCE), "left": left})


async def delete_one(request: Request, ctx: Context) -> Response:
    """Delete a dead letter with its payload; who did it and why stays on record."""
    why = _read(Why, await _json(request))
    number = _number(request)
    if not await _end("deleted", number, request, why.reason, ctx):
        raise NotFound(f"there is no dead letter {number}")
    return JSONResponse({"dead_letter": number, "outcome": "deleted"})


async def audited(request: Request, ctx: Context) -> Response:
    """`?limit=50&cursor=`: what was dismissed, deleted or expired, newest first."""
    query = Query(request)
    query.refuse_others("limit", "cursor", "before")
    limit = query.limit()
    async with ctx.store.connection() as connection:
        rows = await audit.newest(connection, limit + 1, query.cursor("before"))
    shown, following = page(rows, limit, lambda row: row["number"])
    return JSONResponse({"audit": shown, "next": following})


def _chosen(chosen: Filter) -> tables.Wanted:
    if chosen.is_empty:
        raise PermanentError(
            'give type, function, state, since or until; {"state": "open"} means all'
        )
    state = chosen.state or "open"
    return (chosen.type, chosen.function, state, chosen.since, chosen.until)


async def _oldest(ctx: Context, wanted: tables.Wanted) -> tuple[Sequence[int], int]:
    """The dead letters of one request, and how many are left for the next."""
    async with ctx.store.connection() as connection:
        await tables.settle(connection)
        numbers, total = await tables.oldest(connection, wanted, _MAX_AT_ONCE)
    return numbers, total - len(numbers)


async def _found(request: Request, ctx: Context) -> tables.DeadLetter:
    number = _number(request)
    async with ctx.store.connection() as connection:
        await tables.settle(connection)
        found = await tables.one(connection, number)
    if found is None:
        raise NotFound(f"there is no dead letter {number}")
    return found


async def _json(request: Request) -> object:
    body = await request.body()
    try:
        return await off_loop(len(body), json.loads, body or b"{}")
    except (ValueError, RecursionError) as error:
        raise PermanentError(f"the body is no valid JSON: {error}") from None


def _read(kind: type[M], given: object) -> M:
    try:
        return kind.model_validate(given)
    except ValidationError as error:
        raise PermanentError(describe(error)) from None


def _number(request: Request) -> int:
    return _decimal(request.path_params["number"])


def _decimal(text: str) -> int:
    if not text.isdecimal() or len(text) > 18:
        raise NotFound(f"there is no dead letter {shortened(text, 40)}")
    return int(text)


def _who(request: Request) -> str:
    who = user_of(request.headers)
    if who is None:
        raise PermanentError("X-User: name who asks for this, as it is on record")
    return who


async def moved(request: Request, ctx: Context) -> Response:
    """The old paths, `/letters` and below, for one release."""
    at = request.url.replace(scheme="", netloc="", path=f"/dead-{request.url.path[1:]}")
    return RedirectResponse(str(at), 308)


Endpoint = Callable[[Request, Context], Awaitable[Response]]
_POSTS: tuple[tuple[str, Endpoint], ...] = (
    ("/dead-letters/{number}/redrive", redrive_one),
    ("/dead-letters/{number}/dismiss", dismiss_one),
    ("/dead-letters/{number}/delete", delete_one),
    ("/redrive", redrive_many),
    ("/dismiss", dismiss_many),
)
ROUTES = (
    ACTIONS,
    route("/", dead_letters),
    route("/dead-letters", dead_letters),
    route("/dead-letters/{number}", dead_letter),
    route("/letters{rest:path}", moved, ["GET", "POST"]),
    route("/redrives", redrives),
    route("/audit", audited),
    *(route(path, for_operators(endpoint), ["POST"]) for path, endpoint in _POSTS),
)
