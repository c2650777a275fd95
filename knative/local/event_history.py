"""One event's whole way: what caused it, its deliveries, and all that it caused."""

from __future__ import annotations

from typing import Any

from knative.local.broker.broker import LocalBroker
from knative.local.broker.records import EventRecord, Wanted
from knative.local.event_json import event_json

MAX_EVENTS = 500  # of one history
SHORTEST_ID = 6


async def histories(broker: LocalBroker, name: str) -> list[dict[str, Any]]:
    """The history of each event with this id, or with this number in the Broker's store.

    An id may be cut short to its first six characters or more; LookupError where several begin so.
    """
    found = await broker.search(Wanted(id=name))
    number = name.removeprefix("#")
    if not found and number.isascii() and number.isdecimal() and len(number) < 16:
        found = await broker.search(Wanted(after=int(number) - 1, before=int(number) + 1))
    if not found and len(name) >= SHORTEST_ID:
        ids = await broker.ids(name)
        if len(ids) > 1:
            raise LookupError(f"{name!r} begins several ids: {', '.join(ids)}")
        found = await broker.search(Wanted(id=ids[0])) if ids else []
    return [await _history(broker, record) for record in sorted(found, key=lambda one: one.seq)]


async def _history(broker: LocalBroker, record: EventRecord) -> dict[str, Any]:
    caused_by = await broker.caused_by(record)
    return {
        **await _with_caused(broker, record, {record.seq}),
        "caused_by": caused_by and _summary(caused_by),
    }


async def _with_caused(broker: LocalBroker, record: EventRecord, seen: set[int]) -> dict[str, Any]:
    caused = []
    for one in await broker.caused(record):
        if one.seq not in seen and len(seen) < MAX_EVENTS:
            seen.add(one.seq)
            caused.append(await _with_caused(broker, one, seen))
    return {**event_json(record), "caused": caused}


def _summary(record: EventRecord) -> dict[str, Any]:
    names = ("id", "source", "type")
    return {"seq": record.seq, **{name: record.attributes[name] for name in names}}
