"""The nominal times of the ledger: what became of each, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from functions.kit.durable import cancellations
from functions.scheduler import messages
from functions.scheduler.decide.ends import Moved
from functions.scheduler.decide.reconcile import Pause
from functions.scheduler.decide.tick import Cause, Origin, State, Tick

if TYPE_CHECKING:
    from functions.kit.durable import Connection

_COUNTED = (State.SENT, State.DONE, State.FAILED, State.SKIPPED, State.MISSED)


@dataclass(frozen=True)
class Change:
    """What was decided about one schedule up to `until`: rows, and its pause from now on.

    `removed`: it has no PingSource with policies any more.
    """

    name: str
    revision: int
    until: datetime
    ticks: Sequence[Tick]
    pause: Pause | None
    sent: frozenset[datetime] = frozenset()
    requested_by: str | None = None
    cause: Mapping[str, str] = field(default_factory=dict)
    removed: bool = False


@dataclass(frozen=True)
class Unfinished:
    """A tick whose end is not known, or may still turn out to be a good one.

    `since`: when it came to its state, or, where it is sent, when the Broker last had not taken its
    event. `after_run`: the newest run when it was sent.
    """

    schedule: str
    tick: Tick
    since: datetime
    after_run: int


async def find(connection: Connection, schedule: str, nominal: datetime) -> Tick | None:
    row = await connection.fetchrow(
        "SELECT * FROM tick WHERE schedule = $1 AND nominal = $2", schedule, nominal
    )
    return None if row is None else tick_of(row)


async def between(
    connection: Connection, schedule: str, since: datetime, before: datetime
) -> list[Tick]:
    """A schedule's ticks in [since, before), in order."""
    rows = await connection.fetch(
        """SELECT * FROM tick WHERE schedule = $1 AND nominal >= $2 AND nominal < $3
           ORDER BY nominal""",
        *(schedule, since, before),
    )
    return [tick_of(row) for row in rows]


async def listed(
    connection: Connection,
    *,
    schedule: str | None = None,
    state: str | None = None,
    not_origin: str | None = None,
    since: datetime | None = None,
    before: datetime | None = None,
    after: tuple[datetime, str] | None = None,
    limit: int = 30,
) -> list[Any]:
    """Rows of ticks, the latest nominal time first.

    `after` is the nominal time and the schedule of the last row of the page before.
    """
    found: list[Any] = await connection.fetch(
        """SELECT schedule, nominal, state, origin, cause, reason, due_at, decided_at, sent_at,
                  ended_at, function, run, requested_by
           FROM tick
           WHERE ($1::text IS NULL OR schedule = $1) AND ($2::text IS NULL OR state = $2)
           AND ($3::timestamptz IS NULL OR nominal >= $3)
           AND ($4::timestamptz IS NULL OR nominal < $4)
           AND ($5::timestamptz IS NULL OR nominal < $5 OR (nominal = $5 AND schedule > $6))
           AND ($8::text IS NULL OR origin <> $8)
           ORDER BY nominal DESC, schedule LIMIT $7""",
        *(schedule, state, since, before, *(after or (None, None)), limit, not_origin),
    )
    return found


async def totals(connection: Connection) -> dict[tuple[State, Cause], int]:
    """How many ticks have ever come to a state, by cause."""
    rows = await connection.fetch("SELECT state, cause, ticks FROM tick_total")
    return {(State(row["state"]), Cause(row["cause"])): row["ticks"] for row in rows}


async def lateness(connection: Connection) -> list[Any]:
    """Of each schedule's latest tick that was sent: how many seconds after it was due."""
    found: list[Any] = await connection.fetch(
        """SELECT name, extract(epoch FROM sent_at - due_at)::float8 AS late_s FROM schedule
           CROSS JOIN LATERAL (
               SELECT sent_at, due_at FROM tick WHERE tick.schedule = name
               AND sent_at IS NOT NULL AND origin IN ('clock', 'catch-up')
               ORDER BY nominal DESC LIMIT 1) AS latest
           WHERE NOT removed"""
    )
    return found


