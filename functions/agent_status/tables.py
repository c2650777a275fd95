"""The table of threads: one row for each route on each issue or pull request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from functions.events.agent import AgentUsage
from functions.kit.durable import Connection, Leases, Rule, Store, rule

RETENTION_DAYS = 90
EDIT_EVERY_S = 10.0
# Of what is worth no edit of its own.
MINOR_EDIT_EVERY_S = 600.0


@dataclass(frozen=True)
class Thread:
    """What is known and what is shown. `version` counts changes of `jobs` and `replies`, and
    `pressing_version` is that of the last one which users wait for."""

    repository: str
    issue: int
    route: str
    jobs: Mapping[str, Mapping[str, Any]]
    replies: Sequence[Mapping[str, Any]]
    version: int
    shown_version: int
    pressing_version: int
    comment_id: int | None
    comment_deleted: bool
    reacted: bool
    check_job: str
    check_id: int | None
    check_shown: Mapping[str, Any] | None
    attempts: int
    last_error: str
    due_at: datetime
    changed_at: datetime

    @property
    def key(self) -> tuple[str, int, str]:
        return self.repository, self.issue, self.route

    @property
    def presses(self) -> bool:
        return self.pressing_version > self.shown_version


RETENTION: tuple[Rule, ...] = (
    rule("status_thread", "changed_at", RETENTION_DAYS),
    rule("issue_usage", "used_at", RETENTION_DAYS),
)
_WAITS = "shown_version < version"
# When a change that presses is due, also where one waits that does not; not while GitHub is away.
_SOON = f"greatest(not_before, shown_at + make_interval(secs => {EDIT_EVERY_S}), changed_at)"
_PRESSES = f"pressing_version = version + 1, due_at = least(due_at, {_SOON})"
_IS_MINOR = f"""due_at = CASE WHEN attempts > 0 OR shown_at IS NULL OR {_WAITS} THEN due_at
    ELSE shown_at + make_interval(secs => {MINOR_EDIT_EVERY_S}) END"""

LEASES = Leases(
    "status_thread",
    key=("repository", "issue", "route"),
    open=_WAITS,
    # One with a change that presses comes first.
    order="pressing_version > shown_version DESC, due_at",
)
next_due_s = LEASES.next_due_s


async def locked(tx: Connection, key: tuple[str, int, str], at: datetime) -> Thread:
    """The thread, made where it is not there, and locked until the transaction ends."""
    row = await tx.fetchrow(
        """INSERT INTO status_thread (repository, issue, route, due_at, changed_at)
           VALUES ($1, $2, $3, $4, $4)
           ON CONFLICT (repository, issue, route) DO UPDATE SET changed_at = $4 RETURNING *""",
        *(*key, at),
    )
    return _thread(row)


async def change(tx: Connection, thread: Thread, jobs: Mapping[str, Any], *, minor: bool) -> None:
    """Store the Jobs; a minor change makes an edit each ten minutes at most."""
    await tx.execute(
        f"""UPDATE status_thread SET jobs = $4, version = version + 1,
               {_IS_MINOR if minor else _PRESSES}
           WHERE repository = $1 AND issue = $2 AND route = $3""",
        *(*thread.key, dict(jobs)),
    )


async def reply(
    tx: Connection, thread: Thread, replies: Sequence[Mapping[str, Any]], *, again: bool
) -> None:
    """Store the replies; with `again` the comment is written anew where a user deleted it."""
    await tx.execute(
        f"""UPDATE status_thread SET replies = $4, version = version + 1, {_PRESSES},
               comment_deleted = comment_deleted AND NOT $5
           WHERE repository = $1 AND issue = $2 AND route = $3""",
        *(*thread.key, list(replies), again),
    )


async def lease(tx: Connection, now: datetime, seconds: float) -> Thread | None:
    row = await LEASES.take(tx, now, seconds, "*")
    return _thread(row) if row else None


async def keep(store: Store, thread: Thread, seconds: float) -> None:
    await LEASES.keep(store, thread.key, seconds)


async def commented(connection: Connection, thread: Thread, comment_id: int) -> None:
    """Store the comment's id, before anything else can fail."""
    await connection.execute(
        """UPDATE status_thread SET comment_id = $4
           WHERE repository = $1 AND issue = $2 AND route = $3""",
        *(*thread.key, comment_id),
    )


async def checked(
    connection: Connection, thread: Thread, job_id: str, check_id: int, shown: Mapping[str, Any]
) -> None:
    """Store the check run of a Job, and what it shows."""
    await connection.execute(
        """UPDATE status_thread SET check_job = $4, check_id = $5, check_shown = $6
           WHERE repository = $1 AND issue = $2 AND route = $3""",
        *(*thread.key, job_id, check_id, dict(shown)),
    )


async def reacted(connection: Connection, thread: Thread) -> None:
    await connection.execute(
        """UPDATE status_thread SET reacted = true
           WHERE repository = $1 AND issue = $2 AND route = $3""",
        *thread.key,
    )


