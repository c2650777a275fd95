"""Today: did the morning run, and what came of it? Days are UTC."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from starlette.routing import Route

from functions.console.ask import Ask, Row
from functions.console.pages import Page
from functions.console.panels import Panel, Query
from functions.kit.errors import FunctionError, NotFound, PermanentError, TemporaryError

# The morning's functions, in the order in which they run.
MORNING = {
    "sprint-report": "measures every active sprint",
    "cycle-trigger": "starts the next cycle of each finished sprint",
    "scrum-simulate": "simulates the working day of each sprint",
    "scrum-report": "files each sprint's daily report",
}
MOST_RUNS = 200

_REPORTED = "io.dsm.sprints.reported.v1"
_CYCLED = "io.dsm.cycle.completed.v1"


def day_of(ask: Ask, query: Query) -> date:
    """The day that the address names; today where it names none."""
    given = query.get("day")
    if not given:
        return ask.ctx.now().date()
    try:
        return date.fromisoformat(given)
    except ValueError:
        raise PermanentError(f"{given} is no day such as 2026-03-02.") from None


async def runs_of(ask: Ask, function: str, day: date, *, answers: bool = False) -> list[Row]:
    """A function's runs that ended on a day, newest first."""
    since = datetime(day.year, day.month, day.day, tzinfo=UTC)
    before = since + timedelta(days=1)
    said = {"answers": "true"} if answers else {}
    return await ask.runs(
        function, limit=MOST_RUNS, since=since.isoformat(), before=before.isoformat(), **said
    )


async def morning(ask: Ask, query: Query) -> Mapping[str, Any]:
    """Each function of the morning: how it went, or that it is away."""
    day = day_of(ask, query)
    found = await asyncio.gather(
        *(runs_of(ask, name, day) for name in MORNING), return_exceptions=True
    )
    rows = [stage(name, runs) for name, runs in zip(MORNING, found, strict=True)]
    if all(row["state"] == "away" for row in rows):
        raise TemporaryError(rows[0]["detail"])
    return {"rows": rows, "verdict": verdict(rows, day == ask.ctx.now().date()), "day": day}


def stage(name: str, runs: list[Row] | BaseException) -> Row:
    """One function's day in one row."""
    row: Row = {"name": name, "does": MORNING[name], "runs": 0, "failed": 0, "took_ms": None}
    if isinstance(runs, FunctionError):
        return row | {"state": "away", "detail": runs.detail, "last": None}
    if isinstance(runs, BaseException):
        raise runs
    if not runs:
        return row | {"state": "waiting", "detail": "has not run", "last": None}
    failed = failures(runs)
    return row | {
        "runs": len(runs),
        "failed": len(failed),
        "state": "failed" if failed else "ok",
        "detail": failed[0]["detail"] if failed else "",
        "took_ms": sum(run["took_ms"] for run in runs),
        "slowest_ms": max(run["took_ms"] for run in runs),
        "last": runs[0]["ended_at"],
        "list": runs[:20],
    }


def failures(runs: list[Row]) -> list[Row]:
    """The runs that failed and did not succeed later: newest first.

    >>> ok, bad = {"source": "s", "id": "1", "outcome": "ok"}, {"outcome": "failed"}
    >>> failures([ok, bad | {"source": "s", "id": "1"}, bad | {"source": "s", "id": "2"}])
    [{'outcome': 'failed', 'source': 's', 'id': '2'}]
    """
    done = {(run["source"], run["id"]) for run in runs if run["outcome"] == "ok"}
    latest: dict[tuple[str, str], Row] = {}
    for run in runs:
        key = (run["source"], run["id"])
        if key not in done and key not in latest:
            latest[key] = run
    return list(latest.values())


