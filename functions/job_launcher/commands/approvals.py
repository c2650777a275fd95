"""Approvals: what waits for a user, and what the user decides. Each is decided once.

start     the request stays in the queue, without a Job
outputs   the Job has ended, and agent-outputs holds what it has left

Users decide here for both; agent-outputs consumes the event of it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from functions.events.approval import ApprovalDecided, ApprovalRequested, Decision, describe
from functions.events.base import Event
from functions.job_launcher import facts
from functions.job_launcher.commands import job_commands
from functions.job_launcher.tables import JobRow, changes_row, row_of
from functions.kit import cloudevents
from functions.kit.context import Context
from functions.kit.durable import Connection, UserAction, record_action
from functions.kit.errors import shortened

_DETAILS = {"wants", "commits", "file_count", "files", "summary", "usage"}


async def outputs_wait(tx: Connection, request: ApprovalRequested) -> None:
    """Store that a Job's outputs wait, unless a user has decided already."""
    await tx.execute(
        """UPDATE job SET approval = 'outputs', approval_until = $2, approval_details = $3
           WHERE id = $1 AND approval IS NULL AND NOT approvals @> '[{"before": "outputs"}]'""",
        *(request.job_id, request.expires_at, request.model_dump(mode="json", include=_DETAILS)),
    )


async def decide(
    ctx: Context, tx: Connection, row: JobRow, decision: Decision, by: str, reason: str
) -> list[Event]:
    """Decide what a Job waits for; return the events, none where it waits for nothing any more."""
    at, before, reason = ctx.now(), row.approval, shortened(reason)
    made = {"before": before, "decision": decision, "by": by, "reason": reason}
    record = [{**made, "at": cloudevents.format_time(at)}]
    decided = before is not None and await changes_row(
        tx,
        """UPDATE job SET approval = NULL, approval_until = NULL, waits_since = $4,
                          approvals = approvals || $3::jsonb
           WHERE id = $1 AND approval = $2 RETURNING true""",
        *(row.id, before, record, at),
    )
    if before is None or not decided:
        return []
    done = UserAction(by, decision, f"{before} of job {row.id}", reason)
    await record_action(tx, ctx.function, done, at)
    fields = facts.about(row.request, before)
    events: list[Event] = [
        ApprovalDecided(**fields, decision=decision, by=by, reason=reason, decided_at=at)
    ]
    if before == "start" and decision != "approved":
        events += await job_commands.stop(ctx, tx, row, describe(decision, by, reason))
    return events


async def expire(ctx: Context) -> None:
    """Decide what waits for longer than its route lets it."""
    async with ctx.store.connection() as connection:
        rows = await _due(connection, ctx.now())
    for row in rows:
        async with facts.settled(ctx, row.request, stage_of(row)) as settlement:
            settlement.facts += await decide(ctx, settlement.tx, row, "expired", "", "")


def stage_of(row: JobRow) -> str:
    return f"approval {row.approval}"


async def _due(connection: Connection, at: datetime) -> list[JobRow]:
    found: list[Any] = await connection.fetch(
        "SELECT * FROM job WHERE approval IS NOT NULL AND approval_until <= $1 ORDER BY position",
        at,
    )
    return [row_of(row) for row in found]
