"""What is kept of an event, and how it is told: pure."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from functions.events.schedule import ScheduleDue

SCHEDULE = "event-recorder"

Row = Mapping[str, Any]
Told = dict[str, Any]


def digest(source: str, id: str) -> bytes:
    """What makes two deliveries the same event: its source and id, of whatever length."""
    return sha256(json.dumps([source, id]).encode()).digest()


def tick_in(said: Mapping[str, str]) -> ScheduleDue | None:
    """The tick upon which old events are forgotten, if the event is that.

    >>> ping = {"type": "dev.knative.sources.ping", "time": "2026-03-02T12:17:00.3Z"}
    >>> tick_in({**ping, "schedule": "event-recorder"}).identity()
    'event-recorder@2026-03-02T12:17:00+00:00'
    >>> tick_in({**ping, "schedule": "sprint-report"}), tick_in({"type": "x"})
    (None, None)
    """
    if said["type"] != ScheduleDue.type or said.get("schedule") != SCHEDULE:
        return None
    try:
        return ScheduleDue.model_validate({"schedule": SCHEDULE, "time": said.get("time")})
    except ValueError:
        return None  # kept like any other event


def arrival(said: Mapping[str, str], now: datetime) -> datetime:
    """When the broker took the event, where it says so; else now.

    >>> noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    >>> arrival({"knativearrivaltime": "2026-03-02T11:59:58.123456789Z"}, noon).isoformat()
    '2026-03-02T11:59:58.123456+00:00'
    >>> arrival({"knativearrivaltime": "a while ago"}, noon) == noon
    True
    """
    try:
        stamp = datetime.fromisoformat(said.get("knativearrivaltime", ""))
        return stamp.astimezone(UTC) if stamp.tzinfo else now
    except (ValueError, OverflowError):
        return now


def told(row: Row, runs: Iterable[Row], data: Told) -> Told:
    """An event in the shape of the local broker's, without what only a broker knows.

    `data` is its data as JSON can hold it.
    """
    return {
        "seq": row["seq"],
        "arrived": row["arrived"].timestamp(),
        "attributes": {"specversion": "1.0", **row["attributes"]},
        "size": row["size"],
        "cut": len(row["data"]) < row["size"],
        **data,
        "deliveries": deliveries(runs),
    }


def deliveries(runs: Iterable[Row]) -> list[Told]:
    """The runs of each function as one delivery, whose attempts they are.

    >>> run = {"function": "scrum_report", "ended_at": datetime(2026, 3, 2, tzinfo=UTC)}
    >>> bad = {**run, "number": 1, "outcome": "failed", "took_ms": 10.0, "detail": "away"}
    >>> good = {**run, "number": 2, "outcome": "ok", "took_ms": 20.0, "detail": None}
    >>> [(d["trigger"], d["state"], len(d["attempts"])) for d in deliveries([bad, good])]
    [('scrum-report', 'handled', 2)]
    """
    by_function: dict[str, list[Row]] = defaultdict(list)
    for run in runs:
        by_function[run["function"].replace("_", "-")].append(run)
    return [
        {
            "id": made[0]["number"],
            "trigger": function,
            "state": "handled" if any(run["outcome"] == "ok" for run in made) else "failed",
            "attempts": [
                {
                    "number": number,
                    "ended_at": run["ended_at"].isoformat(),
                    "took_ms": run["took_ms"],
                    "outcome": run["outcome"],
                    "detail": run["detail"],
                }
                for number, run in enumerate(made, start=1)
            ],
        }
        for function, made in by_function.items()
    ]
