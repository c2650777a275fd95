"""Did the morning run, and did what should follow? Days are UTC.

Only what the schedules and their events caused is the morning: a user's request in
between may fail without making it a bad one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any, TypeVar

from functions.console.ask import Ask, Row
from functions.console.formatting import clock, count, instant, moment
from functions.console.ledger import Status, statuses_of_day
from functions.console.panels import Query
from functions.console.ping_sources import GRACE, due_between, name_of, sources_of
from functions.console.runs import good_runs, hours, tally
from functions.events.base import Event
from functions.events.schedule import ScheduleDue
from functions.events.scrum import SprintSimulated
from functions.events.sprint import SprintCompleted
from functions.kit.errors import FunctionError, PermanentError, TemporaryError

A = TypeVar("A")
NOT_DUE = "not due on this day"


@dataclass(frozen=True)
class Stage:
    """One function of the morning: the event that it takes, and who sends that; a tick has none."""

    name: str
    does: str
    takes: type[Event] = ScheduleDue
    cause: str = ""
    makes: str = ""


STAGES = (
    Stage("sprint-report", "measures every active sprint"),
    Stage(
        "cycle-trigger",
        "starts the next cycle of each finished sprint",
        SprintCompleted,
        "sprint-report",
        "cycle",
    ),
    Stage("scrum-simulate", "simulates the working day of each sprint"),
    Stage(
        "scrum-report",
        "files each sprint's daily report",
        SprintSimulated,
        "scrum-simulate",
        "report",
    ),
)


def day_of(ask: Ask, query: Query) -> date:
    """The day that the address names; today where it names none."""
    given = query.get("day")
    if not given:
        return ask.ctx.now().date()
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise PermanentError(f"{given} is no day such as 2026-03-02.") from None


async def morning(ask: Ask, query: Query) -> Mapping[str, Any]:
    """Each function of the morning: how it went, what is missing, or that it is away."""
    day = day_of(ask, query)
    since, before = (datetime.fromisoformat(at) for at in hours(day).values())
    due, kept = await asyncio.gather(
        due_times(ask, since, before), _or_none(statuses_of_day(ask, since, before))
    )
    found = await asyncio.gather(
        *(
            stage_of(ask, stage, day, due.get(stage.name), (kept or {}).get(stage.name))
            for stage in STAGES
        ),
        return_exceptions=True,
    )
    rows = []
    for stage, row in zip(STAGES, found, strict=True):
        if isinstance(row, FunctionError):
            rows.append(_row(stage, "away", row.detail))
        elif isinstance(row, BaseException):
            raise row
        else:
            rows.append(row)
    if all(row["state"] == "away" for row in rows):
        raise TemporaryError(rows[0]["detail"])
    away = any(row["state"] == "away" for row in rows)
    today = day == ask.ctx.now().date()
    tone, sentence = verdict(rows, today)
    return {
        "rows": rows,
        "tone": tone,
        "summary": sentence,
        "day": day,
        "ended": not today and not away,
    }


async def due_times(ask: Ask, since: datetime, before: datetime) -> dict[str, datetime | Status]:
    """When each schedule was first due in a time, or why it was not; nothing where none knows."""
    return {
        name_of(source): due_between(source, since, before) or not_due(source, since, before)
        for source in await _or_none(sources_of(ask)) or []
    }


async def _or_none(read: Awaitable[A]) -> A | None:
    try:
        return await read
    except FunctionError:
        return None


def not_due(source: Row, since: datetime, before: datetime) -> Status:
    """Why a schedule was not due in a time: by its times, or as it was made later than that."""
    metadata = {**source["metadata"], "creationTimestamp": None}
    if due_between({**source, "metadata": metadata}, since, before) is None:
        return "not due", NOT_DUE
    made = moment(source["metadata"]["creationTimestamp"])
    return "unknown", f"its schedule was made on {made} UTC"


async def stage_of(
    ask: Ask, stage: Stage, day: date, due: datetime | Status | None, status: Status | None
) -> Row:
    """One function's day in one row: by the ledger's `status` where its schedule has one."""
    reported = {row["type"]: row for row in await tally(ask, stage.name, day)}
    row = _row(stage, "ok")
    row["failed_runs"] = sum(one.get("failed_runs", 0) for one in reported.values())
    row["unhandled"] = sum(one["failed"] for one in reported.values())
    mine = reported.pop(stage.takes.type, {})
    # A tick that the morning does not wait for is the function's own sweep; no user asked for it.
    swept = [one for type_, one in reported.items() if ScheduleDue.covers(type_)]
    asked = [one for type_, one in reported.items() if not ScheduleDue.covers(type_)]
    row["swept_failed"] = sum(one["failed"] for one in swept)
    row["asked"] = sum(one["runs"] for one in asked)
    row["asked_failed"] = sum(one["failed"] for one in asked)
    if mine:
        row |= {name: mine[name] for name in ("runs", "took_ms", "last")}
    if stage.cause:
        return row | await followed(ask, stage, day)
    if mine:
        row["by_hand"] = await _by_hand(ask, stage, day, due)
        row["next_due"] = due if isinstance(due, datetime) else None
    fails = bool(mine and mine["failed"])
    if status is not None and not (fails and status[0] == "running"):
        return row | {"state": status[0], "detail": status[1]}
    if fails:
        return row | {"state": "failed", "detail": mine["detail"]}
    return row if mine else row | not_run(due, ask.ctx.now())


async def _by_hand(
    ask: Ask, stage: Stage, day: date, due: datetime | Status | None
) -> tuple[str, str] | None:
    """Who ran it, empty where that is not on record, and when; None where the schedule did.

    What ran before the first time that it is due, or on a day without one, a user has run. Whether
    a schedule that was made later had been due is unknown, so only a user's name tells.
    """
    is_early = due > ask.ctx.now() if isinstance(due, datetime) else due is not None
    runs = await good_runs(ask, stage.name, day) if is_early else []
    if not runs or (isinstance(due, tuple) and due[0] == "unknown" and not runs[0]["requested_by"]):
        return None
    return runs[0]["requested_by"] or "", clock(runs[0]["ended_at"])[:5]


def not_run(due: datetime | Status | None, now: datetime) -> Row:
    """What it means that a schedule's function has not run."""
    if isinstance(due, tuple):
        return {"state": due[0], "detail": due[1]}
    if due is None:
        return {"state": "waiting", "detail": "has not run"}
    if due + GRACE > now:
        return {"state": "waiting", "detail": f"due at {clock(due)[:5]} UTC"}
    return {"state": "failed", "detail": f"was due at {clock(due)[:5]} UTC and has not run"}