async def write(tx: Connection, ticks: Sequence[tuple[Change, Tick]], now: datetime) -> None:
    """Write rows, except over one that has ended; the runs of those that are cancelled stop."""
    rows = [
        {
            "schedule": change.name,
            "nominal": tick.nominal.isoformat(),
            "state": tick.state,
            "origin": tick.origin,
            "cause": tick.cause,
            "reason": tick.reason,
            "due_at": tick.due.isoformat(),
            "sent_at": now.isoformat() if tick.nominal in change.sent else None,
            "requested_by": change.requested_by,
        }
        for change, tick in ticks
    ]
    await tx.execute(
        """INSERT INTO tick (schedule, nominal, state, origin, cause, reason, due_at, decided_at,
                             sent_at, after_run, requested_by, ended_at)
           SELECT schedule, nominal, state, origin, cause, reason, due_at, $2::timestamptz, sent_at,
               (SELECT coalesce(max(number), 0) FROM run), requested_by,
               CASE WHEN state IN ('skipped', 'missed', 'failed') THEN $2::timestamptz END
           FROM jsonb_to_recordset($1) AS given (schedule text, nominal timestamptz, state text,
               origin text, cause text, reason text, due_at timestamptz, sent_at timestamptz,
               requested_by text)
           ON CONFLICT (schedule, nominal) DO UPDATE SET state = excluded.state,
               origin = excluded.origin, cause = excluded.cause, reason = excluded.reason,
               due_at = excluded.due_at, decided_at = excluded.decided_at,
               sent_at = coalesce(excluded.sent_at, tick.sent_at), ended_at = excluded.ended_at,
               after_run = excluded.after_run,
               requested_by = coalesce(excluded.requested_by, tick.requested_by)
           WHERE tick.state IN ('due', 'sent', 'running') OR excluded.origin IN ('user', 'backfill')
        """,
        *(rows, now),
    )
    named = [((messages.SOURCE, messages.event_id(one.name, tick)), tick) for one, tick in ticks]
    if again := [name for name, tick in named if tick.origin in (Origin.USER, Origin.BACKFILL)]:
        await cancellations.allow(tx, again)
    if taken_back := {
        name: tick.reason
        for name, tick in named
        if tick.state is State.FAILED and tick.cause is Cause.CANCELLED
    }:
        await cancellations.cancel(tx, taken_back, now)
    await count(tx, [tick for _, tick in ticks])


async def unfinished(connection: Connection, failed_since: datetime) -> list[Unfinished]:
    """Each tick that was sent and has not ended, or has failed since."""
    rows = await connection.fetch(
        """SELECT * FROM tick WHERE state IN ('sent', 'running')
           UNION ALL SELECT * FROM tick WHERE state = 'failed' AND sent_at > $1""",
        failed_since,
    )
    return [
        Unfinished(row["schedule"], tick_of(row), row["decided_at"], row["after_run"])
        for row in rows
    ]


async def not_taken(connection: Connection) -> dict[str, int | None]:
    """The events of ticks that the Broker has not taken: the status where it refused one for good.

    None where it still waits, also after an earlier one of the same id was refused.
    """
    rows = await connection.fetch(
        """SELECT message ->> 'id' AS id, refusal FROM outbox_event
           WHERE message ->> 'source' = $1 ORDER BY refusal IS NULL, number""",
        messages.SOURCE,
    )
    return {row["id"]: row["refusal"] for row in rows}


