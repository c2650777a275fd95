"""The broker's whole SQL: events, their deliveries, and every attempt, in one SQLite file.

Two connections: `commit` runs in the journal's thread, everything that reads in the reader's.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from knative.local.broker.event import Event
from knative.local.broker.records import AttemptRecord, DeliveryRecord, EventRecord, State, Wanted

VERSION = 1

SCHEMA = """
create table event (
    seq integer primary key, namespace text not null, broker text not null,
    type text not null, arrived real not null, ttl integer not null,
    cause integer,                       -- the delivery whose answer this event is
    attributes text not null, headers text not null, data blob not null);
create index event_type on event (type, seq);
create table delivery (
    id integer primary key, event integer not null, trigger text not null,
    repeated integer not null,           -- 1: a duplicate made on demand
    state text not null, attempts integer not null,
    base integer not null,               -- attempts made before dead-lettering began
    due real not null, reason text, error text);
create index delivery_event on delivery (event);
create index delivery_open on delivery (id) where state in ('pending', 'dead-lettering');
create index delivery_lost on delivery (id) where state in ('dead-lettered', 'failed');
create table attempt (
    delivery integer not null, number integer not null, url text not null, at real not null,
    took_s real not null, status integer, reason text, answer blob not null,
    primary key (delivery, number)) without rowid;
"""

INSERT_EVENT = "insert into event values (?,?,?,?,?,?,?,?,?,?)"
INSERT_DELIVERY = "insert into delivery values (?,?,?,?,'pending',0,0,?,null,null)"
INSERT_ATTEMPT = "insert into attempt values (?,?,?,?,?,?,?,?)"
UPDATE_DELIVERY = (
    "update delivery set state=?, attempts=?, base=?, due=?, reason=?, error=? where id=?"
)


@dataclass(slots=True)
class Batch:
    """Rows that are committed together, in the order of the tables."""

    events: list[tuple[Any, ...]] = field(default_factory=list)
    deliveries: list[tuple[Any, ...]] = field(default_factory=list)
    attempts: list[tuple[Any, ...]] = field(default_factory=list)
    updates: list[tuple[Any, ...]] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.events or self.deliveries or self.attempts or self.updates)


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


def event_row(
    seq: int, namespace: str, broker: str, arrived: float, ttl: int, cause: int | None, event: Event
) -> tuple[Any, ...]:
    headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in event.headers]
    return (
        seq,
        namespace,
        broker,
        event.attributes["type"],
        arrived,
        ttl,
        cause,
        json.dumps(event.attributes),
        json.dumps(headers) if headers else "[]",
        event.data,
    )


class Store:
    """Opens or creates the file; raises ValueError when another version wrote it."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._writer = _connect(path)
        (version,) = self._writer.execute("pragma user_version").fetchone()
        if version == 0:
            self._writer.executescript(f"begin;{SCHEMA}pragma user_version={VERSION};commit;")
        elif version != VERSION:
            raise ValueError(f"{path} has schema {version}, expected {VERSION}")
        self._reader = _connect(path)
        self._reader.execute("pragma query_only=on")

    def close(self) -> None:
        self._reader.close()
        self._writer.close()

    # -- writing: in the journal's thread

    def commit(self, batch: Batch) -> None:
        db = self._writer
        db.execute("begin immediate")
        try:
            if batch.events:
                db.executemany(INSERT_EVENT, batch.events)
            if batch.deliveries:
                db.executemany(INSERT_DELIVERY, batch.deliveries)
            if batch.attempts:
                db.executemany(INSERT_ATTEMPT, batch.attempts)
            if batch.updates:
                db.executemany(UPDATE_DELIVERY, batch.updates)
            db.execute("commit")
        except BaseException:
            if db.in_transaction:
                db.execute("rollback")
            raise

    # -- reading: in the reader's thread

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
        """Newest first."""
        rows = self._reader.execute(
            "select * from event where (:before is null or seq < :before)"
            " and (:type is null or instr(type, :type))"
            " and (:subject is null or json_extract(attributes, '$.subject') = :subject)"
            " and (:correlation is null or json_extract(attributes, '$.id') = :correlation"
            "  or json_extract(attributes, '$.correlationid') = :correlation)"
            " and (:trigger is null or exists (select 1 from delivery"
            "  where delivery.event = event.seq and instr(delivery.trigger, :trigger)))"
            " order by seq desc limit :limit",
            asdict(wanted),
        ).fetchall()
        return self._records(rows)

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


def _connect(path: Path) -> sqlite3.Connection:
    # One thread at a time uses a connection, but not the one that opened it.
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute("pragma journal_mode=wal")
    db.execute("pragma synchronous=full")
    # A long log costs less than many checkpoints; the growing ends of all trees fit into 16 MiB.
    db.execute("pragma wal_autocheckpoint=4000")
    db.execute("pragma cache_size=-16384")
    return db