async def followed(ask: Ask, stage: Stage, day: date) -> Row:
    """Has each event that the cause's ticks sent been handled?"""
    ticks = await good_runs(ask, stage.cause, day)
    sent = {
        # The handler's record names the event by what it is about, not by its random id.
        str(stage.takes.model_validate(event["data"]).identity()): run
        for run in ticks
        for event in run["answer"] or []
        if event["type"] == stage.takes.type
    }
    if not sent:
        if ticks:
            return {"state": "nothing to do", "detail": ""}
        return {"state": "waiting", "detail": f"nothing from {stage.cause}"}
    reported = await ask.runs_of(stage.name, stage.takes.type, sorted(sent))
    return judged(stage, sent, reported, ask.ctx.now())


def judged(stage: Stage, sent: Mapping[str, Row], reported: Sequence[Row], now: datetime) -> Row:
    """Of the events that were sent, by what they are about: which were handled, and which not.

    >>> sent = {"S01": {"ended_at": "2026-03-02T13:30:00Z"}}
    >>> judged(STAGES[1], sent, [], datetime.fromisoformat("2026-03-02T15:00Z"))["detail"]
    'no cycle of S01'
    """
    done = {run["id"] for run in reported if run["outcome"] == "ok"}
    failed = {run["id"]: run["detail"] for run in reversed(reported) if run["id"] not in done}
    if failed:
        return {"state": "failed", "detail": next(iter(failed.values()))}
    missing = sorted(sent.keys() - done)
    late = [id for id in missing if _since(sent[id], now) > GRACE]
    if late:
        names = ", ".join(id.partition("@")[0] for id in late[:3])
        more = f" and {len(late) - 3} more" if len(late) > 3 else ""
        message = f"no {stage.makes} of {names}{more}"
        return {"state": "failed", "detail": message}
    if missing:
        message = f"{count(len(missing), stage.makes)} on the way"
        return {"state": "running", "detail": message}
    return {"state": "ok", "detail": ""}


