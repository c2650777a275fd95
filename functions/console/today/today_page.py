"""Today: did the morning run, and what came of it? Days are UTC."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from starlette.routing import Route

from functions.console.ask import Ask
from functions.console.formatting import clock, count, day
from functions.console.names import project_names
from functions.console.pages import Page
from functions.console.panels import Panel, Query
from functions.console.runs import emitted, good_runs, hours
from functions.console.sprints.active_sprints import active_sprints
from functions.console.today.attention import attention
from functions.console.today.glance import glance
from functions.console.today.morning import day_of, morning
from functions.console.today.scrums import scrums
from functions.kit.errors import FunctionError, PermanentError

_REPORTED = "io.dsm.sprints.reported.v1"
_CYCLED = "io.dsm.cycle.completed.v1"


async def report(ask: Ask, query: Query) -> Mapping[str, Any]:
    """The day's last sprint report."""
    of = day_of(ask, query)
    runs, names, active = await asyncio.gather(
        ask.runs("sprint-report", outcome="ok", answers="true", **hours(of)),
        project_names(ask),
        active_by_project(ask, query),
    )
    reports = emitted(runs, _REPORTED)
    if not reports:
        return {"sprints": [], "day": of, "summary": "none"}
    order = {"complete": 0, "active": 1, "error": 2, "no-sprint": 3}
    sprints = sorted(
        reports[0]["sprints"],
        key=lambda s: (order[s["state"]], -(s["completion_percentage"] or 0), s["project_id"]),
    )
    states = [sprint["state"] for sprint in sprints]
    summary = f"{states.count('active')} active, {states.count('complete')} complete"
    summary += f" as of {clock(reports[0]['reported_at'])[:5]} UTC"
    since = [
        active[sprint["project_id"]]
        for sprint in sprints
        if sprint["state"] != "error"
        and active.get(sprint["project_id"], sprint["sprint_id"]) != sprint["sprint_id"]
    ]
    if since:
        summary += f"; {', '.join(since)} {'has' if len(since) == 1 else 'have'} begun since"
    return {
        "since": since,
        "sprints": sprints,
        "names": names,
        "reported_at": reports[0]["reported_at"],
        "day": of,
        "summary": summary,
    }


async def active_by_project(ask: Ask, query: Query) -> dict[str, str]:
    """Each project's sprint in progress now; none of a past day, or where they are unknown."""
    if not is_today(ask, query):
        return {}
    try:
        return {one.project_id: one.sprint_id for one in await active_sprints(ask) or ()}
    except FunctionError:
        return {}


async def cycles(ask: Ask, query: Query) -> Mapping[str, Any]:
    """Each cycle of the day, step by step."""
    of = day_of(ask, query)
    runs, names = await asyncio.gather(good_runs(ask, "cycle-trigger", of), project_names(ask))
    found = emitted(runs, _CYCLED)
    for cycle in found:
        longest = max((step["took_ms"] for step in cycle["steps"]), default=0) or 1
        for step in cycle["steps"]:
            step["share"] = round(100 * step["took_ms"] / longest)
    return {"cycles": found, "names": names, "day": of, "summary": count(len(found), "cycle")}


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
            Panel("glance", "At a glance", glance, live_s=10),
            Panel("attention", "Needs attention", attention, live_s=10, shows=is_today),
            Panel("morning", "Daily run", morning, live_s=30, folded=True),
            Panel("report", "Sprint report", report, live_s=30, folded=True),
            Panel("cycles", "Cycles of finished sprints", cycles, live_s=30, folded=True),
            Panel("scrums", "Daily scrum reports", scrums, live_s=30, folded=True),
        ],
        head="heads/day.html",
    ).routes()
