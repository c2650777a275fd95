"""A Job as the HTTP API returns it, with the reason of its state."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from functions.job_launcher import budget_usage, outcome, queue, tables
from functions.job_launcher.decide.due_requests import QueueDecision, decide_queue
from functions.job_launcher.decide.job_status import ENDED, QUEUED
from functions.job_launcher.settings import LauncherSettings
from functions.job_launcher.tables import JobRow
from functions.kit import cloudevents
from functions.kit.context import Context
from functions.kit.errors import NotFound


async def row_and_reason(ctx: Context, job_id: str) -> tuple[JobRow, str]:
    """Return a Job's row and the reason of its state."""
    async with ctx.store.connection() as connection:
        row = await find_row(connection, job_id)
        decision = await read_queue(ctx, connection)
    return row, reason_of(row, decision)


def describe(row: JobRow, decision: QueueDecision, *, with_report: bool = False) -> dict[str, Any]:
    """Return a Job as the API shows it.

    `outcome` and its `result` are as in `outcome`; both None as long as nothing came of it. `usage`
    is what its agent reports, `granted` what it may use of its group's budget.
    `approval` is what waits for a user, `start` or `outputs`, `approval_details` what the agent has
    made, and `approvals` are what users have decided.
    """
    request = row.request
    return {
        "job_id": row.id,
        "state": row.state,
        "outcome": outcome_of_row(row),
        "result": outcome.result(row.agent, with_report=with_report),
        "usage": dict(row.usage) if row.usage else None,
        "granted": dict(row.granted) if row.granted else None,
        "reason": reason_of(row, decision),
        "kind": request.kind,
        "task_id": request.task_id,
        "service": request.service,
        "repository": request.repository,
        "group": request.group,
        "route": request.route,
        "image": request.image,
        "cause": {
            "id": request.cause_id,
            "source": request.cause_source,
            "type": request.cause_type,
        },
        "approval": row.approval,
        "approval_until": _format_time(row.approval_until),
        "approval_details": dict(row.approval_details),
        "approvals": list(row.approvals),
        "queued_at": _format_time(row.queued_at),
        "launched_at": _format_time(row.launched_at),
        "started_at": _format_time(row.started_at),
        "ended_at": _format_time(row.ended_at),
        "superseded_by": row.superseded_by or row.ending.get("superseded_by"),
        # Of a Job that succeeded Kubernetes tells no more than that: its containers exited with 0.
        "exit_code": 0 if row.state == "succeeded" else row.ending.get("exit_code"),
        "pod_reason": row.ending.get("pod_reason"),
        "blocked": row.ending.get("blocked") or [],
        "last_lines": row.ending.get("log") or [],
    }


def outcome_of_row(row: JobRow) -> outcome.JobOutcome | None:
    """Return what came of a Job."""
    gives_outputs = row.request.workspace is not None
    return outcome.outcome_of(row.state, row.ending, row.agent, gives_outputs=gives_outputs)


def reason_of(row: JobRow, decision: QueueDecision) -> str:
    """Return why a Job waits, what keeps its pod from starting, or how it ended."""
    if row.cancel is not None and row.state not in ENDED:
        return f"to be stopped: {row.cancel}"
    if waiting := approval_reason(row):
        return waiting
    if row.state != QUEUED:
        return row.reason
    return decision.reasons.get(row.id) or row.reason or "due"


def approval_reason(row: JobRow) -> str:
    """Return what a Job waits for; empty where it waits for no user."""
    if row.approval is None or row.approval_until is None:
        return ""
    what = "it waits" if row.approval == "start" else "its outputs wait"
    return f"{what} for approval, until {cloudevents.format_time(row.approval_until)}"


async def read_queue(ctx: Context, connection: Any) -> QueueDecision:
    settings = ctx.settings(LauncherSettings)
    return decide_queue(
        await queue.queued_requests(connection),
        await queue.active_by_group(connection),
        settings.job_concurrency,
        ctx.now(),
        group_limit=settings.job_group_concurrency,
        budgets=await budget_usage.read(ctx, connection),
    )


async def find_row(connection: Any, job_id: str) -> JobRow:
    row = await tables.get(connection, job_id)
    if row is None:
        raise NotFound(f"no such job: {job_id}")
    return row


def _format_time(at: datetime | None) -> str | None:
    return cloudevents.format_time(at) if at else None