def verdict(rows: Sequence[Row], is_today: bool) -> tuple[str, str]:
    """The day in a sentence, and its tone: no good one where a sweep or a request failed."""
    tone, sentence = _of_schedules(rows, is_today)
    for counted, noun, kind in (
        ("swept_failed", "sweep", ""),
        ("asked_failed", "event", " on request"),
    ):
        if failed := {row["name"]: row[counted] for row in rows if row[counted]}:
            tone = "wait" if tone == "good" else tone
            number = count(sum(failed.values()), noun)
            sentence += f" {number}{kind} failed: {', '.join(failed)}."
    return tone, sentence


def _of_schedules(rows: Sequence[Row], is_today: bool) -> tuple[str, str]:
    """What the schedules and their events caused, in one sentence, and its tone."""
    if bad := [f"{row['name']}: {row['detail']}" for row in rows if row["state"] == "failed"]:
        return "bad", f"Not all went well. {'; '.join(bad)}."
    if away := [row["name"] for row in rows if row["state"] == "away"]:
        return "wait", f"Unknown: {', '.join(away)} cannot be reached."
    if any(row["state"] == "running" for row in rows):
        return "busy", "The morning is under way."
    by_name = {row["name"]: row for row in rows}
    report, scrum = by_name["sprint-report"], by_name["scrum-simulate"]
    if not report["runs"] and not scrum["runs"]:
        if is_today and not {"not due", "unknown"} & {report["state"], scrum["state"]}:
            return "wait", f"The morning has not run yet{_when(report)}."
        return "wait", "No morning ran on this day."
    ran = [row for row in (report, scrum) if row["runs"]]
    if all(row["by_hand"] for row in ran):
        return "calm", _ran_by_hand(ran, (report, scrum))
    if not report["runs"]:
        return "wait", f"The daily scrums ran; the sprint report has not run{_when(report)}."
    if scrum["state"] == "not due":
        return "good", "The sprint report ran, and all went well; no daily scrum is due."
    if not scrum["runs"]:
        return "good", f"The sprint report ran; the daily scrums have not run yet{_when(scrum)}."
    return "good", "The morning ran, and all that was due went well."


def _ran_by_hand(rows: Sequence[Row], both: Sequence[Row]) -> str:
    """Who ran it and when, and when the schedules are due.

    >>> report = {"name": "sprint-report", "by_hand": ("ada", "04:49"), "next_due": None}
    >>> due = datetime.fromisoformat("2026-03-02T14:00Z")
    >>> scrum = {"name": "scrum-simulate", "by_hand": ("ada", "04:49"), "next_due": due}
    >>> _ran_by_hand([report, scrum], [report, scrum])
    'Run by hand by ada at 04:49 UTC; sprint-report is due no more today, scrum-simulate is due at \
14:00 UTC.'
    """
    users = sorted({who for who, _ in (row["by_hand"] for row in rows) if who})
    at = max(at for _, at in (row["by_hand"] for row in rows))
    by = f" by {', '.join(users)}" if users else ""
    only = "" if len(rows) == len(both) else f" ({rows[0]['name']})"
    due = [
        f"{row['name']} is due at {clock(row['next_due'])[:5]} UTC"
        if row["next_due"]
        else f"{row['name']} is due no more today"
        for row in rows
    ]
    return f"Run by hand{by} at {at} UTC{only}; {', '.join(due)}."


def _row(stage: Stage, state: str, detail: str = "") -> Row:
    names = ("runs", "asked", "asked_failed", "swept_failed", "unhandled", "failed_runs")
    counts = dict.fromkeys(names, 0)
    row = {"name": stage.name, "does": stage.does, "state": state, "detail": detail}
    return row | counts | {"took_ms": None, "last": None, "by_hand": None, "next_due": None}


def _when(row: Row) -> str:
    return f": {row['detail']}" if row["detail"].startswith("due at") else ""


def _since(run: Row, now: datetime) -> timedelta:
    ended = instant(run["ended_at"])
    return now - ended if ended else timedelta(0)
