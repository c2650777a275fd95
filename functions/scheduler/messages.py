"""The event of a nominal time that is to run: its id is the schedule and that time, for ever."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from uuid import uuid4

from functions.events.schedule import ScheduleDue, ScheduleRecovered, TickDue
from functions.kit import cloudevents
from functions.scheduler.decide.nominal import Version, cron_of
from functions.scheduler.decide.tick import Origin, Tick
from functions.scheduler.sources import Source

SOURCE = "/functions/scheduler"
ARRIVES = timedelta(hours=1)


def event_id(schedule: str, tick: Tick) -> str:
    return f"{schedule}@{tick.name}"


def due(
    schedule: str,
    tick: Tick,
    *,
    data: str,
    extensions: Mapping[str, str],
    now: datetime,
    due_by: datetime | None = None,
    requested_by: str = "",
    cause: Mapping[str, str] = MappingProxyType({}),
) -> cloudevents.Message:
    """What the scheduler sends for a tick, with what its PingSource gives to each event.

    `cause`: the correlation of the request for it; a time of the clock begins a chain itself.
    """
    given = {
        **extensions,
        **cause,
        "schedule": schedule,
        "nominaltime": tick.name,
        "partitionkey": schedule,
    }
    if due_by is not None:
        given["dueby"] = cloudevents.format_time(due_by)
    if requested_by:
        given["requestedby"] = requested_by
    return cloudevents.Message(
        id=event_id(schedule, tick),
        source=SOURCE,
        type=TickDue.type,
        data=data.encode(),
        subject=_subject(data),
        time=cloudevents.format_time(now),
        datacontenttype="application/json",
        extensions=given,
    )


def tick_of(
    source: Source, namespace: str, requested_by: str, now: datetime, cause: Mapping[str, str]
) -> cloudevents.Message:
    """What a PingSource sends, with who requested it."""
    return cloudevents.Message(
        id=str(uuid4()),
        source=f"/apis/v1/namespaces/{namespace}/pingsources/{source.source}",
        type=ScheduleDue.type,
        data=source.data.encode(),
        time=cloudevents.format_time(now),
        datacontenttype="application/json",
        extensions={**source.extensions, **cause, "requestedby": requested_by},
    )


def recovered(
    schedule: str, tick: Tick, failing_since: datetime, now: datetime
) -> cloudevents.Message:
    """The event of a schedule that works again, since the run of this tick."""
    since = cloudevents.format_time(failing_since)
    return cloudevents.Message(
        id=f"{event_id(schedule, tick)}/recovered",
        source=SOURCE,
        type=ScheduleRecovered.type,
        data=json.dumps({"failing_since": since}).encode(),
        subject=schedule,
        time=cloudevents.format_time(now),
        datacontenttype="application/json",
        extensions={
            "schedule": schedule,
            "nominaltime": tick.name,
            "partitionkey": schedule,
            "correlationid": event_id(schedule, tick),
        },
    )


def due_by(version: Version, tick: Tick, now: datetime) -> datetime:
    """Until when a tick may run: the end of its window, or of its day in the schedule's zone.

    What a user wants has its window from `now` on. Whatever is sent has an hour to arrive, so a
    function may take it so long after its window.
    """
    start = now if tick.origin in (Origin.USER, Origin.BACKFILL) else tick.due
    window = version.policy.missed_window
    if window is not None:
        end = start + window
    else:
        wall = start.astimezone(cron_of(version).zone)
        midnight = wall.replace(hour=0, minute=0, second=0, microsecond=0)
        end = (midnight + timedelta(days=1)).astimezone(UTC)
    return max(end, now + ARRIVES)


def _subject(data: str) -> str | None:
    """What the run is about, as a tick's data names it."""
    found = json.loads(data)
    if not isinstance(found, dict):
        return None
    named = found.get("sprint_id") or found.get("project_id")
    return str(named) if named else None
