"""The ledger over HTTP: what is due next and why, what came of the past, and what users change."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from functions.kit import cloudevents
from functions.kit.clients.off_loop import off_loop
from functions.kit.context import Context
from functions.kit.contract import ACTIONS, Query, number, page, user_of
from functions.kit.contract.callers import for_operators
from functions.kit.contract.decorator import route
from functions.kit.contract.envelope import MAX_BEHIND
from functions.kit.durable import Connection, UserAction, history, record_action
from functions.kit.errors import NotFound, PermanentError, TemporaryError, shortened
from functions.scheduler import backfill, messages, schedule_rows, sources, tick_rows
from functions.scheduler.decide.backfill import Which
from functions.scheduler.decide.preview import upcoming
from functions.scheduler.decide.reconcile import Pause
from functions.scheduler.decide.tick import Origin, State, Tick
from functions.scheduler.fire import run_now, send_now
from functions.scheduler.loop import Loop
from functions.scheduler.schedule_rows import Ledger
from functions.scheduler.wake import read_calendars

NEXT, LAST = 10, 30
A = TypeVar("A", bound="Asked")
User = Annotated[str, Field(min_length=1, max_length=100)]


class Asked(BaseModel):
    """The user, and why; the action is in the path."""

    model_config = ConfigDict(extra="forbid")

    by: User
    reason: str = Field("", max_length=300)


class PauseAsked(Asked):
    reason: str = Field(min_length=1, max_length=300)
    until: AwareDatetime | None = None


class BackfillAsked(Asked):
    since: AwareDatetime
    before: AwareDatetime
    which: Which = Which.MISSED
    at_once: int = Field(1, ge=1, le=100)
    dry_run: bool = True


async def schedules(request: Request, ctx: Context) -> Response:
    """`?limit=500&cursor=`: every schedule that has a ledger, by name, with its next time."""
    query = Query(request)
    limit, after = query.limit(500, 1000), query.text("cursor") or ""
    async with ctx.store.connection() as connection:
        found = await schedule_rows.load(connection)
    rest = sorted(name for name in found if name > after)
    names, following = page(rest, limit, str)
    days = read_calendars(ctx)
    shown = [
        _schedule(found[name])
        | {"next": list(map(_tick, upcoming(found[name].schedule, ctx.now(), 1, days)))}
        for name in names
    ]
    return _json({"schedules": shown, "next": following})


async def schedule(request: Request, ctx: Context) -> Response:
    """One schedule with its next ten times and its last thirty, and why."""
    name = request.path_params["name"]
    async with ctx.store.connection() as connection:
        one = _known(await schedule_rows.load(connection, [name]), name)
        last = await tick_rows.listed(connection, schedule=name, limit=LAST)
    coming = upcoming(one.schedule, ctx.now(), NEXT, read_calendars(ctx))
    shown = {"next": list(map(_tick, coming)), "last": list(map(dict, last))}
    return _json(_schedule(one) | shown)


async def ticks(request: Request, ctx: Context) -> Response:
    """`?schedule=&state=&not_origin=&since=&before=&limit=100&cursor=`, the latest nominal first.

    `not_origin=user` leaves out what users ran in between.
    """
    query = Query(request)
    limit = query.limit(100, 1000)
    async with ctx.store.connection() as connection:
        found = await tick_rows.listed(
            connection,
            schedule=query.text("schedule"),
            state=query.choice("state", State),
            not_origin=query.choice("not_origin", Origin),
            since=query.instant("since"),
            before=query.instant("before"),
            after=_cursor(query),
            limit=limit + 1,
        )
    shown, following = page(found, limit, _cursor_of)
    return _json({"ticks": list(map(_row, shown)), "next": following})


async def latest_ticks(request: Request, ctx: Context) -> Response:
    """`?limit=1000&cursor=`: the run of each schedule's latest tick in every function.

    Schedules without a ledger are among them. It is of all functions that share the database.
    """
    query = Query(request)
    limit, after = query.limit(1000, 1000), query.text("cursor") or ""
    found = {f"{run['function']} {run['id']}": run for run in await history.latest_ticks(ctx.store)}
    names, following = page(sorted(name for name in found if name > after), limit, str)
    return _json({"runs": [found[name] for name in names], "next": following})


def _row(tick: Mapping[str, Any]) -> dict[str, Any]:
    """A row of the ledger, with the id of the event that was sent for it."""
    event = messages.event_id(tick["schedule"], tick_rows.tick_of(tick))
    return {**tick, "event_id": event if tick["sent_at"] else None}


def _cursor_of(tick: Mapping[str, Any]) -> str:
    """The place of a tick in the list: schedules share nominal times."""
    return f"{cloudevents.format_time(tick['nominal'])} {tick['schedule']}"


def _cursor(query: Query) -> tuple[datetime, str] | None:
    at, _, name = (query.text("cursor") or "").partition(" ")
    try:
        return (cloudevents.parse_time(at), name) if at else None
    except ValueError:
        raise PermanentError("cursor: must be `next` of the page before") from None


async def pause(request: Request, ctx: Context) -> Response:
    """Skip the times that come from now on; what is on its way goes on."""
    name, asked = request.path_params["name"], await _asked(request, PauseAsked)
    await ctx.part(Loop).wake(ctx)  # what was due until now is none of the pause's
    given = Pause(asked.by, asked.reason, asked.until, ctx.now())
    async with ctx.store.transaction() as tx:
        if not await schedule_rows.pause(tx, name, given):
            raise NotFound(f"no schedule {name}")
        until = f" until {cloudevents.format_time(asked.until)}" if asked.until else ""
        await _record(tx, ctx, asked, f"paused{until}", name)
    return await schedule(request, ctx)


async def resume(request: Request, ctx: Context) -> Response:
    name = request.path_params["name"]
    asked = await _asked(request, Asked)
    await ctx.part(Loop).wake(ctx)  # what the pause covered until now is skipped
    async with ctx.store.transaction() as tx:
        if not await schedule_rows.resume(tx, name, ctx.now()):
            raise NotFound(f"no schedule {name}")
        await _record(tx, ctx, asked, "resumed", name)
    return await schedule(request, ctx)


async def run(request: Request, ctx: Context) -> Response:
    """Run a schedule for the minute that it is; 409 where that minute has run already.

    One without a ledger is sent its tick at any time.
    """
    name, asked = request.path_params["name"], await _asked(request, Asked)
    async with ctx.store.connection() as connection:
        ledger = (await schedule_rows.load(connection, [name])).get(name)
    if ledger is None or ledger.removed:
        found = await sources.read(ctx)
        if found is None:
            raise TemporaryError("Kubernetes does not tell which schedules there are")
        if name not in found:
            raise NotFound(f"no schedule {name}")
        return _json(_tick(await send_now(found[name], asked.by, asked.reason, ctx)), 202)
    minute = ctx.now().replace(second=0, microsecond=0)
    tick = await run_now(name, asked.by, minute, ctx, asked.reason)
    ctx.part(Loop).begin(ctx)
    return _json(_tick(tick), 202)


async def begin_backfill(request: Request, ctx: Context) -> Response:
    """The times that would run and those that would not, or with `dry_run: false` a backfill."""
    name, asked = request.path_params["name"], await _asked(request, BackfillAsked)
    if asked.before <= asked.since:
        raise PermanentError("before: must be after since")
    if ctx.now() - asked.since > MAX_BEHIND:
        raise PermanentError(
            "since: must be within the last five years: functions refuse older ticks"
        )
    if asked.before > ctx.now():
        raise PermanentError("before: must not be in the future")
    async with ctx.store.connection() as connection:
        _known(await schedule_rows.load(connection, [name]), name)
        if asked.dry_run:
            items = await backfill.planned(connection, name, asked.since, asked.before, asked.which)
            return _json({"times": [vars(item) for item in items]})
    number = await backfill.begin(
        *(ctx, name, asked.since, asked.before, asked.which, asked.at_once, asked.by, asked.reason)
    )
    ctx.part(Loop).begin(ctx)
    return _json(await backfill.read(ctx, number), 202)


async def backfills(request: Request, ctx: Context) -> Response:
    """`?schedule=&state=&limit=100&cursor=`: what was backfilled and by whom, the newest first."""
    query = Query(request)
    limit, cursor = query.limit(100, 1000), query.text("cursor")
    async with ctx.store.connection() as connection:
        found = await backfill.listed(
            connection,
            schedule=query.text("schedule"),
            state=query.choice("state", backfill.BackfillState),
            before=None if cursor is None else number(cursor, "cursor", 1, 2**62),
            limit=limit + 1,
        )
    shown, following = page(found, limit, lambda one: one["number"])
    return _json({"backfills": list(shown), "next": following})


async def show_backfill(request: Request, ctx: Context) -> Response:
    return _json(await backfill.read(ctx, _number(request)))


async def change_backfill(request: Request, ctx: Context) -> Response:
    """`pause`, `resume` or `cancel`: what was sent goes on, what waits is left or begun."""
    actions = {"pause": "paused", "resume": "running", "cancel": "cancelled"}
    action = request.path_params["action"]
    if action not in actions:
        raise NotFound(f"no such action: there are {', '.join(actions)}")
    asked = await _asked(request, Asked)
    await backfill.change(ctx, _number(request), actions[action], asked.by, asked.reason)
    ctx.part(Loop).begin(ctx)
    return await show_backfill(request, ctx)


async def _record(tx: Connection, ctx: Context, asked: Asked, action: str, subject: str) -> None:
    done = UserAction(asked.by, action, subject, asked.reason)
    await record_action(tx, ctx.function, done, ctx.now())


ROUTES = [
    ACTIONS,
    route("/schedules", schedules),
    route("/schedules/{name}", schedule),
    route("/schedules/{name}/pause", for_operators(pause), ["POST"]),
    route("/schedules/{name}/resume", for_operators(resume), ["POST"]),
    route("/schedules/{name}/run", for_operators(run), ["POST"]),
    route("/schedules/{name}/backfill", for_operators(begin_backfill), ["POST"]),
    route("/ticks", ticks),
    route("/ticks/latest", latest_ticks),
    route("/backfills", backfills),
    route("/backfills/{number}", show_backfill),
    route("/backfills/{number}/{action}", for_operators(change_backfill), ["POST"]),
]


def _schedule(one: Ledger) -> dict[str, Any]:
    return {
        "name": one.schedule.name,
        "source": one.source,
        "expression": one.version.expression,
        "zone": one.version.zone,
        "policy": dict(one.policy),
        "problem": one.problem,
        "removed": one.removed,
        "pause": schedule_rows.pause_json(one.schedule.pause),
        "reconciled_until": one.schedule.reconciled_until,
        "known_since": one.known_since,
        "last_due": one.last_due,
        "open": list(map(_tick, one.schedule.open)),
    }


def _tick(tick: Tick) -> dict[str, Any]:
    return {
        "nominal": tick.nominal,
        "due_at": tick.due,
        "state": tick.state,
        "origin": tick.origin,
        "cause": tick.cause,
        "reason": tick.reason,
    }


def _known(found: Mapping[str, Ledger], name: str) -> Ledger:
    if name not in found:
        raise NotFound(f"no schedule {name} has a ledger")
    return found[name]


async def _asked(request: Request, kind: type[A]) -> A:
    body = await request.body()
    asked = await off_loop(len(body), kind.model_validate_json, body or b"{}")
    # Whom the body names is a claim: where callers are known, it is who the token proves.
    who = user_of(request.headers) if "caller" in request.scope else None
    return asked.model_copy(update={"by": shortened(who, 100)}) if who else asked


def _number(request: Request) -> int:
    return number(request.path_params["number"], "backfill", 1, 2**62)


def _json(answer: Mapping[str, Any], status: int = 200) -> Response:
    text = json.dumps(answer, default=cloudevents.format_time)
    return Response(text, status, media_type="application/json")
