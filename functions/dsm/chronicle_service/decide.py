"""How filed reports become what a reader gets. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

Row = Mapping[str, Any]

NO_SUMMARY = "No Holiday or PTO reported for this daily stand-up"
UNASSIGNED = "unassigned"


def aggregated(notes: Sequence[Row], at: datetime) -> dict[str, Any]:
    """One report of several notes: a day's tasks together for each employee.

    >>> note = {"project_id": "P", "sprint_id": "S", "summary": None, "summary_metrics": None,
    ...         "reports": {"2026-03-02": [{"assigned_to": "E1", "tasks": [{"id": "1"}]},
    ...                                    {"assigned_to": "E1", "tasks": [{"id": "2"}]}]}}
    >>> aggregated([note], datetime(2026, 3, 2))["reports"]
    {'2026-03-02': [{'employee_id': 'E1', 'tasks': [{'id': '1'}, {'id': '2'}]}]}
    """
    days: dict[str, dict[str, list[Any]]] = {}
    for note in notes:
        for day, entries in note["reports"].items():
            of_day = days.setdefault(day, {})
            for entry in entries:
                of_day.setdefault(entry.get("assigned_to") or UNASSIGNED, []).extend(entry["tasks"])
    return {
        "project_id": notes[0]["project_id"],
        "sprint_id": notes[0]["sprint_id"],
        "created_at": at,
        "note_ids": [str(note["id"]) for note in notes if "id" in note],
        "summary": notes[-1]["summary"] or NO_SUMMARY,
        "summary_metrics": notes[0]["summary_metrics"],
        "reports": {
            day: [{"employee_id": who, "tasks": tasks} for who, tasks in of_day.items()]
            for day, of_day in days.items()
        },
    }


def burndown(sprint_id: str, notes: Sequence[Row]) -> dict[str, Any]:
    """A sprint's days, oldest first: what was done, and what is left in whole tasks.

    `remaining` counts a task half done as half, where its progress is on record.
    """
    days = []
    for note in sorted(notes, key=lambda note: note["report_date"]):
        progress = (note["additional_data"] or {}).get("progress", {})
        metrics = note["summary_metrics"] or {}
        days.append(
            {
                "date": note["report_date"],
                "total_tasks": metrics.get("total_tasks"),
                "completed_tasks": metrics.get("completed_tasks"),
                "remaining": round(sum(100 - p for p in progress.values()) / 100, 2)
                if progress
                else metrics.get("pending_tasks"),
                "progress": progress,
            }
        )
    return {"sprint_id": sprint_id, "days": days}


def progress_of(reports: Mapping[str, Sequence[Row]]) -> dict[str, int]:
    """Each task's progress by a report, for the tasks that it contains.

    >>> progress_of({"2026-03-02": [{"tasks": [{"id": "1", "progress_percentage": 40}]}]})
    {'1': 40}
    """
    return {
        task["id"]: task["progress_percentage"]
        for entries in reports.values()
        for entry in entries
        for task in entry["tasks"]
        if task.get("progress_percentage") is not None
    }
