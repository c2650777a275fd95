"""The schedules of the ledger. What is decided is written only while the revision read stands."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from functions.schedule_policy import PolicyError, parse
from functions.scheduler.decide.nominal import Version
from functions.scheduler.decide.reconcile import BY_FAILURES, Pause, Schedule
from functions.scheduler.decide.tick import Tick
from functions.scheduler.sources import Source
from functions.scheduler.tick_rows import Change, tick_of, write

if TYPE_CHECKING:
    from functions.kit.durable import Connection


@dataclass(frozen=True)
class Ledger:
    """A schedule as its rows have it; `policy` are the annotations of its newest version.

    `known_since`: before, the ledger knows nothing of it. `last_due`: the latest nominal time that
    came by its expression, not by a user; None where none has come.
    """

    schedule: Schedule
    revision: int
    source: str
    removed: bool
    problem: str
    policy: Mapping[str, str]
    known_since: datetime
    last_due: datetime | None

    @property
    def version(self) -> Version:
        return self.schedule.versions[-1]

    def matches(self, source: Source) -> bool:
        """Is it what its PingSource defines?"""
        newest = self.version
        mine = (newest.expression, newest.zone, self.policy, newest.data, newest.extensions)
        theirs = (source.expression, source.zone, source.policy, source.data, source.extensions)
        return mine == theirs and self.source == source.source and not self.removed


async def load(connection: Connection, names: Sequence[str] | None = None) -> dict[str, Ledger]:
    """The schedules that have a PingSource, or those that are named, with what is still open."""
    rows = await connection.fetch(
        """SELECT *,
               (SELECT min(valid_from) FROM schedule_version WHERE schedule = name) AS known_since,
               (SELECT nominal FROM tick WHERE schedule = name AND origin <> 'user'
                AND nominal <= reconciled_until ORDER BY nominal DESC LIMIT 1) AS last_due
           FROM schedule
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
           WHERE next IS NULL OR next > least(reconciled_until, (
               SELECT min(nominal) FROM tick WHERE schedule = name
               AND state IN ('due', 'sent', 'running')))
           ORDER BY valid_from""",
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
            known_since=row["known_since"],
            last_due=row["last_due"],
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
                     AND cause <> 'cancelled' AND ended_at > failures_since
                     ORDER BY nominal DESC LIMIT 1000) AS latest
           ) AS counted
           WHERE name = ANY ($1) GROUP BY name""",
        list(names),
    )
    return {row["name"]: row["failures"] for row in rows}


async def follow(tx: Connection, changed: Sequence[Source], at: datetime) -> None:
    """Take over what PingSources say: new schedules, and new versions.

    A version is valid from when its PingSource was changed, and from `at` where that is not known.
    It rewrites nothing that is decided, and what came before a schedule was known is not made good.
    """
    first = await tx.fetchval("SELECT min(valid_from) FROM schedule_version")
    for source in changed:
        kept = await tx.fetchrow(
            """SELECT removed, reconciled_until,
                   (SELECT max(valid_from) FROM schedule_version WHERE schedule = name) AS newest
               FROM schedule WHERE name = $1 FOR UPDATE""",
            source.name,
        )
        since = at
        if kept is None and first is not None:
            since = max(first, min(at, source.changed_at))
        elif kept is not None and kept["newest"] < source.changed_at < at:
            since = max(kept["reconciled_until"], source.changed_at)
        continues = kept is not None and not kept["removed"]
        await tx.execute(
            """INSERT INTO schedule (name, source, reconciled_until) VALUES ($1, $2, $3)
               ON CONFLICT (name) DO UPDATE SET source = $2, removed = false,
                   revision = schedule.revision + 1,
                   reconciled_until = CASE WHEN schedule.removed THEN greatest($3,
                       schedule.reconciled_until) ELSE schedule.reconciled_until END""",
            *(source.name, source.source, since),
        )
        await tx.execute(
            """INSERT INTO schedule_version
                   (schedule, valid_from, expression, zone, policy, data, extensions)
               SELECT * FROM (VALUES ($1::text, $2::timestamptz, $3::text, $4::text, $5::jsonb,
                                      $6::text, $7::jsonb)) AS given
               EXCEPT SELECT schedule, $2, expression, zone, policy, data, extensions FROM (
                   SELECT * FROM schedule_version WHERE schedule = $1
                   ORDER BY valid_from DESC LIMIT 1) AS newest WHERE $8
               ON CONFLICT (schedule, valid_from) DO NOTHING""",
            *(source.name, since, source.expression, source.zone, dict(source.policy)),
            *(source.data, dict(source.extensions), continues),
        )


async def remark(tx: Connection, problems: Mapping[str, str]) -> None:
    """Keep why a schedule's PingSource cannot be followed; it goes on as it was."""
    for name, problem in problems.items():
        await tx.execute("UPDATE schedule SET problem = $2 WHERE name = $1", name, problem)


async def versions(connection: Connection, schedule: str) -> list[Version]:
    """All versions of a schedule, the oldest first."""
    rows = await connection.fetch(
        "SELECT * FROM schedule_version WHERE schedule = $1 ORDER BY valid_from", schedule
    )
    return [_version(row) for row in rows]


async def whole(connection: Connection, schedule: str) -> Ledger | None:
    """A schedule with all its versions, as any of its past times may be run."""
    ledger = (await load(connection, [schedule])).get(schedule)
    if ledger is None:
        return None
    known = replace(ledger.schedule, versions=await versions(connection, schedule))
    return replace(ledger, schedule=known)


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
               removed = removed OR given.gone,
               reconciled_until = greatest(reconciled_until, given.until),
               failing_since = CASE WHEN given.pause ->> 'by' = $2
                   THEN coalesce(failing_since, $3) ELSE failing_since END
           FROM jsonb_to_recordset($1)
               AS given (name text, pause jsonb, until timestamptz, gone boolean)
           WHERE schedule.name = given.name""",
        [
            {
                "name": one.name,
                "pause": pause_json(one.pause),
                "until": one.until.isoformat(),
                "gone": one.removed,
            }
            for one in mine
        ],
        *(BY_FAILURES, now),
    )
    await write(tx, [(one, tick) for one in mine for tick in one.ticks], now)
    return won


def pause_json(pause: Pause | None) -> dict[str, Any] | None:
    if pause is None:
        return None
    until = pause.until.isoformat() if pause.until else None
    since = pause.since.isoformat() if pause.since else None
    return {"by": pause.by, "reason": pause.reason, "until": until, "since": since}


def _pause(kept: Mapping[str, Any] | None) -> Pause | None:
    if kept is None:
        return None
    until = datetime.fromisoformat(kept["until"]) if kept["until"] else None
    since = datetime.fromisoformat(kept["since"]) if kept.get("since") else None
    return Pause(kept["by"], kept["reason"], until, since)


def _version(row: Any) -> Version:
    return Version(
        row["valid_from"].astimezone(UTC),
        row["expression"],
        row["zone"],
        _policy(row),
        row["data"],
        row["extensions"],
    )


def _policy(row: Any) -> Any:
    try:
        return parse(row["policy"])
    except PolicyError:  # written by a newer version of this code
        return parse({})
