"""PingSources, and what the functions' records of runs tell of their ticks.

A schedule without policies has no ledger: nothing more is known of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from functions.console.ask import Ask, Row
from functions.console.events import RECORDS
from functions.console.formatting import instant
from functions.cron import Cron, CronError
from functions.events.schedule import ScheduleDue
from functions.kit.errors import NotFound
from functions.schedule_policy import PolicyError, parse

API, PLURAL = "sources.knative.dev/v1", "pingsources"
TICK = ScheduleDue.type
# Services that keep their ticks in a database of their own, by their schedules.
OWN_RECORD = {"sprint-outbox": "sprint-service", "decision-outbox": "project-orchestrator"}
# A tick is sent, handled and recorded a while after it was due.
GRACE = timedelta(minutes=10)


async def source_of(ask: Ask, name: str) -> Row:
    """The PingSource of a schedule; `NotFound` where there is none."""
    for source in await sources_of(ask):
        if name_of(source) == name:
            return source
    raise NotFound(f"There is no schedule {name}.")


async def sources_of(ask: Ask) -> list[Row]:
    return await ask.objects(API, PLURAL)


def name_of(source: Row) -> str:
    """What its ticks say; one that the orchestrator made ticks under its own name."""
    extensions = (source["spec"].get("ceOverrides") or {}).get("extensions") or {}
    return str(extensions.get("schedule", source["metadata"]["name"]))


def due_between(source: Row, since: datetime, before: datetime) -> datetime | None:
    """When a schedule was first due in a time, in UTC; None where it was not, or was not there.

    >>> source = {"metadata": {"name": "s"}, "spec": {"schedule": "0 14 * * 1-5"}}
    >>> at = datetime.fromisoformat("2026-03-06T00:00Z")
    >>> print(due_between(source, at, at + timedelta(days=1)))
    2026-03-06 14:00:00+00:00
    >>> due_between(source, at + timedelta(days=1), at + timedelta(days=3))
    """
    spec = source["spec"]
    made = instant(source["metadata"].get("creationTimestamp"))
    since = since if made is None else max(since, made)
    try:
        # `after` names the times after an instant, and this one counts.
        due = cron_of(spec).after(since - timedelta(seconds=1))
    except CronError:
        return None
    return due if due and due < before else None


def cron_of(spec: Mapping[str, Any]) -> Cron:
    """When a PingSource is due; CronError when its spec says nothing that can be read."""
    return Cron(spec.get("schedule") or "* * * * *", spec.get("timezone") or "")


def overdue(source: Row, last: Row | None, now: datetime) -> datetime | None:
    """When it was due and no tick is on record since; None where all is well.

    A schedule that never ran counts only where a function of that name keeps a record.
    """
    name = name_of(source)
    if last is None and name not in RECORDS and not name.startswith("run-dailyscrum-"):
        return None
    reported = instant(last["ended_at"] if last else source["metadata"].get("creationTimestamp"))
    if reported is None:
        return None
    return due_between(source, reported + timedelta(minutes=1), now - GRACE)


def described(source: Row, now: datetime) -> Row:
    """A PingSource in a row, with its next time; None where it has none."""
    spec = source["spec"]
    zone = spec.get("timezone") or "UTC"
    row: Row = {"name": name_of(source), "cron": spec["schedule"], "zone": zone, "problem": ""}
    row |= {"data": spec.get("data") or "", "not_followed": ""}
    try:
        parse(source["metadata"].get("annotations") or {})
    except PolicyError as error:
        row["not_followed"] = str(error)
    try:
        cron = cron_of(spec)
    except CronError as error:
        return row | {"next": None, "problem": str(error)}
    row["zone"], due = str(cron.zone), cron.after(now)
    return row | {"next": due, "problem": "" if due else "it is never due"}


def coming(source: Row, now: datetime, count: int) -> list[Row]:
    """The next times of a PingSource as a ledger would list them; none where it has none."""
    found: list[Row] = []
    at: datetime | None = now
    while at is not None and len(found) < count:
        try:
            at = cron_of(source["spec"]).after(at)
        except CronError:
            return []
        if at is not None:
            found.append({"nominal": at, "due_at": at, "state": "due", "reason": ""})
    return found


def valid_attribute(who: str) -> str:
    """A name as an attribute of an event may hold it."""
    return "".join(c for c in who if c.isprintable())[:100] or "unknown"
