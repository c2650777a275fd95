"""What the broker writes: events, their deliveries, and every attempt, in one SQLite file.

All of it runs in the journal's thread; what reads is in reader.py.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knative.local.broker.event import Event

VERSION = 3

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
    fault text,                          -- what was done to it on demand
    sink integer not null default 0,     -- 1: it went to the dead letter sink
    primary key (delivery, number)) without rowid;
"""

# What brings a store of the version before to each version.
UPGRADES = {
    2: "alter table attempt add column fault text;",
    3: """alter table attempt add column sink integer not null default 0;
          update attempt set sink = 1 where exists (
              select 1 from delivery where id = attempt.delivery and number > base
              and state in ('dead-lettering', 'dead-lettered'));""",
}

# Of any store, also one that an older version began.
INDEXES = """
create index if not exists event_id on event (json_extract(attributes, '$.id'), seq);
create index if not exists event_subject on event (json_extract(attributes, '$.subject'), seq)
    where json_extract(attributes, '$.subject') is not null;
create index if not exists event_correlation
    on event (json_extract(attributes, '$.correlationid'), seq)
    where json_extract(attributes, '$.correlationid') is not null;
create index if not exists event_arrived on event (arrived);
create index if not exists delivery_trigger on delivery (trigger, event);
"""

INSERT_EVENT = "insert into event values (?,?,?,?,?,?,?,?,?,?)"
INSERT_DELIVERY = "insert into delivery values (?,?,?,?,'pending',0,0,?,null,null)"
INSERT_ATTEMPT = "insert into attempt values (?,?,?,?,?,?,?,?,?,?)"
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
        self._writer = connect(path)
        (version,) = self._writer.execute("pragma user_version").fetchone()
        if version == 0:
            self._writer.executescript(f"begin;{SCHEMA}pragma user_version={VERSION};commit;")
        elif version < VERSION:
            steps = "".join(text for number, text in UPGRADES.items() if number > version)
            self._writer.executescript(f"begin;{steps}pragma user_version={VERSION};commit;")
        elif version != VERSION:
            raise ValueError(f"{path} has schema {version}, expected {VERSION}")
        self._writer.executescript(INDEXES)

    def close(self) -> None:
        self._writer.close()

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

    def forget(self, before: float, limit: int) -> int:
        """Delete at most `limit` events that arrived before then; returns how many.

        What is under way stays, and what failed for good, as it is nowhere else. So do the newest
        event and delivery, whose numbers must not be given again.
        """
        db = self._writer
        db.execute("begin immediate")
        try:
            found = db.execute(
                "select seq from event where arrived < ? and seq < (select max(seq) from event)"
                " and not exists (select 1 from delivery where delivery.event = event.seq and"
                "  (state in ('pending', 'dead-lettering', 'failed')"
                "   or id = (select max(id) from delivery)))"
                " order by arrived limit ?",
                (before, limit),
            ).fetchall()
            db.executemany(
                "delete from attempt where delivery in (select id from delivery where event = ?)",
                found,
            )
            db.executemany("delete from delivery where event = ?", found)
            db.executemany("delete from event where seq = ?", found)
            db.execute("commit")
        except BaseException:
            if db.in_transaction:
                db.execute("rollback")
            raise
        return len(found)


def connect(path: Path) -> sqlite3.Connection:
    # One thread at a time uses a connection, but not the one that opened it.
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute("pragma journal_mode=wal")
    db.execute("pragma synchronous=full")
    # A long log costs less than many checkpoints; the growing ends of all trees fit into 16 MiB.
    db.execute("pragma wal_autocheckpoint=4000")
    db.execute("pragma cache_size=-16384")
    return db
