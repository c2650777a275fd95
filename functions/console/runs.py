"""Runs of functions, as they have them on record."""

from __future__ import annotations

from functions.console.ask import Row


def emitted(runs: list[Row], type_: str) -> list[Row]:
    """The data of each event of a type that the runs emitted, newest run first, each id once."""
    by_id: dict[str, Row] = {}
    for run in runs:
        for event in run.get("answer") or []:
            if event["type"] == type_:
                by_id.setdefault(event["id"], {**event["data"], "ended_at": run["ended_at"]})
    return list(by_id.values())
