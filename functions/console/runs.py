"""Runs of functions, as they have them on record."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

from functions.console.ask import Ask, Row
from functions.events.schedule import ScheduleDue
from functions.events.scrum import SprintSimulated

# The functions that keep a record of runs, and those that do where they are deployed at all.
RECORDED = (
    "agent-outputs",
    "agent-status",
    "client-service",
    "cycle-trigger",
    "job-launcher",
    "orchestrator",
    "realm-service",
    "scheduler",
    "scrum-report",
    "scrum-simulate",
    "sprint-report",
    "webhook-receiver",
)
OPTIONAL = ("backlog-setup", "event-recorder", "project-orchestrator", "sprint-service")

# What a morning is read by, so that all parts of Today share one read of each function.
OF_MORNING = {
    "sprint-report": ScheduleDue.type,
    "cycle-trigger": None,
    "scrum-simulate": ScheduleDue.type,
    "scrum-report": SprintSimulated.type,
}


async def good_runs(ask: Ask, function: str, day: date) -> list[Row]:
    """A function's good runs of a day, newest first, each with what it emitted."""
    return await ask.all_runs(function, **_query(function, day))


async def tally(ask: Ask, function: str, day: date) -> list[Row]:
    """Of each type of event: how many runs of a day, how long, and what failed."""
    # The first page of the good runs counts all runs, so where both are needed it is read once.
    answer = await ask.function(function).read("/runs", **_query(function, day), limit=200)
    found: list[Row] = answer["tally"]
    return found


def _query(function: str, day: date) -> dict[str, str | None]:
    kind = {"type": OF_MORNING[function], "outcome": "ok", "answers": "true", "tally": "true"}
    return kind | hours(day)


def hours(day: date) -> dict[str, str]:
    """A day as the record of runs is asked for it."""
    since = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return {"since": since.isoformat(), "before": (since + timedelta(days=1)).isoformat()}


def emitted(runs: list[Row], type_: str) -> list[Row]:
    """The data of each event of a type that the runs emitted, newest run first, each id once."""
    by_id: dict[str, Row] = {}
    for run in runs:
        for event in run.get("answer") or []:
            if event["type"] == type_:
                by_id.setdefault(event["id"], {**event["data"], "ended_at": run["ended_at"]})
    return list(by_id.values())
