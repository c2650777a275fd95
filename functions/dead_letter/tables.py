"""The SQL of dead-letter: dead letters, and their redrives."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, get_args

from functions.dead_letter.decide import Failure, about
from functions.kit import cloudevents
from functions.kit.durable.database import without_nul as _text

if TYPE_CHECKING:
    from functions.events.base import AnyEvent
    from functions.kit.durable import Connection

# open: it needs attention; redriving: sent, or about to be; redriven: sent, not come back;
# dismissed: a user gave a reason why it needs none.
State = Literal["open", "redriving", "redriven", "dismissed"]
# Type, function, state, and when it last failed: since and before; None is any.
Wanted = tuple[str | None, str | None, str | None, datetime | None, datetime | None]

# So much of the data is looked at for what an event without a subject is about, bytes.
HEAD = 2000
# Without the event itself, which may be large: a list must not load it.
_SUMMARY = """number, seen, source, id, dest, type, subject, function, code, detail, first_at,
    last_at, count, state, size"""
_MATCHES = """($1::text IS NULL OR type = $1) AND ($2::text IS NULL OR function = $2)
    AND ($3::text IS NULL OR state = $3)
    AND ($4::timestamptz IS NULL OR last_at >= $4)
    AND ($5::timestamptz IS NULL OR last_at < $5)"""


@dataclass(frozen=True)
class DeadLetter:
    """One event that one destination could not handle."""

    number: int
    row: Mapping[str, Any]

    @property
    def verbatim(self) -> dict[str, str]:
        """Each attribute's text as it stood in its header."""
        loaded: dict[str, str] = json.loads(self.row["attributes"])
        return loaded

    @property
    def event(self) -> cloudevents.Message:
        return cloudevents.as_received(self.verbatim, self.data)

    @property
    def data(self) -> bytes:
        data: bytes = self.row["data"]
        return data

    @property
    def is_cut(self) -> bool:
        """Is only the beginning of the data kept?"""
        return bool(self.row["size"] > len(self.data))

    def summary(self) -> dict[str, Any]:
        """Everything but the event, as JSON."""
        return _summary(
            {k: v for k, v in self.row.items() if k not in ("attributes", "data")},
            self.data[:HEAD],
        )


@dataclass(frozen=True)
class Claim:
    """A dead letter that is being sent again, and the number of its redrive."""

    redrive: int
    dead_letter: DeadLetter


async def keep(
    tx: Connection,
    event: AnyEvent,
    failure: Failure,
    now: datetime,
    max_bytes: int,
) -> tuple[int, int]:
    """Store an event with the first `max_bytes` of its data; returns its number and count.

    One that is delivered twice counts once.
    """
    attributes = event.ce_attributes
    dest = failure.dest or await _dest_of_older(tx, attributes)
    row = await tx.fetchrow(
        """INSERT INTO dead_letter AS kept (seen, source, id, dest, type, subject, attributes, data,
                                    function, code, detail, arrival, first_at, last_at, size)
           VALUES (nextval('dead_letter_seen'), $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12,
                   $12, $13)
           ON CONFLICT (md5(source), md5(id), md5(dest)) DO UPDATE SET
               seen = excluded.seen, attributes = excluded.attributes, data = excluded.data,
               size = excluded.size,
               code = excluded.code, detail = excluded.detail, arrival = excluded.arrival,
               last_at = excluded.last_at, count = kept.count + 1, state = 'open'
           WHERE kept.arrival IS DISTINCT FROM excluded.arrival OR excluded.arrival IS NULL
           RETURNING number, count""",
        *(
            _text(attributes["source"]),
            _text(attributes["id"]),
            _text(dest),
            _text(attributes["type"]),
        ),
        _text(attributes.get("subject")),
        json.dumps(event.verbatim).encode(),
        event.data[:max_bytes],
        *(_text(failure.function), failure.code, _text(failure.detail), _text(failure.arrival)),
        *(now, len(event.data)),
    )
    if row is None:
        row = await tx.fetchrow(
            """SELECT number, count FROM dead_letter
               WHERE md5(source) = md5($1) AND md5(id) = md5($2) AND md5(dest) = md5($3)""",
            *(_text(attributes["source"]), _text(attributes["id"]), _text(dest)),
        )
    assert row is not None, "the row conflicted, so it exists"
    return row["number"], row["count"]


async def _dest_of_older(tx: Connection, attributes: Mapping[str, str]) -> str:
    """The destination of the dead letter that this event is a redrive of; empty for the first.

    A broker names no destination where an answer was late or invalid: then the dead letter that
    was sent again is the one that came back.
    """
    number = attributes.get("redriveof", "")
    if not number.isdecimal() or len(number) > 18:
        return ""
    dest: str | None = await tx.fetchval(
        "SELECT dest FROM dead_letter WHERE number = $1 AND source = $2 AND id = $3",
        *(int(number), _text(attributes["source"]), _text(attributes["id"])),
    )
    return dest or ""


async def newest(
    connection: Connection, wanted: Wanted, limit: int, before: int | None
) -> list[dict[str, Any]]:
    """The summaries of dead letters by when they were seen last, newest first, as JSON."""
    rows = await connection.fetch(
        f"""SELECT {_SUMMARY}, substr(data, 1, {HEAD}) AS head FROM dead_letter
            WHERE {_MATCHES} AND ($6::bigint IS NULL OR seen < $6)
            ORDER BY seen DESC LIMIT $7""",
        *(*wanted, before, limit),
    )
    found = [dict(row) for row in rows]
    return [_summary(row, row.pop("head")) for row in found]


