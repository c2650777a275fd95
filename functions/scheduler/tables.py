"""The ledger's rows. What is decided is written only while the revision that was read stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from functions.schedule_policy import PolicyError, parse
from functions.scheduler.decide.ends import Moved
from functions.scheduler.decide.nominal import Version
from functions.scheduler.decide.reconcile import BY_FAILURES, Pause, Schedule
from functions.scheduler.decide.tick import Cause, Origin, State, Tick
from functions.scheduler.sources import Source

if TYPE_CHECKING:
    from functions.kit.durable import Connection

_COUNTED = (State.SENT, State.DONE, State.FAILED, State.SKIPPED, State.MISSED)


@dataclass(frozen=True)
class Ledger:
    """A schedule as its rows have it; `data` and `extensions` are those of its newest version."""

    schedule: Schedule
    revision: int
    source: str
    removed: bool
    problem: str
    policy: Mapping[str, str]
    data: str
    extensions: Mapping[str, str]

    @property
    def version(self) -> Version:
        return self.schedule.versions[-1]

    def matches(self, source: Source) -> bool:
        """Is it what its PingSource defines?"""
        newest = self.version
        mine = (newest.expression, newest.zone, self.policy, self.data, self.extensions)
        theirs = (source.expression, source.zone, source.policy, source.data, source.extensions)
        return mine == theirs and self.source == source.source and not self.removed


@dataclass(frozen=True)
class Change:
    """What was decided about one schedule up to `until`: rows, and its pause from now on."""

    name: str
    revision: int
    until: datetime
    ticks: Sequence[Tick]
    pause: Pause | None
    sent: frozenset[datetime] = frozenset()
    requested_by: str | None = None
    cause: Mapping[str, str] = field(default_factory=dict)


async def load(connection: Connection, names: Sequence[str] | None = None) -> dict[str, Ledger]:
    """The schedules that have a PingSource, or those that are named, with what is still open."""
    rows = await connection.fetch(
        """SELECT * FROM schedule
           WHERE CASE WHEN $1::text[] IS NULL THEN NOT removed ELSE name = ANY ($1) END
           ORDER BY name""",
        None if names is None else list(names),
    )
    known = [row["name"] for row in rows]
    versions: dict[str, list[Any]] = {name: [] for name in known}
    for row in await connection.fetch(
        """SELECT version.* FROM (
               SELECT *, lead(valid_from) OVER (PARTITION BY schedule ORDER BY valid_from) AS next
               FROM schedule_version WHERE schedule = ANY ($1)
           ) AS version JOIN schedule ON name = schedule
           WHERE next IS NULL OR next > reconciled_until ORDER BY valid_from""",
        known,
    ):
        versions[row["schedule"]].append(row)
    open_: dict[str, list[Tick]] = {name: [] for name in known}
    for row in await connection.fetch(
        """SELECT * FROM tick WHERE schedule = ANY ($1) AND state IN ('due', 'sent', 'running')
           ORDER BY nominal""",
        known,
    ):
        open_[row["schedule"]].append(tick_of(row))
    ahead: dict[str, set[datetime]] = {name: set() for name in known}
    for row in await connection.fetch(
        # By the index of nominal times: a year of them lies before, and few behind.
        """SELECT schedule, nominal FROM tick JOIN schedule ON schedule = name
           WHERE name = ANY ($1) AND nominal > $2 AND nominal > reconciled_until""",
        *(known, min((row["reconciled_until"] for row in rows), default=None)),
    ):
        ahead[row["schedule"]].add(row["nominal"])
    read = {name: [_version(one) for one in versions[name]] for name in known}
    counted = [name for name in known if read[name][-1].policy.pause_after]
    failures = await _failures(connection, counted) if counted else {}
    return {
        row["name"]: Ledger(
            schedule=Schedule(
                name=row["name"],
                versions=read[row["name"]],
                reconciled_until=row["reconciled_until"],
                open=open_[row["name"]],
                pause=_pause(row["pause"]),
                failures=failures.get(row["name"], 0),
                ahead=frozenset(ahead[row["name"]]),
            ),
            revision=row["revision"],
            source=row["source"],
            removed=row["removed"],
            problem=row["problem"],
            policy=versions[row["name"]][-1]["policy"],
            data=versions[row["name"]][-1]["data"],
            extensions=versions[row["name"]][-1]["extensions"],
        )
        for row in rows
    }


async def _failures(connection: Connection, names: Sequence[str]) -> dict[str, int]:
    """How many of each schedule's latest ends in a row have failed, since it was last resumed."""
    rows = await connection.fetch(
        """SELECT name, count(*) FILTER (WHERE good_before = 0) AS failures FROM schedule
           CROSS JOIN LATERAL (
               SELECT count(*) FILTER (WHERE state = 'done')
                          OVER (ORDER BY nominal DESC) AS good_before
               FROM (SELECT state, nominal FROM tick
                     WHERE tick.schedule = name AND state IN ('done', 'failed')
                     AND ended_at > failures_since ORDER BY nominal DESC LIMIT 1000) AS latest
           ) AS counted
           WHERE name = ANY ($1) GROUP BY name""",
        list(names),
    )
    return {row["name"]: row["failures"] for row in rows}