async def replies_reacted(connection: Connection, thread: Thread) -> None:
    """Store that each of the thread's replies has its reaction; later ones have none yet."""
    await connection.execute(
        """UPDATE status_thread SET replies = (
               SELECT jsonb_agg(CASE WHEN one ->> 'at' = ANY ($4::text[])
                                     THEN one || '{"reacted": true}' ELSE one END ORDER BY place)
               FROM jsonb_array_elements(replies) WITH ORDINALITY AS each (one, place))
           WHERE repository = $1 AND issue = $2 AND route = $3 AND replies <> '[]'""",
        *(*thread.key, [one["at"] for one in thread.replies]),
    )


async def use(
    tx: Connection, key: tuple[str, int], job_id: str, usage: AgentUsage, at: datetime
) -> None:
    """Store what a Job has used on an issue; it never becomes less."""
    known = await tx.fetchval("SELECT usage FROM issue_usage WHERE job_id = $1 FOR UPDATE", job_id)
    stored = usage.max_with(AgentUsage.model_validate(known or {})).model_dump(mode="json")
    await tx.execute(
        """INSERT INTO issue_usage (job_id, repository, issue, usage, used_at)
           VALUES ($1, $2, $3, $4, $5)
           ON CONFLICT (job_id) DO UPDATE SET usage = excluded.usage, used_at = excluded.used_at""",
        *(job_id, *key, stored, at),
    )


async def usage_on(connection: Connection, repository: str, issue: int) -> tuple[int, AgentUsage]:
    """Return how many Jobs have reported what they used on an issue, and its sum."""
    row = await connection.fetchrow(
        """SELECT count(*)::int AS jobs, sum((usage->>'turns')::bigint)::bigint AS turns,
               sum((usage->>'input_tokens')::bigint)::bigint AS input_tokens,
               sum((usage->>'output_tokens')::bigint)::bigint AS output_tokens,
               sum((usage->>'cost_usd')::float8) AS cost_usd
           FROM issue_usage WHERE repository = $1 AND issue = $2""",
        *(repository, issue),
    )
    assert row is not None, "an aggregate has one row"
    sums = {name: row[name] for name in ("turns", "input_tokens", "output_tokens", "cost_usd")}
    return row["jobs"], AgentUsage.model_construct(**sums, session=None)


async def shown(connection: Connection, thread: Thread, at: datetime, *, deleted: bool) -> None:
    """Store that a version is shown, and plan the edit of what has changed meanwhile.

    That a user has deleted the comment is left open where one may have asked for it meanwhile: the
    next version finds out again.
    """
    await connection.execute(
        f"""UPDATE status_thread SET shown_version = $4, shown_at = $5,
               due_at = $5::timestamptz + make_interval(secs => CASE
                   WHEN version > $4 AND pressing_version <= $4 THEN {MINOR_EDIT_EVERY_S}
                   ELSE {EDIT_EVERY_S} END),
               comment_deleted = CASE WHEN version = $4 THEN $6 ELSE comment_deleted END,
               attempts = 0, last_error = '', leased_until = NULL
           WHERE repository = $1 AND issue = $2 AND route = $3""",
        *(*thread.key, thread.version, at, deleted),
    )


async def postpone(
    connection: Connection, thread: Thread, error: str, due_at: datetime, not_before: datetime
) -> None:
    """Store when the next attempt is due; a change that presses is not due before `not_before`."""
    await connection.execute(
        """UPDATE status_thread SET last_error = $7, leased_until = NULL, not_before = $6,
               due_at = CASE WHEN pressing_version > $4 THEN $6::timestamptz ELSE $5 END
           WHERE repository = $1 AND issue = $2 AND route = $3""",
        *(*thread.key, thread.version, due_at, not_before, error),
    )


async def put_off(connection: Connection, thread: Thread, due_at: datetime) -> None:
    """Store when a minor change is due that has made room for others: GitHub was not asked."""
    await connection.execute(
        f"""UPDATE status_thread SET attempts = 0, leased_until = NULL,
               due_at = CASE WHEN pressing_version > $4 THEN {_SOON} ELSE $5 END
           WHERE repository = $1 AND issue = $2 AND route = $3""",
        *(*thread.key, thread.version, due_at),
    )


async def count_waiting(connection: Connection) -> tuple[int, float]:
    """How many threads show less than is known, and since when the oldest, in seconds."""
    row = await connection.fetchrow(
        f"""SELECT count(*) AS count,
                coalesce(extract(epoch FROM now() - min(changed_at)), 0)::float8 AS oldest_s
            FROM status_thread WHERE {_WAITS}"""
    )
    assert row is not None, "an aggregate has one row"
    return row["count"], row["oldest_s"]


def _thread(row: Any) -> Thread:
    return Thread(**{one.name: row[one.name] for one in fields(Thread)})
