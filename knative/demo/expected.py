"""What must come of each stage: pure. Each function says what is wrong, or None."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Data = Mapping[str, Any]


def report(reports: Sequence[Data], finished: str | None) -> str | None:
    """One report at least, which could read every project; `finished` is a sprint to be complete.

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
        return f"{finished} has every task done, and the report does not say that it is complete"
    return None


def cycles(reports: Sequence[Data], completed: Iterable[Data]) -> str | None:
    """A cycle for each sprint that was reported as complete."""
    closed = {data["closed_sprint_id"] for data in completed}
    due = {sprint for data in reports for sprint in _complete(data["sprints"])}
    return _missing("no cycle was completed for", due - closed)


def scrums(in_progress: Iterable[str], filed: Iterable[Data]) -> str | None:
    """A daily report for each sprint in progress."""
    told = {data["sprint_id"] for data in filed}
    return _missing("no daily report was filed for", set(in_progress) - told)


def _complete(rows: Iterable[Data]) -> set[str]:
    return {row["sprint_id"] for row in rows if row["state"] == "complete"}


def _missing(words: str, names: set[str]) -> str | None:
    return f"{words} {', '.join(sorted(names))}" if names else None
