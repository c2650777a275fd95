"""Today: did the morning run, and what came of it? Days are UTC."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import date
from typing import Any

from starlette.routing import Route

from functions.console.ask import Ask, Row
from functions.console.attention import attention
from functions.console.formatting import day
from functions.console.morning import day_of, hours, morning
from functions.console.pages import Page
from functions.console.panels import Panel, Query
from functions.kit.errors import FunctionError, NotFound, PermanentError

_REPORTED = "io.dsm.sprints.reported.v1"
_CYCLED = "io.dsm.cycle.completed.v1"


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
    of = day_of(ask, query)
    runs = await ask.runs("sprint-report", outcome="ok", answers="true", **hours(of))
    reports = said(runs, _REPORTED)
    if not reports:
        return {"sprints": [], "day": of}
    order = {"complete": 0, "active": 1, "error": 2, "no-sprint": 3}
    sprints = sorted(
        reports[0]["sprints"],
        key=lambda s: (order[s["state"]], -(s["completion_percentage"] or 0), s["project_id"]),
    )
    return {"sprints": sprints, "reported_at": reports[0]["reported_at"], "day": of}


async def cycles(ask: Ask, query: Query) -> Mapping[str, Any]:
    """Each cycle of the day, step by step."""
    of = day_of(ask, query)
    runs = await ask.all_runs("cycle-trigger", outcome="ok", answers="true", **hours(of))
    found = said(runs, _CYCLED)
    for cycle in found:
        longest = max((step["took_ms"] for step in cycle["steps"]), default=0) or 1
        for step in cycle["steps"]:
            step["share"] = round(100 * step["took_ms"] / longest)
    return {"cycles": found, "day": of}


async def scrums(ask: Ask, query: Query) -> Mapping[str, Any]:
    """The day's reports, per person."""
    of = day_of(ask, query)
    notes, names = await asyncio.gather(_notes(ask, of), names_of(ask))
    return {"people": per_person(notes, str(of), names), "notes": len(notes), "day": of}


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


def is_today(ask: Ask, query: Query) -> bool:
    """Only the present needs attention; a day that is none says so in its panels."""
    return query.get("day", "") in ("", str(ask.ctx.now().date()))


def title(ask: Ask, query: Query) -> str:
    """Today, or the day that the address names."""
    try:
        return "Today" if is_today(ask, query) else day(day_of(ask, query))
    except PermanentError:
        return "No such day"


def routes() -> list[Route]:
    return Page(
        "/",
        title,
        [
            Panel("attention", "Needs attention", attention, live_s=10, shows=is_today),
            Panel("morning", "The morning", morning, live_s=10),
            Panel("report", "Sprint report", report),
            Panel("cycles", "Cycles of finished sprints", cycles),
            Panel("scrums", "Daily scrum reports", scrums),
        ],
        head="heads/day.html",
    ).routes()
