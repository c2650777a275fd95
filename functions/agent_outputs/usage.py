"""What a Job has used: of each of its pods the largest report, and the sum of these."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from functools import reduce

from functions.events.agent import AgentUsage
from functions.kit.durable import Connection


async def report(
    tx: Connection, job_id: str, pod: str, usage: AgentUsage, at: datetime
) -> tuple[AgentUsage, AgentUsage]:
    """Store what a pod has used; return what its Job had used before, and has now.

    A report that is repeated, or overtaken by a later one, changes nothing. The Job's row is locked
    until the transaction ends, so that of two pods each sum has both.
    """
    stored = await tx.fetchval(
        """INSERT INTO agent_usage (job_id, pods, reported_at) VALUES ($1, '{}', $2)
           ON CONFLICT (job_id) DO UPDATE SET reported_at = excluded.reported_at
           RETURNING pods""",
        *(job_id, at),
    )
    pods = {name: AgentUsage.model_validate(one) for name, one in stored.items()}
    before = _sum(pods.values())
    pods[pod] = usage.max_with(pods.get(pod, AgentUsage()))
    await tx.execute(
        "UPDATE agent_usage SET pods = $2 WHERE job_id = $1",
        *(job_id, {name: one.model_dump(mode="json") for name, one in pods.items()}),
    )
    after = _sum(pods.values())
    return before, after.model_copy(update={"session": usage.session or after.session})


def _sum(usages: Iterable[AgentUsage]) -> AgentUsage:
    return reduce(AgentUsage.plus, usages, AgentUsage())