async def follow(
    tx: Connection, changed: Sequence[Source], gone: Sequence[str], at: datetime
) -> None:
    """Take over what PingSources say from `at` on: new schedules, new versions, and what is gone.

    A change does not rewrite the past, and what came before a schedule was known is not made good.
    """
    first = await tx.fetchval("SELECT min(valid_from) FROM schedule_version")
    for source in changed:
        since = at if first is None else max(first, min(at, source.made_at))
        kept = await tx.fetchrow(
            "SELECT removed FROM schedule WHERE name = $1 FOR UPDATE", source.name
        )
        await tx.execute(
            """INSERT INTO schedule (name, source, reconciled_until) VALUES ($1, $2, $3)
               ON CONFLICT (name) DO UPDATE SET source = $2, removed = false,
                   revision = schedule.revision + 1,
                   reconciled_until = CASE WHEN schedule.removed THEN greatest($3,
                       schedule.reconciled_until) ELSE schedule.reconciled_until END""",
            *(source.name, source.source, since),
        )
        continues = kept is not None and not kept["removed"]
        await tx.execute(
            """INSERT INTO schedule_version
                   (schedule, valid_from, expression, zone, policy, data, extensions)
               SELECT * FROM (VALUES ($1::text, $2::timestamptz, $3::text, $4::text, $5::jsonb,
                                      $6::text, $7::jsonb)) AS given
               EXCEPT SELECT schedule, $2, expression, zone, policy, data, extensions FROM (
                   SELECT * FROM schedule_version WHERE schedule = $1
                   ORDER BY valid_from DESC LIMIT 1) AS newest WHERE $8
               ON CONFLICT (schedule, valid_from) DO NOTHING""",
            *(source.name, at if continues else since, source.expression, source.zone),
            *(dict(source.policy), source.data, dict(source.extensions), continues),
        )
    await tx.execute(
        """UPDATE schedule SET removed = true, revision = revision + 1
           WHERE name = ANY ($1) AND NOT removed""",
        list(gone),
    )


async def remark(tx: Connection, problems: Mapping[str, str]) -> None:
    """Keep why a schedule's PingSource cannot be followed; it goes on as it was."""
    for name, problem in problems.items():
        await tx.execute("UPDATE schedule SET problem = $2 WHERE name = $1", name, problem)


async def find(connection: Connection, schedule: str, nominal: datetime) -> Tick | None:
    row = await connection.fetchrow(
        "SELECT * FROM tick WHERE schedule = $1 AND nominal = $2", schedule, nominal
    )
    return None if row is None else tick_of(row)