def verdict(rows: list[Row], is_today: bool) -> tuple[str, str]:
    """The day in one sentence, and its tone."""
    by_name = {row["name"]: row for row in rows}
    if bad := [row["name"] for row in rows if row["state"] == "failed"]:
        return "bad", f"Something failed in {', '.join(bad)}."
    if away := [row["name"] for row in rows if row["state"] == "away"]:
        return "wait", f"We cannot tell: {', '.join(away)} cannot be reached."
    reported, scrums = by_name["sprint-report"]["runs"], by_name["scrum-report"]["runs"]
    if not reported and not scrums:
        return "wait", "The morning has not run yet." if is_today else "No morning ran on this day."
    if not reported:
        return "wait", "The daily scrums ran; the sprint report has not run."
    if not scrums:
        return "good", "The sprint report ran; the daily scrums have not run yet."
    return "good", "The morning ran, and all of it went well."


def said(runs: list[Row], type_: str) -> list[Row]:
    """The data of each event of a type that the runs emitted, newest run first, each id once."""
    found: dict[str, Row] = {}
    for run in runs:
        for event in run.get("answer") or []:
            if event["type"] == type_:
                found.setdefault(event["id"], {**event["data"], "ended_at": run["ended_at"]})
    return list(found.values())


async def report(ask: Ask, query: Query) -> Mapping[str, Any]:
    """The day's last sprint report."""
    day = day_of(ask, query)
    reports = said(await runs_of(ask, "sprint-report", day, answers=True), _REPORTED)
    if not reports:
        return {"sprints": [], "day": day}
    order = {"complete": 0, "active": 1, "error": 2, "no-sprint": 3}
    sprints = sorted(
        reports[0]["sprints"],
        key=lambda s: (order[s["state"]], -(s["completion_percentage"] or 0), s["project_id"]),
    )
    return {"sprints": sprints, "reported_at": reports[0]["reported_at"], "day": day}


async def cycles(ask: Ask, query: Query) -> Mapping[str, Any]:
    """Each cycle of the day, step by step."""
    day = day_of(ask, query)
    found = said(await runs_of(ask, "cycle-trigger", day, answers=True), _CYCLED)
    for cycle in found:
        longest = max((step["took_ms"] for step in cycle["steps"]), default=0) or 1
        for step in cycle["steps"]:
            step["share"] = round(100 * step["took_ms"] / longest)
    return {"cycles": found, "day": day}


async def scrums(ask: Ask, query: Query) -> Mapping[str, Any]:
    """The day's reports, per person."""
    day = day_of(ask, query)
    notes, names = await asyncio.gather(_notes(ask, day), names_of(ask))
    return {"people": per_person(notes, str(day), names), "notes": len(notes), "day": day}


async def _notes(ask: Ask, day: date) -> list[Row]:
    chronicle = ask.service(ask.services.chronicle)
    try:
        notes: list[Row] = await chronicle.read(
            "/v1/notes/daily_scrum_report/notes", daily_scrum_date=day
        )
    except NotFound:
        return []
    return notes


async def names_of(ask: Ask) -> dict[str, str]:
    """People's names by id: a courtesy, so none where project-service is away."""
    try:
        people = await ask.service(ask.services.projects).read("/employees")
    except FunctionError:
        return {}
    return {person["id"]: person["name"] for person in people}


def per_person(notes: list[Row], day: str, names: Mapping[str, str]) -> list[Row]:
    """Everybody's tasks of a day over all sprints, sorted by name."""
    found: dict[str, Row] = {}
    for note in notes:
        for entry in note["reports"].get(day, []):
            who = entry.get("assigned_to") or entry.get("employee_id") or "unassigned"
            person = found.setdefault(who, {"id": who, "name": names.get(who, who), "tasks": []})
            person["tasks"] += [{**task, "sprint_id": note["sprint_id"]} for task in entry["tasks"]]
    return sorted(found.values(), key=lambda person: person["name"])


def routes() -> list[Route]:
    return Page(
        "/",
        "Today",
        [
            Panel("morning", "The morning", morning, live_s=10),
            Panel("report", "Sprint report", report),
            Panel("cycles", "Cycles of finished sprints", cycles),
            Panel("scrums", "Daily scrum reports", scrums),
        ],
        head="heads/day.html",
    ).routes()
