"""Sprints that need attention: late, closed without a next one, or with nothing that moves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import date, timedelta

from functions.console.ask import Ask, Row
from functions.console.attention_item import SHOWN, Item
from functions.console.formatting import count, instant
from functions.console.names import all_projects
from functions.console.sprints.active_sprints import MAX_CANDIDATES, outlooks
from functions.events.scrum import ScrumReported, SprintSimulated
from functions.events.sprint import SprintsReported
from functions.kit.clients import path
from functions.kit.errors import FunctionError

# A cycle that is under way, or that the sweep goes on with, needs nothing yet.
CYCLE_TIME = timedelta(minutes=30)
# Daily scrums in a row in which no task moved.
STALLED_SCRUMS = 3
# Older scrums say nothing of today; a sprint without any scrum since then is no longer active.
RECENT = timedelta(days=7)


async def without_next(ask: Ask) -> tuple[int, list[Item]]:
    """Projects whose last sprint is closed and whose cycle did not start the next one.

    A cycle that was begun says where it stands. Where none was begun, the last sprint report
    names the project; it is asked again, as a sprint may have been started since.
    """
    cycles, reported = await asyncio.gather(_unfinished_cycles(ask), _without_sprint(ask))
    items = {
        row["project_id"]: Item(row["project_id"], row["detail"], "waiting", "/sprints")
        for row in reported
    } | {row["project_id"]: _of_cycle(row) for row in cycles}
    some = list(items)[:MAX_CANDIDATES]
    still = await asyncio.gather(*(_is_without_sprint(ask, project) for project in some))
    found = [items[project] for project, without in zip(some, still, strict=True) if without]
    return len(found), found[:SHOWN]


async def _unfinished_cycles(ask: Ask) -> list[Row]:
    answer = await ask.function("cycle-trigger").read("/cycles")
    now = ask.ctx.now()

    def stands_still(row: Row) -> bool:
        touched = instant(row["updated_at"]) or now
        return row["state"] == "failed" or now - touched > CYCLE_TIME

    return [row for row in answer["cycles"] if stands_still(row)]


def _of_cycle(row: Row) -> Item:
    sprint = row["sprint_id"]
    at = f" at step {row['step']}" if row["step"] else ""
    why = f"its cycle has not finished{at}: {row['detail'] or 'no error was recorded'}"
    href = path("sprints", sprint) if sprint else "/sprints"
    return Item(f"{row['project_id']} {sprint or ''}".strip(), why, row["state"], href)


async def _without_sprint(ask: Ask) -> list[Row]:
    """The rows of the last sprint report whose detail says that a sprint has no successor."""
    runs = await ask.runs("sprint-report", outcome="ok", answers="true", limit=5)
    for run in runs:
        for event in run["answer"] or []:
            if event["type"] == SprintsReported.type:
                rows = event["data"]["sprints"]
                return [row for row in rows if row["state"] == "no-sprint" and row.get("detail")]
    return []


async def _is_without_sprint(ask: Ask, project_id: str) -> bool:
    """Whether a project has no active sprint; True where its services do not answer."""
    services = ask.services
    try:
        sprints, projects = await asyncio.gather(
            ask.within(
                services.sprints.name,
                ("sprints of", project_id),
                lambda: services.sprints.of(project_id),
            ),
            all_projects(ask),
        )
    except FunctionError:
        return True  # what is known says so
    is_project = bool(sprints) or project_id in projects
    return is_project and not any(sprint.status == "in_progress" for sprint in sprints)


async def stalled(ask: Ask) -> tuple[int, list[Item]]:
    """Sprints with open tasks of which none moved in the last daily scrums."""
    now = ask.ctx.now()
    newest = await ask.runs(
        "scrum-report",
        type=SprintSimulated.type,
        outcome="ok",
        since=(now - RECENT).isoformat(),
        latest="true",
        answers="true",
        limit=1000,
    )
    suspects = [fact for run in newest for fact in _facts(run) if _stood_still(fact)]
    suspects = suspects[:MAX_CANDIDATES]
    ids = [id for fact in suspects for id in _days_before(fact)]
    runs = await ask.runs_of("scrum-report", SprintSimulated.type, ids, answers="true")
    by_sprint: dict[str, dict[str, Row]] = {}
    for run in runs:
        for fact in _facts(run):
            by_sprint.setdefault(fact["sprint_id"], {})[fact["scrum_date"]] = fact
    items = []
    for fact in suspects:
        known = by_sprint.get(fact["sprint_id"], {})
        days = still_since([*known.values(), fact])
        if len(days) >= STALLED_SCRUMS:
            why = f"no task moved in {count(len(days), 'daily scrum')}, since {days[0]}"
            items.append(
                Item(fact["sprint_id"], why, "waiting", path("sprints", fact["sprint_id"]))
            )
    return len(items), items[:SHOWN]


async def late(ask: Ask) -> tuple[int, list[Item]]:
    """Active sprints that have not ended in time, or will not at the pace that they have."""
    items = [
        Item(sprint_id, one.forecast.message, "late", path("sprints", sprint_id))
        for sprint_id, one in (await outlooks(ask)).items()
        if one.forecast.is_late
    ]
    return len(items), items[:SHOWN]


def still_since(facts: Sequence[Row]) -> list[str]:
    """The days of the latest scrums in a row in which nothing moved, oldest first.

    >>> still_since([{"scrum_date": f"2026-03-0{day}", "moved_tasks": moved}
    ...              for day, moved in ((2, 0), (3, 1), (4, 0), (5, 0))])
    ['2026-03-04', '2026-03-05']
    """
    by_day = {fact["scrum_date"]: fact["moved_tasks"] for fact in facts}
    days: list[str] = []
    for day in sorted(by_day, reverse=True):
        if by_day[day]:
            break
        days.append(day)
    return days[::-1]


def _stood_still(fact: Row) -> bool:
    return not fact["moved_tasks"] and fact["completed_tasks"] < fact["total_tasks"]


def _facts(run: Row) -> list[Row]:
    events = run.get("answer") or []
    return [event["data"] for event in events if event["type"] == ScrumReported.type]


def _days_before(fact: Row) -> list[str]:
    """The ids of a sprint's scrums of the days before one."""
    last = date.fromisoformat(fact["scrum_date"])
    return [
        f"{fact['sprint_id']}@{last - timedelta(days=number)}" for number in range(1, RECENT.days)
    ]
