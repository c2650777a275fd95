"""What is kept of a Job while it works: it counts where its pod is lost before it has posted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from functions.events.agent import AgentUsage
from functions.events.job import JobCancelled, JobFact, JobFailed
from functions.job_grant import JobGrant
from functions.kit.durable import Connection

# A Job's end may be known before what its sidecar has posted at the end is here.
LOST_AFTER = timedelta(minutes=2)


@dataclass(frozen=True)
class Checkpoint:
    """What a Job has done, as an artifact, and used so far."""

    job_id: str
    artifact: str | None
    session: str
    usage: AgentUsage


async def take(tx: Connection, kept: Checkpoint, at: datetime, *, with_work: bool) -> bool:
    """Replace what is kept of a Job; False where it has posted its outputs.

    Without `with_work` its work stays as it is kept.
    """
    taken = await tx.fetchval(
        """INSERT INTO agent_checkpoint AS kept (job_id, artifact, session, usage, taken_at)
           SELECT $1, $2, $3, $4, $5
           WHERE NOT EXISTS (SELECT FROM agent_output WHERE job_id = $1 AND posted)
           ON CONFLICT (job_id) DO UPDATE
               SET bundle = CASE WHEN $6 THEN NULL ELSE kept.bundle END,
                   artifact = CASE WHEN $6 THEN excluded.artifact ELSE kept.artifact END,
                   session = excluded.session, usage = excluded.usage,
                   taken_at = excluded.taken_at
           RETURNING true""",
        *(kept.job_id, kept.artifact, kept.session, kept.usage.model_dump(mode="json"), at),
        with_work,
    )
    return bool(taken)


async def usage_of(tx: Connection, job_id: str) -> AgentUsage:
    """Return what a Job has used as far as it is kept, locked until the transaction ends."""
    found = await tx.fetchval(
        "SELECT usage FROM agent_checkpoint WHERE job_id = $1 FOR UPDATE", job_id
    )
    return AgentUsage.model_validate(found or {})


async def drop(tx: Connection, job_id: str) -> None:
    await tx.execute("DELETE FROM agent_checkpoint WHERE job_id = $1", job_id)


async def ended(tx: Connection, fact: JobFact, now: datetime) -> None:
    """A Job has ended: what is kept of it counts soon, unless it posts until then.

    A cancelled one may never have begun: it counts where something is kept.
    """
    due_at = now + LOST_AFTER
    await tx.execute(
        """INSERT INTO agent_output
               (job_id, repository, task_id, job_grant, bundle, artifact, session, usage, problems,
                received_at, due_at, posted)
           SELECT $1, $2, $3, $4, kept.bundle, kept.artifact,
               coalesce(kept.session, ''), coalesce(kept.usage, '{}'), $5, $6, $7, false
           FROM (SELECT) AS one LEFT JOIN agent_checkpoint AS kept ON kept.job_id = $1
           WHERE kept.job_id IS NOT NULL OR NOT $8
           ON CONFLICT (job_id) DO NOTHING""",
        fact.job_id,
        fact.repository,
        fact.task_id,
        _grant(fact).model_dump(mode="json"),
        [_why(fact)],
        now,
        due_at,
        isinstance(fact, JobCancelled),
    )
    await drop(tx, fact.job_id)


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