def _summary(row: dict[str, Any], head: bytes) -> dict[str, Any]:
    times = {name: row[name].isoformat() for name in ("first_at", "last_at")}
    return row | times | {"about": about(row["subject"], head)}


async def oldest(connection: Connection, wanted: Wanted, limit: int) -> tuple[list[int], int]:
    """The numbers of the oldest dead letters, and how many there are in all."""
    rows = await connection.fetch(
        f"SELECT number FROM dead_letter WHERE {_MATCHES} ORDER BY seen LIMIT $6", *wanted, limit
    )
    return [row["number"] for row in rows], await count(connection, wanted)


async def count(connection: Connection, wanted: Wanted) -> int:
    found: int = await connection.fetchval(
        f"SELECT count(*) FROM dead_letter WHERE {_MATCHES}", *wanted
    )
    return found


async def one(connection: Connection, number: int) -> DeadLetter | None:
    row = await connection.fetchrow(
        f"SELECT {_SUMMARY}, attributes, data FROM dead_letter WHERE number = $1", number
    )
    return None if row is None else DeadLetter(number, dict(row))


async def redrives(connection: Connection, number: int) -> list[dict[str, Any]]:
    """The redrives of one dead letter, oldest first, as JSON; without an outcome it is unknown."""
    rows = await connection.fetch(
        """SELECT redrive.number, coalesce(who, '') AS who, coalesce(reason, '') AS reason,
                  began_at::text, ended_at::text, outcome, detail, edited
           FROM redrive LEFT JOIN user_action ON user_action.number = redrive.action
           WHERE dead_letter = $1 ORDER BY redrive.number""",
        number,
    )
    return [dict(row) for row in rows]


async def last_redrives(connection: Connection, numbers: Sequence[int]) -> list[dict[str, Any]]:
    """The summaries of these dead letters, each with its trace and its latest redrive, as JSON."""
    rows = await connection.fetch(
        f"""SELECT {_SUMMARY}, attributes, substr(data, 1, {HEAD}) AS head,
                   began_at::text, outcome, redrive_detail
            FROM dead_letter LEFT JOIN LATERAL (
                SELECT began_at, outcome, detail AS redrive_detail FROM redrive
                WHERE dead_letter = dead_letter.number ORDER BY redrive.number DESC LIMIT 1
            ) AS latest ON true
            WHERE number = ANY($1)""",
        numbers,
    )
    return [_with_last(dict(row)) for row in rows]


def _with_last(row: dict[str, Any]) -> dict[str, Any]:
    attributes = json.loads(row.pop("attributes"))
    last = {name: row.pop(name) for name in ("began_at", "outcome")}
    last["detail"] = row.pop("redrive_detail")
    found = _summary(row, row.pop("head"))
    found["trace"] = attributes.get("correlationid") or row["id"]
    return found | {"redrive": last if last["began_at"] else None}


async def claim(tx: Connection, number: int, *, edited: bool) -> Claim | None:
    """Mark an open dead letter as being sent; None where it is not open."""
    row = await tx.fetchrow(
        f"""UPDATE dead_letter SET state = 'redriving', claimed_at = now()
            WHERE number = $1 AND state = 'open'
            RETURNING {_SUMMARY}, attributes, data""",
        number,
    )
    if row is None:
        return None
    redrive = await tx.fetchval(
        "INSERT INTO redrive (dead_letter, edited) VALUES ($1, $2) RETURNING number",
        *(number, edited),
    )
    return Claim(redrive, DeadLetter(number, dict(row)))


async def link(tx: Connection, redrive: int, event: int, action: int) -> None:
    """Note by which row of the outbox a dead letter's event leaves, and who sent it."""
    await tx.execute(
        "UPDATE redrive SET event = $2, action = $3 WHERE number = $1", redrive, event, action
    )


async def settle(connection: Connection) -> None:
    """Write down how redrives ended whose event has left the outbox, or was refused.

    A dead letter that came back meanwhile stays open.
    """
    await connection.execute(
        """WITH ended AS (
               SELECT redrive.number, dead_letter, refusal
               FROM redrive LEFT JOIN outbox_event ON outbox_event.number = redrive.event
               WHERE ended_at IS NULL AND event IS NOT NULL
               AND (outbox_event.number IS NULL OR dead_lettered_at IS NOT NULL)),
           marked AS (
               UPDATE dead_letter SET state = 'redriven' FROM ended
               WHERE dead_letter.number = ended.dead_letter AND state = 'redriving'
               RETURNING dead_letter.number)
           UPDATE redrive SET ended_at = now(),
               outcome = CASE WHEN refusal IS NOT NULL THEN 'failed'
                              WHEN marked.number IS NULL THEN 'returned' ELSE 'sent' END,
               detail = CASE WHEN refusal IS NOT NULL
                   THEN 'the broker refused it with ' || refusal || ': a dead letter of its own' END
           FROM ended LEFT JOIN marked ON marked.number = ended.dead_letter
           WHERE redrive.number = ended.number"""
    )


async def counts(connection: Connection) -> tuple[dict[str, int], float, int]:
    """Dead letters by state, the oldest open one's age in seconds, and how often one was kept."""
    rows = await connection.fetch(
        "SELECT state, count(*) AS n, sum(count)::bigint AS kept FROM dead_letter GROUP BY state"
    )
    oldest_s: float = await connection.fetchval(
        """SELECT coalesce(extract(epoch FROM now() - min(first_at)), 0)::float8
           FROM dead_letter WHERE state = 'open'"""
    )
    count = dict.fromkeys(get_args(State), 0) | {row["state"]: row["n"] for row in rows}
    return count, oldest_s, sum(row["kept"] for row in rows)
