"""The table of agents' outputs: one row for each Job, from its arrival to what came of it.

A row that is not `posted` is of a Job that ended without having posted anything. One that is
settled without a result ends the grant of a Job of which nothing is reported, and is not listed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from functions.agent_outputs.checkpoints import HAS_WORK, Checkpoint
from functions.events.agent import AgentUsage
from functions.job_grant import JobGrant
from functions.kit.durable import Connection, Leases, Rule, Store, rule

State = Literal["received", "waiting", "delivered", "undelivered"]


@dataclass(frozen=True)
class OutputRow:
    """A row; `bundle` only where it was asked for, and in its place `artifact` names it."""

    grant: JobGrant
    outputs: str | None
    bundle: bytes | None
    problems: list[str]
    prepared: bool
    approved_at: datetime | None
    posted: bool
    session: str
    # As its usage file has it, whatever the outputs have.
    usage: AgentUsage
    state: State
    result: Mapping[str, Any] | None
    attempts: int
    unended: int
    last_error: str
    received_at: datetime
    settled_at: datetime | None
    position: int
    has_work: bool
    opened: Mapping[str, Any] | None
    artifact: str | None

    @property
    def listed(self) -> bool:
        return self.settled_at is None or self.result is not None


_COLUMNS = f"""job_grant, outputs, problems, prepared, approved_at, posted, session, usage, state,
    result, attempts, unended, last_error, received_at, settled_at, position, opened,
    artifact, {HAS_WORK}"""


# Longer than any Job waits in a queue and works; its end makes what waits due.
RESTARTS_WITHIN = timedelta(days=60)
_WAITS = "agent_output.state = 'received' AND agent_output.posted AND agent_output.outputs IS NULL"

LEASES = Leases(
    "agent_output",
    key=("job_id",),
    open="state = 'received'",
    on_take="unended = unended + 1",
    on_keep="unended = CASE WHEN $1 > 0 THEN unended ELSE 0 END",
)
next_due_s = LEASES.next_due_s


def retention(days: int) -> tuple[Rule, ...]:
    return (
        rule("agent_output", "settled_at", days, "state IN ('delivered', 'undelivered')"),
        rule("agent_checkpoint", "taken_at", days),
        rule("agent_usage", "reported_at", days),
    )


async def insert(
    tx: Connection,
    grant: JobGrant,
    outputs: str | None,
    left: Checkpoint,
    problems: list[str],
    at: datetime,
    *,
    prepared: bool,
    may_restart: bool = False,
) -> bool:
    """Keep what a Job has left; False where it has come before.

    What comes late replaces that nothing had come. With `may_restart`, what comes without outputs
    waits for the Job's end, or for what comes of its next pod.
    """
    found = await tx.fetchval(
        f"""INSERT INTO agent_output
               (job_id, repository, task_id, job_grant, outputs, artifact, problems, received_at,
                due_at, prepared, session, usage, has_work)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $12, $9, $10, $11, $13)
           ON CONFLICT (job_id) DO UPDATE
               SET job_grant = excluded.job_grant, outputs = excluded.outputs,
                   bundle = NULL, artifact = excluded.artifact, has_work = excluded.has_work,
                   problems = excluded.problems,
                   received_at = excluded.received_at, due_at = CASE
                       WHEN agent_output.posted THEN excluded.due_at ELSE excluded.received_at END,
                   prepared = excluded.prepared, session = excluded.session,
                   usage = agent_output.usage || jsonb_strip_nulls(excluded.usage), posted = true,
                   unended = 0,
                   state = 'received', result = NULL, settled_at = NULL, attempts = 0
               WHERE NOT agent_output.posted
               OR ({_WAITS} AND agent_output.due_at > excluded.received_at)
           RETURNING true""",
        grant.job_id,
        grant.repository,
        grant.task_id,
        grant.model_dump(mode="json"),
        outputs,
        left.artifact,
        problems,
        at,
        prepared,
        left.session,
        left.usage.model_dump(mode="json"),
        at + RESTARTS_WITHIN if may_restart and outputs is None else at,
        left.has_work,
    )
    return bool(found)


async def restart(tx: Connection, job_id: str, at: datetime) -> None:
    """Keep what a Job's pod has left without outputs as its checkpoint: its next pod begins."""
    await tx.execute(
        f"""WITH gone AS (DELETE FROM agent_output
                WHERE job_id = $1 AND {_WAITS} AND due_at > $2 RETURNING *)
            INSERT INTO agent_checkpoint
                (job_id, bundle, artifact, has_work, session, usage, taken_at)
            SELECT job_id, bundle, artifact, has_work, session, usage, $2 FROM gone
            ON CONFLICT (job_id) DO UPDATE SET bundle = excluded.bundle,
                artifact = excluded.artifact, has_work = excluded.has_work,
                session = excluded.session, usage = excluded.usage,
                taken_at = excluded.taken_at""",
        *(job_id, at),
    )


async def get(connection: Connection, job_id: str) -> OutputRow | None:
    row = await connection.fetchrow(
        f"SELECT {_COLUMNS}, NULL::bytea AS bundle FROM agent_output WHERE job_id = $1", job_id
    )
    return _row(row) if row else None


async def bundle_of(connection: Connection, job_id: str) -> tuple[bytes | None, str | None]:
    """A Job's bundle, or the name of its artifact; neither where it has none."""
    row = await connection.fetchrow(
        "SELECT bundle, artifact FROM agent_output WHERE job_id = $1", job_id
    )
    return (row["bundle"], row["artifact"]) if row else (None, None)