async def versions(connection: Connection, schedule: str) -> list[Version]:
    """All versions of a schedule, the oldest first."""
    rows = await connection.fetch(
        "SELECT * FROM schedule_version WHERE schedule = $1 ORDER BY valid_from", schedule
    )
    return [_version(row) for row in rows]


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
           ORDER BY nominal DESC, schedule LIMIT $7""",
        *(schedule, state, since, before, *(after or (None, None)), limit),
    )
    return found


async def pause(tx: Connection, schedule: str, pause: Pause) -> bool:
    """Pause a schedule; False where there is none."""
    return bool(
        await tx.fetchval(
            """UPDATE schedule SET pause = $2, revision = revision + 1
               WHERE name = $1 RETURNING true""",
            *(schedule, pause_json(pause)),
        )
    )


async def resume(tx: Connection, schedule: str, now: datetime) -> bool:
    """Resume a schedule, and count its failures anew; False where there is none."""
    return bool(
        await tx.fetchval(
            """UPDATE schedule SET pause = NULL, failures_since = $2, revision = revision + 1
               WHERE name = $1 RETURNING true""",
            *(schedule, now),
        )
    )


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


async def settle(tx: Connection, changes: Iterable[Change], now: datetime) -> set[str]:
    """Write what was decided; returns the schedules of which no other has decided meanwhile."""
    by_name = {change.name: change for change in changes}
    if not by_name:
        return set()
    # In one order, so that two who settle at once wait for each other and never in a circle.
    held = await tx.fetch(
        "SELECT name, revision FROM schedule WHERE name = ANY ($1) ORDER BY name FOR UPDATE",
        list(by_name),
    )
    won = {row["name"] for row in held if row["revision"] == by_name[row["name"]].revision}
    mine = [by_name[name] for name in sorted(won)]
    await tx.execute(
        """UPDATE schedule SET revision = schedule.revision + 1, pause = given.pause,
               reconciled_until = greatest(reconciled_until, given.until),
               failing_since = CASE WHEN given.pause ->> 'by' = $2
                   THEN coalesce(failing_since, $3) ELSE failing_since END
           FROM jsonb_to_recordset($1) AS given (name text, pause jsonb, until timestamptz)
           WHERE schedule.name = given.name""",
        [
            {"name": one.name, "pause": pause_json(one.pause), "until": one.until.isoformat()}
            for one in mine
        ],
        *(BY_FAILURES, now),
    )
    await write(tx, [(one, tick) for one in mine for tick in one.ticks], now)
    return won


async def write(tx: Connection, ticks: Sequence[tuple[Change, Tick]], now: datetime) -> None:
    """Write rows, except over one that has ended."""
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
    await count(tx, [tick for _, tick in ticks])


@dataclass(frozen=True)
class Unfinished:
    """A tick whose end is not known, or may still turn out to be a good one.

    `since`: when it came to its state. `after_run`: the newest run when it was sent.
    """

    schedule: str
    tick: Tick
    since: datetime
    after_run: int


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
               ended_at = CASE WHEN given.state IN ('done', 'failed') THEN $2::timestamptz END
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


def pause_json(pause: Pause | None) -> dict[str, Any] | None:
    if pause is None:
        return None
    until = pause.until.isoformat() if pause.until else None
    return {"by": pause.by, "reason": pause.reason, "until": until}


def _pause(kept: Mapping[str, Any] | None) -> Pause | None:
    if kept is None:
        return None
    until = datetime.fromisoformat(kept["until"]) if kept["until"] else None
    return Pause(kept["by"], kept["reason"], until)


def _version(row: Any) -> Version:
    return Version(row["valid_from"].astimezone(UTC), row["expression"], row["zone"], _policy(row))


def _policy(row: Any) -> Any:
    try:
        return parse(row["policy"])
    except PolicyError:  # written by a newer version of this code
        return parse({})
