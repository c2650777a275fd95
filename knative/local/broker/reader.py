"""What the broker reads of its store: events with their deliveries, and what is left to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from knative.local.broker.event import Event
from knative.local.broker.records import AttemptRecord, DeliveryRecord, EventRecord, State, Wanted
from knative.local.broker.search import statement
from knative.local.broker.sink_away import AWAY
from knative.local.broker.store import connect

T = TypeVar("T")


@dataclass(frozen=True)
class OpenDelivery:
    """A delivery that was not finished when the runtime ended."""

    id: int
    event: int
    ttl: int
    trigger: str
    repeated: bool
    state: State
    attempts: int
    base: int
    due: float
    error: str | None


class Reader:
    """A connection that only reads, and its thread: `await reader(Reader.event, 5)`.

    There are two, as what goes on with deliveries must not wait for a long list.
    """

    def __init__(self, path: Path, name: str) -> None:
        self._reader = connect(path)
        self._reader.execute("pragma query_only=on")
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=name)

    async def __call__(self, query: Callable[..., T], *arguments: object) -> T:
        """What the method `query` finds."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, query, self, *arguments)

    def close(self) -> None:
        self._thread.shutdown()
        self._reader.close()

    def last_ids(self) -> tuple[int, int]:
        row = self._reader.execute(
            "select coalesce((select max(seq) from event), 0),"
            " coalesce((select max(id) from delivery), 0)"
        ).fetchone()
        return int(row[0]), int(row[1])

    def open_deliveries(self) -> list[OpenDelivery]:
        return self._deliveries("d.state in ('pending', 'dead-lettering')")

    def lost_deliveries(self, seq: int | None) -> list[OpenDelivery]:
        """Those that were dead-lettered or failed: of one event, or all."""
        where = "d.state in ('dead-lettered', 'failed') and coalesce(d.event = :seq, true)"
        return self._deliveries(where, {"seq": seq})

    def waiting_for_sink(self) -> list[OpenDelivery]:
        """Those that failed as their dead letter sink was away, oldest first."""
        where = "d.state = 'failed' and substr(d.reason, 1, length(:away)) = :away"
        return self._deliveries(where, {"away": AWAY})

    def _deliveries(self, where: str, values: Mapping[str, object] = {}) -> list[OpenDelivery]:
        rows = self._reader.execute(
            "select d.id, d.event, e.ttl, d.trigger, d.repeated, d.state, d.attempts, d.base,"
            " d.due, d.error from delivery d join event e on e.seq = d.event"
            f" where {where} order by d.id",
            values,
        )
        return [
            OpenDelivery(id_, event, ttl, trigger, bool(repeated), State(state), *rest)
            for id_, event, ttl, trigger, repeated, state, *rest in rows
        ]

    def event(self, seq: int) -> Event:
        attributes, headers, data = self._reader.execute(
            "select attributes, headers, data from event where seq = ?", (seq,)
        ).fetchone()
        carried = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in json.loads(headers)]
        return Event(json.loads(attributes), data, carried)

    def search(self, wanted: Wanted) -> list[EventRecord]:
        """Newest first; oldest first where `after` is given."""
        return self._records(self._reader.execute(*statement(wanted, self._names)).fetchall())

    def _names(self, table: str, column: str, part: str) -> list[str]:
        """The values of a column that contain `part`, by one step in its index for each."""
        rows = self._reader.execute(
            f"with recursive one(name) as (select min({column}) from {table} union all"
            f" select (select min({column}) from {table} where {column} > name) from one"
            f" where name is not null) select name from one where instr(name, ?)",
            (part,),
        )
        return [name for (name,) in rows]

    def ids(self, beginning: str) -> list[str]:
        """Up to five ids that begin so."""
        rows = self._reader.execute(
            "select distinct json_extract(attributes, '$.id') from event"
            " where substr(json_extract(attributes, '$.id'), 1, length(:part)) = :part limit 5",
            {"part": beginning},
        )
        return [id for (id,) in rows]

    def caused_by(self, record: EventRecord) -> EventRecord | None:
        """The event that `record` answers, or names as its `causationid`."""
        if record.cause is not None:
            where = "seq = (select event from delivery where id = :cause)"
        else:
            where = "seq < :seq and json_extract(attributes, '$.id') = :id"
        rows = self._reader.execute(
            f"select * from event where {where} order by seq desc limit 1",
            {"cause": record.cause, "seq": record.seq, "id": record.attributes.get("causationid")},
        ).fetchall()
        return self._records(rows)[0] if rows else None

    def caused(self, record: EventRecord) -> list[EventRecord]:
        """The answers to `record`, and what names it as its `causationid`; oldest first."""
        rows = self._reader.execute(
            "select * from event where seq > :seq and (json_extract(attributes, '$.causationid')"
            " = :id or cause in (select id from delivery where event = :seq)) order by seq",
            {"seq": record.seq, "id": record.attributes["id"]},
        ).fetchall()
        return self._records(rows)

    def lost(self, limit: int) -> list[EventRecord]:
        """The latest events of which a delivery was dead-lettered or failed, oldest first."""
        rows = self._reader.execute(
            "select * from event where seq in (select event from delivery where state in"
            " ('dead-lettered', 'failed') order by id desc limit ?) order by seq",
            (limit,),
        ).fetchall()
        return self._records(rows)

    def values(self) -> dict[str, list[str]]:
        """What there is to search for, by the name of the filter."""
        found = {"trigger": self._names("delivery", "trigger", "")}
        found["type"] = self._names("event", "type", "")
        source = "select distinct json_extract(attributes, '$.source') from event order by 1"
        found["source"] = [name for (name,) in self._reader.execute(source)]
        return found | {"state": [state.value for state in State]}

    def counts(self) -> dict[str, int]:
        rows = self._reader.execute("select state, count(*) from delivery group by state")
        found = {state.value: 0 for state in State} | dict(rows.fetchall())
        (found["events"],) = self._reader.execute("select count(*) from event").fetchone()
        return found

    def _records(self, rows: Sequence[tuple[Any, ...]]) -> list[EventRecord]:
        deliveries: dict[int, list[DeliveryRecord]] = {row[0]: [] for row in rows}
        attempts: dict[int, list[AttemptRecord]] = {}
        events = json.dumps(list(deliveries))
        for (
            delivery,
            number,
            url,
            at,
            took_s,
            status,
            why,
            answer,
            fault,
            sink,
        ) in self._reader.execute(
            "select a.* from attempt a join delivery d on d.id = a.delivery"
            " where d.event in (select value from json_each(?)) order by a.delivery, a.number",
            (events,),
        ):
            one = AttemptRecord(number, url, at, took_s, status, why, answer, fault, bool(sink))
            attempts.setdefault(delivery, []).append(one)
        for id_, event, trigger, repeated, state, _, _, due, reason, _ in self._reader.execute(
            "select * from delivery where event in (select value from json_each(?)) order by id",
            (events,),
        ):
            made = tuple(attempts.get(id_, ()))
            deliveries[event].append(
                DeliveryRecord(id_, trigger, bool(repeated), State(state), due, reason, made)
            )
        return [
            EventRecord(
                seq, namespace, broker, arrived, ttl, cause, json.loads(attributes), data,
                tuple(deliveries[seq]),
            )
            for seq, namespace, broker, _, arrived, ttl, cause, attributes, _, data in rows
        ]  # fmt: skip
