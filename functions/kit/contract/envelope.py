"""Typed event <-> message: which class a message is, and what an emitted event carries."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from fnmatch import fnmatchcase
from uuid import NAMESPACE_URL, uuid5

from pydantic import ValidationError

from functions.events.base import AnyEvent, Event, joined
from functions.events.schedule import ScheduleDue
from functions.kit import cloudevents
from functions.kit.durable.inbox import Key
from functions.kit.errors import PermanentError
from functions.kit.telemetry.correlation import of_event

# Clocks differ, but not so much.
MAX_AHEAD = timedelta(days=1)
# So far back a backfill may begin.
MAX_BEHIND = timedelta(days=5 * 366)


class UnknownType(cloudevents.NotAnEvent):
    """The event is valid, but not one that this function handles."""


def open_(
    message: cloudevents.Message, kinds: Sequence[type[Event]], schedules: Sequence[str] = ("*",)
) -> Event:
    """The typed event in a message; pydantic's `ValidationError` where the data does not fit.

    A tick of none of `schedules`, which may end in `*`, is no ScheduleDue to this reader: not every
    broker filters as well as ours.
    """
    schedule = message.extensions.get("schedule", "")
    foreign = not any(fnmatchcase(schedule, pattern) for pattern in schedules)
    for kind in kinds:
        if kind.covers(message.type) and not (foreign and kind is ScheduleDue):
            break
    else:
        if message.type == ScheduleDue.type and ScheduleDue in kinds:
            expected = " or ".join(schedules)
            raise UnknownType([f"schedule {schedule!r} is not handled here: send {expected}"])
        expected = " or ".join(kind.type for kind in kinds)
        raise UnknownType([f"type {message.type!r} is not handled here: send {expected}"])
    if kind is AnyEvent:
        return AnyEvent(
            ce_attributes=cloudevents.attributes(message),
            verbatim=dict(message.verbatim or cloudevents.attributes(message)),
            data=message.data,
        )
    marked = kind.attributes()
    if not marked:
        try:
            return kind.model_validate_json(message.data or b"{}")
        except ValidationError as error:
            if error.errors()[0]["type"] == "json_invalid":
                raise cloudevents.NotAnEvent(
                    [f"data is not valid JSON: {error.errors()[0]['msg']}"]
                ) from None
            raise
    data = message.json()
    fields = {} if data is None else data
    if not isinstance(fields, dict):
        return kind.model_validate(fields)  # raises: it fits no model
    core = {name: getattr(message, name) for name in ("id", "source", "type", "subject", "time")}
    given = {**message.extensions, **core}
    carried = {field: given[name] for field, name in marked.items() if given.get(name)}
    return kind.model_validate({**fields, **carried})


def check_time(event: Event, now: datetime) -> None:
    """`PermanentError` for a tick whose time is far from now: no schedule sends that."""
    if not isinstance(event, ScheduleDue):
        return
    for name, at in (("time", event.time), ("nominaltime", event.nominal)):
        if at - now > MAX_AHEAD:
            raise PermanentError(f"{name}: {cloudevents.format_time(at)} has not come yet")
    if now - event.time > MAX_BEHIND:
        raise PermanentError(
            f"time: {cloudevents.format_time(event.time)} is more than five years ago"
        )


def seal(
    result: Event | Sequence[Event] | None,
    *,
    cause: cloudevents.Message,
    key: Key,
    source: str,
    emits: Sequence[type[Event]],
    overrides: Mapping[str, str],
    at: datetime,
) -> list[cloudevents.Message]:
    """The messages of the events that a function returned.

    Ids are derived from the request's key and the event's type and subject, so that a repeat, even
    one that finds the world in another order, emits the same facts under the same ids.
    """
    if result is None:
        return []
    events = [result] if isinstance(result, Event) else list(result)
    inherited = of_event(cause)
    seen: Counter[str] = Counter()
    messages = []
    for event in events:
        if type(event) not in emits:
            raise TypeError(f"{type(event).__name__} is not among what the function emits")
        subject = event.subject()
        about = joined("#", key.source, key.id, event.type, subject or "")
        number = seen[about]
        seen[about] += 1
        marked = type(event).attributes()
        document = event.model_dump(mode="json")
        own = {name: document.pop(field, "") for field, name in marked.items()}
        extensions = inherited | {name: str(value) for name, value in own.items() if value}
        if subject:
            extensions["partitionkey"] = subject
        extensions |= overrides
        messages.append(
            cloudevents.Message(
                id=str(uuid5(NAMESPACE_URL, f"{about}#{number}")),
                source=source,
                type=event.type,
                data=json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode(),
                subject=subject,
                time=cloudevents.format_time(at),
                datacontenttype="application/json",
                extensions=extensions,
            )
        )
    return messages
