"""What is kept of a Job while it works: it counts where its pod is lost before it has posted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from functions.events.agent import AgentUsage
from functions.events.job import NEVER_RAN, JobCancelled, JobFact, JobFailed
from functions.job_grant import JobGrant
from functions.kit.durable import Connection

# Of a row from before there was such a column, all that is kept is work.
HAS_WORK = "coalesce(has_work, artifact IS NOT NULL OR bundle IS NOT NULL) AS has_work"
# A Job's end may be known before what its sidecar has posted at the end is here.
LOST_AFTER = timedelta(minutes=2)
_COLUMNS = f"artifact, {HAS_WORK}, session, usage"


@dataclass(frozen=True)
class Checkpoint:
    """What a Job has done, as an artifact, and used so far.

    Without `has_work` the artifact has no commits and no changes, but what its agent keeps.
    """

    job_id: str
    artifact: str | None
    has_work: bool
    session: str
    usage: AgentUsage


async def take(tx: Connection, kept: Checkpoint, at: datetime, *, with_work: bool) -> bool:
    """Replace what is kept of a Job; False where it has posted its outputs.

    Without `with_work` its work stays as it is kept.
    """
    taken = await tx.fetchval(
        """INSERT INTO agent_checkpoint AS kept
               (job_id, artifact, session, usage, taken_at, has_work)
           SELECT $1, $2, $3, $4, $5, $7
           WHERE NOT EXISTS (SELECT FROM agent_output WHERE job_id = $1 AND posted)
           ON CONFLICT (job_id) DO UPDATE
               SET bundle = CASE WHEN $6 THEN NULL ELSE kept.bundle END,
                   artifact = CASE WHEN $6 THEN excluded.artifact ELSE kept.artifact END,
                   has_work = CASE WHEN $6 THEN excluded.has_work ELSE kept.has_work END,
                   session = excluded.session, usage = excluded.usage,
                   taken_at = excluded.taken_at
           RETURNING true""",
        *(kept.job_id, kept.artifact, kept.session, kept.usage.model_dump(mode="json"), at),
        *(with_work, kept.has_work),
    )
    return bool(taken)


async def locked(tx: Connection, job_id: str) -> Checkpoint:
    """Return what is kept of a Job, locked until the transaction ends; an empty one of nothing."""
    row = await tx.fetchrow(
        f"SELECT {_COLUMNS} FROM agent_checkpoint WHERE job_id = $1 FOR UPDATE", job_id
    )
    return _checkpoint(job_id, row)


async def drop(tx: Connection, job_id: str) -> Checkpoint:
    """Forget what is kept of a Job, and return it; an empty one of nothing.

    Before its outputs are stored, as `ended` does: the other order would be a deadlock with it.
    """
    row = await tx.fetchrow(
        f"DELETE FROM agent_checkpoint WHERE job_id = $1 RETURNING {_COLUMNS}", job_id
    )
    return _checkpoint(job_id, row)


async def ended(tx: Connection, fact: JobFact, now: datetime) -> None:
    """A Job has ended: what is kept of it counts soon, unless it posts until then.

    One that was cancelled or never ran counts where something is kept. Otherwise its row is settled
    as it is, which ends its grant, and nothing is reported. What has waited for a next pod is due.
    """
    due_at = now + LOST_AFTER
    await tx.execute(
        """WITH kept AS (DELETE FROM agent_checkpoint WHERE job_id = $1 RETURNING *)
           INSERT INTO agent_output
               (job_id, repository, task_id, job_grant, bundle, artifact, has_work, session, usage,
                problems, received_at, due_at, posted, state, settled_at)
           SELECT $1, $2, $3, $4, kept.bundle, kept.artifact, kept.has_work,
               coalesce(kept.session, ''), coalesce(kept.usage, '{}'), $5, $6, $7, false,
               CASE WHEN kept.job_id IS NULL AND $8 THEN 'undelivered' ELSE 'received' END,
               CASE WHEN kept.job_id IS NULL AND $8 THEN $6::timestamptz END
           FROM (SELECT) AS one LEFT JOIN kept ON true
           ON CONFLICT (job_id) DO UPDATE SET due_at = excluded.received_at
               WHERE agent_output.state = 'received' AND agent_output.posted
               AND agent_output.outputs IS NULL AND agent_output.due_at > excluded.received_at""",
        fact.job_id,
        fact.repository,
        fact.task_id,
        _grant(fact).model_dump(mode="json"),
        [_why(fact)],
        now,
        due_at,
        isinstance(fact, JobCancelled)
        or (isinstance(fact, JobFailed) and fact.reason in NEVER_RAN),
    )


def _checkpoint(job_id: str, row: Any) -> Checkpoint:
    if row is None:
        return Checkpoint(job_id, None, False, "", AgentUsage())
    usage = AgentUsage.model_validate(row["usage"])
    return Checkpoint(job_id, row["artifact"], row["has_work"], row["session"], usage)


def _grant(fact: JobFact) -> JobGrant:
    """As far as the fact knows it: nothing of such a Job is applied."""
    return JobGrant(
        job_id=fact.job_id,
        task_id=fact.task_id,
        route=fact.route,
        repository=fact.repository,
        issue=fact.issue,
        correlation_id=fact.correlation_id,
        traceparent=fact.traceparent,
    )


def _why(fact: JobFact) -> str:
    if isinstance(fact, JobFailed):
        return fact.why()
    return f"cancelled: {fact.reason}" if isinstance(fact, JobCancelled) else "its pod has ended"
