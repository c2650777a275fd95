"""Daily scrums of a day: the reports that the chronicle has of it, per team member."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import date
from typing import Any

from functions.console.ask import Ask, Row
from functions.console.formatting import count
from functions.console.names import employee_names
from functions.console.panels import Query
from functions.console.today.morning import day_of
from functions.kit.errors import NotFound


async def scrums(ask: Ask, query: Query) -> Mapping[str, Any]:
    """The day's reports, per team member."""
    of = day_of(ask, query)
    notes, names = await asyncio.gather(notes_of(ask, of), employee_names(ask))
    members = per_employee(notes, str(of), names)
    summary = f"{count(len(members), 'team member')} in {count(len(notes), 'report')}"
    return {"members": members, "notes": len(notes), "day": of, "summary": summary}


async def notes_of(ask: Ask, day: date) -> list[Row]:
    """The reports that were filed for a day."""
    chronicle = ask.service(ask.services.chronicle)
    try:
        notes: list[Row] = await chronicle.read(
            "/v1/notes/daily_scrum_report/notes", daily_scrum_date=day
        )
    except NotFound:
        return []
    return notes


def per_employee(notes: list[Row], day: str, names: Mapping[str, str]) -> list[Row]:
    """Each team member's tasks of a day over all sprints, sorted by name."""
    found: dict[str, Row] = {}
    for note in notes:
        for entry in note["reports"].get(day, []):
            who = entry.get("assigned_to") or entry.get("employee_id") or "unassigned"
            member = found.setdefault(who, {"id": who, "name": names.get(who, who), "tasks": []})
            member["tasks"] += [{**task, "sprint_id": note["sprint_id"]} for task in entry["tasks"]]
    return sorted(found.values(), key=lambda member: member["name"])