async def wait(tx: Connection, waiting: Sequence[Unfinished], now: datetime) -> None:
    """Let no function's silence count yet: the Broker has not taken these ticks' events."""
    names = sorted({one.schedule for one in waiting})
    await tx.execute("SELECT FROM schedule WHERE name = ANY ($1) ORDER BY name FOR UPDATE", names)
    await tx.execute(
        """UPDATE tick SET decided_at = $2::timestamptz
           FROM jsonb_to_recordset($1) AS given (schedule text, nominal timestamptz)
           WHERE tick.schedule = given.schedule AND tick.nominal = given.nominal
           AND tick.state = 'sent'""",
        [{"schedule": one.schedule, "nominal": one.tick.nominal.isoformat()} for one in waiting],
        now,
    )


async def move(
    tx: Connection, moves: Sequence[tuple[str, Moved]], now: datetime
) -> list[tuple[str, Tick, datetime]]:
    """Write what became of ticks that were sent.

    Returns each schedule that works again: the tick that shows it, and since when it was failing.
    """
    rows = [
        {
            "schedule": schedule,
            "nominal": one.tick.nominal.isoformat(),
            "state": one.tick.state,
            "cause": one.tick.cause,
            "reason": one.tick.reason,
            "function": one.run.function if one.run else None,
            "run": one.run.number if one.run else None,
        }
        for schedule, one in moves
    ]
    names = sorted({schedule for schedule, _ in moves})
    await tx.execute("SELECT FROM schedule WHERE name = ANY ($1) ORDER BY name FOR UPDATE", names)
    ended = await tx.fetch(
        """UPDATE tick SET state = given.state, cause = given.cause, reason = given.reason,
               decided_at = $2::timestamptz, function = given.function, run = given.run,
               ended_at = CASE WHEN given.state IN ('done', 'failed', 'missed')
                   THEN $2::timestamptz END
           FROM jsonb_to_recordset($1) AS given (schedule text, nominal timestamptz, state text,
               cause text, reason text, function text, run bigint)
           WHERE tick.schedule = given.schedule AND tick.nominal = given.nominal
           AND tick.state IS DISTINCT FROM given.state
           AND (tick.state IN ('sent', 'running')
                OR tick.state = 'failed' AND given.state = 'done')
           RETURNING tick.schedule, tick.nominal""",
        *(rows, now),
    )
    await tx.execute(
        "UPDATE schedule SET revision = revision + 1 WHERE name = ANY ($1)",
        sorted({row["schedule"] for row in ended}),
    )
    done = {(row["schedule"], row["nominal"]) for row in ended}
    mine = [(name, one.tick) for name, one in moves if (name, one.tick.nominal) in done]
    await count(tx, [tick for _, tick in mine])
    good = {name: tick for name, tick in mine if tick.state is State.DONE}
    failing = await tx.fetch(
        """UPDATE schedule SET failing_since = NULL
           FROM (SELECT name, failing_since AS since FROM schedule
                 WHERE name = ANY ($1) AND failing_since IS NOT NULL AND pause IS NULL) AS was
           WHERE schedule.name = was.name RETURNING was.name, was.since""",
        sorted(good),
    )
    return [(row["name"], good[row["name"]], row["since"]) for row in failing]


async def count(tx: Connection, ticks: Sequence[Tick]) -> None:
    """Add ticks to the totals of the states that they have come to."""
    counted = [{"state": t.state, "cause": t.cause} for t in ticks if t.state in _COUNTED]
    if counted:
        await tx.execute(
            """INSERT INTO tick_total (state, cause, ticks)
               SELECT state, cause, count(*) FROM jsonb_to_recordset($1)
                   AS given (state text, cause text) GROUP BY state, cause ORDER BY state, cause
               ON CONFLICT (state, cause) DO UPDATE
                   SET ticks = tick_total.ticks + excluded.ticks""",
            counted,
        )


def tick_of(row: Any) -> Tick:
    return Tick(
        nominal=row["nominal"].astimezone(UTC),
        due=row["due_at"].astimezone(UTC),
        state=State(row["state"]),
        origin=Origin(row["origin"]),
        reason=row["reason"],
        cause=Cause(row["cause"]),
    )
