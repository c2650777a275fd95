"""The morning's tables show foreign words as they are, and its lines are about the morning."""

from __future__ import annotations

import io

from knative.demo import messages, tables
from knative.demo.console import Console


def test_markup_in_a_name_is_shown_as_it_is() -> None:
    row = {"project_id": "[/P]", "sprint_id": "[red]S", "state": "error", "detail": "no [/b] :x:"}
    step = {"name": "[/s]", "did": ["[/d]"], "took_ms": 1.0}
    entry = {"employee_id": "[/e]", "tasks": [{"id": "[/t]", "yesterday_work": "[/w]"}]}
    out = io.StringIO()
    console = Console(file=out, width=100)
    console.print(tables.report({"sprints": [{**row, "completion_percentage": None}]}))
    console.print(tables.cycle({"project_id": "[/c]", "steps": [step]}))
    ids = {"sprint_id": "[/i]", "scrum_date": "2026-01-02", "note_id": "n"}
    console.print(tables.filed({"reports": {"team": [entry]}}, ids))
    message = ("[/P]", "[red]S", "no [/b] :x:", "[/c]", "[/s]", "[/d]", "[/i]", "[/e]", "[/t]")
    assert [word for word in (*message, "[/w]") if word not in out.getvalue()] == []


def test_a_sprint_that_has_just_begun_comes_before_projects_without_one() -> None:
    rows = [
        {"project_id": "A", "sprint_id": None, "state": "no-sprint", "completion_percentage": None},
        {"project_id": "B", "sprint_id": "B-S01", "state": "active", "completion_percentage": 0.0}
        | {"total_tasks": 10, "completed_tasks": 0},
    ]
    out = io.StringIO()
    Console(file=out, width=100).print(tables.report({"sprints": rows}))
    assert [line.split()[0] for line in out.getvalue().splitlines()[2:]] == ["B", "A"]


def test_a_sweep_that_is_due_meanwhile_is_no_line_of_the_morning() -> None:
    sweep = {"type": "dev.knative.sources.ping", "schedule": "saga-sweep", "subject": None}
    assert messages.line({"attributes": sweep, "data": {}}) is None
    other = {"type": "order.placed", "subject": "7"}
    assert messages.line({"attributes": other, "data": {}}) == "order.placed of 7"
