"""The expected results of each stage. Each function returns what is missing, or None. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Data = Mapping[str, Any]


def report(reports: Sequence[Data], finished: str | None) -> str | None:
    """Expect a report without errors, in which the sprint `finished` is complete.

    >>> report([], None)
    'no sprint report came'
    """
    if not reports:
        return "no sprint report came"
    rows = reports[-1]["sprints"]
    unread = [
        f"{row['project_id']}: {row.get('detail') or 'error'}"
        for row in rows
        if row["state"] == "error"
    ]
    if unread:
        return f"sprint-report could not read {'; '.join(unread)}"
    if finished is not None and finished not in _complete(rows):
        return f"{finished} has every task done, but is not complete in the report"
    return None


def cycles(reports: Sequence[Data], completed: Iterable[Data]) -> str | None:
    """Expect a cycle for each sprint that was reported as complete."""
    closed = {data["closed_sprint_id"] for data in completed}
    due = {sprint for data in reports for sprint in _complete(data["sprints"])}
    return _missing("no cycle was completed for", due - closed)


def scrums(in_progress: Iterable[str], filed: Iterable[Data]) -> str | None:
    """Expect a daily report for each sprint in progress."""
    reported = {data["sprint_id"] for data in filed}
    return _missing("no daily report was filed for", set(in_progress) - reported)


def _complete(rows: Iterable[Data]) -> set[str]:
    return {row["sprint_id"] for row in rows if row["state"] == "complete"}


def _missing(message: str, names: set[str]) -> str | None:
    return f"{message} {', '.join(sorted(names))}" if names else None
