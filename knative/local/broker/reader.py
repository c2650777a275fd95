"""What the broker reads of its store: events with their deliveries, and what is left to do."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

from knative.local.broker.event import Event
from knative.local.broker.records import AttemptRecord, DeliveryRecord, EventRecord, State, Wanted
from knative.local.broker.store import connect

T = TypeVar("T")

_MAX = 2**63 - 1
_SAFE = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"%')
_ID, _SUBJECT, _CORRELATION = (
    f"json_extract(attributes, '$.{name}')" for name in ("id", "subject", "correlationid")
)


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
        rows = self._reader.execute(
            "select d.id, d.event, e.ttl, d.trigger, d.repeated, d.state, d.attempts, d.base,"
            " d.due, d.error from delivery d join event e on e.seq = d.event"
            " where d.state in ('pending', 'dead-lettering') order by d.id"
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

    def events(self, type_: str | None, since: int | None, limit: int) -> list[EventRecord]:
        """Oldest first: those after `since`, or the latest when it is None."""
        where, values = ["seq > ?"], [since or 0]
        if type_ is not None:
            where.append("type = ?")
        order = "asc" if since is not None else "desc"
        rows = self._reader.execute(
            f"select * from event where {' and '.join(where)} order by seq {order} limit ?",
            (*values, *([type_] if type_ is not None else []), limit),
        ).fetchall()
        return self._records(rows if since is not None else rows[::-1])

    def search(self, wanted: Wanted) -> list[EventRecord]:
        """Newest first. Of a text its percent-encoded form will do: senders differ in that."""
        values: dict[str, object] = {"before": _MAX if wanted.before is None else wanted.before}
        values["limit"] = wanted.limit
        where = ["seq < :before"]
        if wanted.subject is not None:
            values |= {"subject": wanted.subject, "subject_too": _encoded(wanted.subject)}
            where.append(f"{_SUBJECT} in (:subject, :subject_too)")
        if wanted.correlation is not None:
            values |= {"chain": wanted.correlation, "chain_too": _encoded(wanted.correlation)}
            where.append(
                f"seq in (select seq from event where {_ID} in (:chain, :chain_too)"
                f" union select seq from event where {_CORRELATION} in (:chain, :chain_too))"
            )
        names = [
            (table, column, self._names(table, column, part))
            for table, column, part in (
                ("event", "type", wanted.type),
                ("delivery", "trigger", wanted.trigger),
            )
            if part is not None
        ]
        alone = len(names) == 1 and len(where) == 1  # nothing else thins out what a name has
        for table, column, found in names:
            values |= {f"{column}{n}": name for n, name in enumerate(found)}
            given = [f":{column}{n}" for n in range(len(found))]
            seq = "seq" if table == "event" else "event"
            if alone:
                newest = [
                    f"select * from (select {seq} from {table} where {column} = {name}"
                    f" and {seq} < :before order by {seq} desc limit :limit)"
                    for name in given
                ]
                where.append(f"seq in ({' union '.join(newest) or 'select 0'})")
            elif table == "event":
                where.append(f"type in ({', '.join(given)})")
            else:
                where.append(
                    "exists (select 1 from delivery where delivery.event = event.seq"
                    f" and delivery.trigger in ({', '.join(given)}))"
                )
        rows = self._reader.execute(
            f"select * from event where {' and '.join(where)} order by seq desc limit :limit",
            values,
        ).fetchall()
        return self._records(rows)

    def _names(self, table: str, column: str, part: str) -> list[str]:
        """The values of a column that contain `part`, by one step in its index for each."""
        rows = self._reader.execute(
            f"with recursive one(name) as (select min({column}) from {table} union all"
            f" select (select min({column}) from {table} where {column} > name) from one"
            f" where name is not null) select name from one where instr(name, ?)",
            (part,),
        )
        return [name for (name,) in rows]

    def one(self, seq: int) -> EventRecord | None:
        rows = self._reader.execute("select * from event where seq = ?", (seq,)).fetchall()
        return self._records(rows)[0] if rows else None

    def lost(self, limit: int) -> list[EventRecord]:
        """The latest events of which a delivery was dead-lettered or failed, oldest first."""
        rows = self._reader.execute(
            "select * from event where seq in (select event from delivery where state in"
            " ('dead-lettered', 'failed') order by id desc limit ?) order by seq",
            (limit,),
        ).fetchall()
        return self._records(rows)

    def counts(self) -> dict[str, int]:
        rows = self._reader.execute("select state, count(*) from delivery group by state")
        found = {state.value: 0 for state in State} | dict(rows.fetchall())
        (found["events"],) = self._reader.execute("select count(*) from event").fetchone()
        return found

    def _records(self, rows: Sequence[tuple[Any, ...]]) -> list[EventRecord]:
        deliveries: dict[int, list[DeliveryRecord]] = {row[0]: [] for row in rows}
        attempts: dict[int, list[AttemptRecord]] = {}
        events = json.dumps(list(deliveries))
        for delivery, *rest in self._reader.execute(
            "select a.* from attempt a join delivery d on d.id = a.delivery"
            " where d.event in (select value from json_each(?)) order by a.delivery, a.number",
            (events,),
        ):
            attempts.setdefault(delivery, []).append(AttemptRecord(*rest))
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


def _encoded(text: str) -> str:
    """Text as it stands in a header of who keeps to CloudEvents' HTTP binding."""
    return quote(text, safe=_SAFE)