@dataclass(frozen=True)
class Kept:
    """What a Job's pod has left: commits and changes, the id of its session."""

    job_id: str
    bundle: bytes | None
    artifact: str | None
    session: str


async def kept_of_job(connection: Connection, job_id: str) -> Kept | None:
    """What a Job's next pod goes on from: what is kept of those before."""
    row = await connection.fetchrow(
        """SELECT job_id, bundle, artifact, session FROM agent_checkpoint
           WHERE job_id = $1 AND (bundle IS NOT NULL OR artifact IS NOT NULL OR session <> '')""",
        job_id,
    )
    return Kept(**row) if row else None


async def kept_of(
    connection: Connection, repository: str, task_id: str, before: str
) -> Kept | None:
    """What the next Job of a task, `before`, goes on from; None where all was delivered.

    What a rule or a user refused is begun anew: it would be refused again.
    """
    row = await connection.fetchrow(
        """SELECT job_id, bundle, artifact,
               coalesce(nullif(session, ''), result->'usage'->>'session', '') AS session
           FROM agent_output AS one
           WHERE repository = $1 AND task_id = $2 AND job_id <> $3
             AND state IN ('received', 'undelivered')
             AND coalesce(result->>'reason', '') NOT IN ('refused', 'not_approved')
             AND (bundle IS NOT NULL OR artifact IS NOT NULL OR session <> '')
             AND NOT EXISTS (SELECT FROM agent_output AS later
                 WHERE later.repository = $1 AND later.task_id = $2
                   AND later.state = 'delivered' AND later.position > one.position)
           ORDER BY position DESC LIMIT 1""",
        *(repository, task_id, before),
    )
    return Kept(**row) if row else None


async def page(
    connection: Connection,
    state: str | None,
    repository: str | None,
    before: int | None,
    limit: int,
) -> list[OutputRow]:
    """Newest first."""
    rows = await connection.fetch(
        f"""SELECT {_COLUMNS}, NULL::bytea AS bundle FROM agent_output
            WHERE ($1::text IS NULL OR state = $1) AND ($2::text IS NULL OR repository = $2)
            AND ($3::bigint IS NULL OR position < $3)
            AND (settled_at IS NULL OR result IS NOT NULL) ORDER BY position DESC LIMIT $4""",
        *(state, repository, before, limit),
    )
    return [_row(row) for row in rows]


async def lease(tx: Connection, now: datetime, seconds: float) -> OutputRow | None:
    row = await LEASES.take(tx, now, seconds, f"{_COLUMNS}, bundle")
    return _row(row) if row else None


async def keep(store: Store, row: OutputRow, seconds: float) -> None:
    await LEASES.keep(store, (row.grant.job_id,), seconds)


async def postpone(connection: Connection, job_id: str, error: str, due_at: datetime) -> None:
    await connection.execute(
        """UPDATE agent_output SET due_at = $3, last_error = $2, leased_until = NULL,
               unended = 0
           WHERE job_id = $1 AND state = 'received'""",
        *(job_id, error, due_at),
    )


async def opened(store: Store, job_id: str, pull_request: Mapping[str, Any]) -> None:
    """Store the pull request that is open, whatever becomes of the rest."""
    async with store.connection() as connection:
        await connection.execute(
            "UPDATE agent_output SET opened = $2 WHERE job_id = $1", job_id, dict(pull_request)
        )


async def settle(
    tx: Connection,
    row: OutputRow,
    state: State,
    result: Mapping[str, Any],
    at: datetime | None,
    *,
    before: State = "received",
) -> bool:
    """Store what came of a row as it was read, `at` None where it waits for a user's approval;
    False where it is not in the state `before` any more, or was posted or tried since."""
    found = await tx.fetchval(
        """UPDATE agent_output SET state = $2, result = $3, settled_at = $4, leased_until = NULL,
               last_error = ''
           WHERE job_id = $1 AND state = $5 AND posted = $6 AND attempts = $7 RETURNING true""",
        *(row.grant.job_id, state, dict(result), at, before, row.posted, row.attempts),
    )
    return bool(found)


async def approve(tx: Connection, job_id: str, at: datetime) -> None:
    """Let what waits be applied."""
    await tx.execute(
        """UPDATE agent_output SET state = 'received', approved_at = $2, due_at = $2, attempts = 0,
               unended = 0
           WHERE job_id = $1 AND state = 'waiting'""",
        *(job_id, at),
    )


async def count_waiting(connection: Connection, now: datetime) -> tuple[int, float]:
    """How many wait to be applied, and the oldest's age in seconds; not what waits for a Job."""
    row = await connection.fetchrow(
        """SELECT count(*) AS count,
               coalesce(extract(epoch FROM now() - min(received_at)), 0)::float8 AS oldest_s
           FROM agent_output WHERE state = 'received' AND (outputs IS NOT NULL OR due_at <= $1)""",
        now,
    )
    assert row is not None, "an aggregate has one row"
    return row["count"], row["oldest_s"]


def _row(row: Any) -> OutputRow:
    values = {name: row[name] for name in OutputRow.__dataclass_fields__ if name != "grant"}
    values["usage"] = AgentUsage.model_validate(row["usage"])
    return OutputRow(grant=JobGrant.model_validate(row["job_grant"]), **values)
