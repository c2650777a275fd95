"""The table of threads: one row for each route on each issue or pull request."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

from functions.kit.durable import Connection, Rule, Store, rule

RETENTION_DAYS = 90


@dataclass(frozen=True)
class Thread:
    """What is known and what is shown. `version` counts changes of `jobs` and `replies`."""

    repository: str
    issue: int
    route: str
    jobs: Mapping[str, Mapping[str, Any]]
    replies: Sequence[Mapping[str, Any]]
    version: int
    shown_version: int
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


RETENTION: tuple[Rule, ...] = (rule("status_thread", "changed_at", RETENTION_DAYS),)
_WAITS = "shown_version < version"


async def locked(tx: Connection, key: tuple[str, int, str], at: datetime) -> Thread:
    """The thread, made where it is not there, and locked until the transaction ends."""
    row = await tx.fetchrow(
        """INSERT INTO status_thread (repository, issue, route, due_at, changed_at)
           VALUES ($1, $2, $3, $4, $4)
           ON CONFLICT (repository, issue, route) DO UPDATE SET changed_at = $4 RETURNING *""",
        *(*key, at),
    )
    return _thread(row)


async def change(tx: Connection, thread: Thread, jobs: Mapping[str, Any]) -> None:
    await tx.execute(
        """UPDATE status_thread SET jobs = $4, version = version + 1
           WHERE repository = $1 AND issue = $2 AND route = $3""",
        *(*thread.key, dict(jobs)),
    )


async def reply(
    tx: Connection, thread: Thread, replies: Sequence[Mapping[str, Any]], *, again: bool
) -> None:
    """Store the replies; with `again` the comment is written anew where a user deleted it."""
    await tx.execute(
        """UPDATE status_thread SET replies = $4, version = version + 1,
               comment_deleted = comment_deleted AND NOT $5
           WHERE repository = $1 AND issue = $2 AND route = $3""",
        *(*thread.key, list(replies), again),
    )


async def lease(tx: Connection, now: datetime, seconds: float) -> Thread | None:
    """Take the thread that has been due for longest, for this process and so long."""
    row = await tx.fetchrow(
        f"""UPDATE status_thread SET attempts = attempts + 1,
                leased_until = clock_timestamp() + make_interval(secs => $2)
            WHERE (repository, issue, route) = (
                SELECT repository, issue, route FROM status_thread
                WHERE {_WAITS} AND due_at <= $1
                AND (leased_until IS NULL OR leased_until <= clock_timestamp())
                ORDER BY due_at LIMIT 1 FOR UPDATE SKIP LOCKED)
            RETURNING *""",
        *(now, seconds),
    )
    return _thread(row) if row else None


async def keep(store: Store, thread: Thread, seconds: float) -> None:
    """Prolong a lease; with 0 seconds the thread is due at once, for any process."""
    async with store.connection() as connection:
        await connection.execute(
            """UPDATE status_thread
               SET leased_until = clock_timestamp() + make_interval(secs => $4)
               WHERE repository = $1 AND issue = $2 AND route = $3""",
            *(*thread.key, seconds),
        )


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


async def shown(connection: Connection, thread: Thread, due_at: datetime, *, deleted: bool) -> None:
    """Store that a version is shown; the next one is due at the earliest at `due_at`.

    That a user has deleted the comment is left open where one may have asked for it meanwhile: the
    next version finds out again.
    """
    await connection.execute(
        """UPDATE status_thread SET shown_version = $4, due_at = $5,
               comment_deleted = CASE WHEN version = $4 THEN $6 ELSE comment_deleted END,
               attempts = 0, last_error = '', leased_until = NULL
           WHERE repository = $1 AND issue = $2 AND route = $3""",
        *(*thread.key, thread.version, due_at, deleted),
    )


async def postpone(connection: Connection, thread: Thread, error: str, due_at: datetime) -> None:
    await connection.execute(
        """UPDATE status_thread SET due_at = $5, last_error = $4, leased_until = NULL
           WHERE repository = $1 AND issue = $2 AND route = $3""",
        *(*thread.key, error, due_at),
    )


async def next_due_s(connection: Connection, now: datetime) -> float | None:
    """In how many seconds a thread is due that no process works on, if there is one."""
    found: float | None = await connection.fetchval(
        f"""SELECT min(extract(epoch FROM greatest(
                due_at - $1, leased_until - clock_timestamp())))::float8
            FROM status_thread WHERE {_WAITS}""",
        now,
    )
    return found


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
