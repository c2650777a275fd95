"""The results of the demo as tables."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from knative.demo.console import Console

console = Console()


def show(result: Table) -> None:
    """Print a table after an empty line."""
    console.print()
    console.print(result)


def table(title: str, *columns: str, right: Iterable[str] = ()) -> Table:
    result = Table(
        title=escape(title), title_justify="left", box=None, pad_edge=False, header_style="bold"
    )
    for column in columns:
        result.add_column(column, justify="right" if column in right else "left")
    return result


def report(data: Mapping[str, Any]) -> Table:
    """Return the sprint report, sorted by completion; projects without a sprint come last."""
    result = table(
        "Sprint report", "project", "sprint", "tasks", "done", "complete", "", right=_NUMBERS
    )
    for row in sorted(
        data["sprints"],
        key=lambda r: (
            r["state"] == "no-sprint",
            -(r["completion_percentage"] or 0),
            r["project_id"],
        ),
    ):
        numbers, share = ["-", "-"], "-"
        if row["state"] in ("active", "complete"):
            numbers = [str(row["total_tasks"]), str(row["completed_tasks"])]
            share = f"{row['completion_percentage']:.2f} %"
        note = {"complete": "next cycle is due", "error": row.get("detail") or "error"}
        names = [row["project_id"], row["sprint_id"] or "-"]
        cells = [*names, *numbers, share, note.get(row["state"], "")]
        result.add_row(*map(escape, cells))
    return result


_NUMBERS = ("tasks", "done", "complete", "took")


def cycle(data: Mapping[str, Any]) -> Table:
    """Return the steps of one project's cycle."""
    result = table(f"Cycle of {data['project_id']}", "step", "what it did", "took", right=_NUMBERS)
    for step in data["steps"]:
        result.add_row(
            escape(step["name"]), escape("; ".join(step["did"])), f"{step['took_ms']:.0f} ms"
        )
    return result


def filed(note: Mapping[str, Any], ids: Mapping[str, Any]) -> Table:
    """Return a day's report, as the chronicle has it."""
    title = f"Daily scrum of {ids['sprint_id']}, {ids['scrum_date']} (note {ids['note_id']})"
    result = table(title, "who", "task", "what happened")
    for entries in note["reports"].values():
        for entry in entries:
            for number, task in enumerate(entry["tasks"]):
                who = entry.get("employee_id") or entry.get("assigned_to") or "?"
                work = task.get("yesterday_work") or ""
                result.add_row(*map(escape, ("" if number else who, str(task["id"]), work)))
    return result


def commands(url_of: Mapping[str, str], data: str = ".data") -> str:
    """Return the commands to try next."""
    cycle = """-H 'Content-Type: application/json' -d '{"project_id": "TEST-001"}'"""
    where = "" if data == ".data" else f" --data {shlex.quote(data)}"
    examples = {
        "see all of it": f"open {url_of['console']} in a browser",
        "the report as CSV": f"curl -H 'Accept: text/csv' {url_of['sprint-report']}/",
        "one project's next cycle": f"curl {cycle} {url_of['cycle-trigger']}/",
        "what ran and when": f"curl {url_of['sprint-report']}/runs",
        "what was given up": f"curl {url_of['dead-letter']}/",
        "every event": f".venv/bin/python -m knative.local events{where}",
        "the processes": f".venv/bin/python -m knative.local services{where}",
    }
    return "\n".join(f"  {what}\n    {command}" for what, command in examples.items())
