"""The identity, arrival and JSON of a recorded event. Pure."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from functions.events.schedule import ScheduleDue

SCHEDULE = "event-recorder"

EventRow = Mapping[str, Any]
RunRow = Mapping[str, Any]
JsonObject = dict[str, Any]


def digest(source: str, id: str) -> bytes:
    """Return the key of an event, derived from its source and id."""
    return sha256(json.dumps([source, id]).encode()).digest()


def retention_tick(attributes: Mapping[str, str]) -> ScheduleDue | None:
    """Return the event as the tick of this function's own schedule, if it is that.

    >>> ping = {"type": "dev.knative.sources.ping", "time": "2026-03-02T12:17:00.3Z"}
    >>> retention_tick({**ping, "schedule": "event-recorder"}).identity()
    'event-recorder@2026-03-02T12:17:00+00:00'
    >>> retention_tick({**ping, "schedule": "sprint-report"}), retention_tick({"type": "x"})
    (None, None)
    """
    if attributes["type"] != ScheduleDue.type or attributes.get("schedule") != SCHEDULE:
        return None
    try:
        return ScheduleDue.model_validate({"schedule": SCHEDULE, "time": attributes.get("time")})
    except ValueError:
        return None  # recorded like any other event


def arrival(attributes: Mapping[str, str], now: datetime) -> datetime:
    """Return the broker's `knativearrivaltime`, or now without a valid one.

    >>> noon = datetime(2026, 3, 2, 12, tzinfo=UTC)
    >>> arrival({"knativearrivaltime": "2026-03-02T11:59:58.123456789Z"}, noon).isoformat()
    '2026-03-02T11:59:58.123456+00:00'
    >>> arrival({"knativearrivaltime": "a while ago"}, noon) == noon
    True
    """
    try:
        time = datetime.fromisoformat(attributes.get("knativearrivaltime", ""))
        return time.astimezone(UTC) if time.tzinfo else now
    except (ValueError, OverflowError):
        return now


def event_json(row: EventRow, runs: Iterable[RunRow], data: JsonObject) -> JsonObject:
    """Return an event in the format of the local broker; `data` holds its data's JSON member."""
    return {
        "seq": row["seq"],
        "arrived": row["arrived"].timestamp(),
        "attributes": {"specversion": "1.0", **row["attributes"]},
        "size": row["size"],
        "cut": len(row["data"]) < row["size"],
        **data,
        "deliveries": deliveries(runs),
    }


def deliveries(runs: Iterable[RunRow]) -> list[JsonObject]:
    """Return one delivery for each function, whose attempts are the function's runs.

    >>> run = {"function": "scrum_report", "ended_at": datetime(2026, 3, 2, tzinfo=UTC)}
    >>> bad = {**run, "number": 1, "outcome": "failed", "took_ms": 10.0, "detail": "away"}
    >>> good = {**run, "number": 2, "outcome": "ok", "took_ms": 20.0, "detail": None}
    >>> [(d["trigger"], d["state"], len(d["attempts"])) for d in deliveries([bad, good])]
    [('scrum-report', 'handled', 2)]
    """
    by_function: dict[str, list[RunRow]] = defaultdict(list)
    for run in runs:
        by_function[run["function"].replace("_", "-")].append(run)
    return [
        {
            "id": attempts[0]["number"],
            "trigger": function,
            "state": "handled" if any(run["outcome"] == "ok" for run in attempts) else "failed",
            "attempts": [
                {
                    "number": number,
                    "ended_at": run["ended_at"].isoformat(),
                    "took_ms": run["took_ms"],
                    "outcome": run["outcome"],
                    "detail": run["detail"],
                }
                for number, run in enumerate(attempts, start=1)
            ],
        }
        for function, attempts in by_function.items()
    ]
