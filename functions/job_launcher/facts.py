"""The events of a Job, committed with the state change that they report."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from functions.events.approval import ApprovalDecided, ApprovalFact, ApprovalRequested, Stage
from functions.events.base import Event
from functions.events.job import (
    BudgetWarned,
    JobCancelled,
    JobFact,
    JobFailed,
    JobHeld,
    JobMoved,
    JobQueued,
    JobRecorded,
    JobStarted,
    JobSucceeded,
)
from functions.job_launcher.decide.budget import GroupBudget, Unit
from functions.job_launcher.decide.job_request import JobRequest
from functions.kit import cloudevents
from functions.kit.context import Context
from functions.kit.contract import envelope
from functions.kit.durable import Connection, Key
from functions.kit.telemetry import trace

EMITS: tuple[type[JobFact | ApprovalFact], ...] = (
    JobQueued,
    JobStarted,
    JobSucceeded,
    JobRecorded,
    JobFailed,
    JobCancelled,
    JobMoved,
    JobHeld,
    BudgetWarned,
    ApprovalRequested,
    ApprovalDecided,
)


def common_fields(request: JobRequest) -> dict[str, Any]:
    """Return the fields that all events of a Job have."""
    return {
        "job_id": request.job_id,
        "kind": request.kind,
        "task_id": request.task_id,
        "service": request.service,
        "group": request.group,
        "route": request.route,
        "repository": request.github or (request.workspace.repository if request.workspace else ""),
        "issue": request.issue,
        "gives_outputs": request.workspace is not None,
        "correlation_id": request.correlation_id,
        "traceparent": request.traceparent,
    }


def queued(request: JobRequest, place: int) -> JobQueued:
    cause = {
        "cause_id": request.cause_id,
        "cause_source": request.cause_source,
        "cause_type": request.cause_type,
    }
    return JobQueued(
        **common_fields(request), **cause, pull_request=request.pull_request, place=place
    )


def about(request: JobRequest, before: Stage) -> dict[str, Any]:
    """Return the fields that all events of an approval have."""
    names = ("job_id", "task_id", "route", "repository", "issue", "correlation_id", "traceparent")
    fields = common_fields(request)
    return {**{name: fields[name] for name in names}, "before": before}


def start_approval_requested(request: JobRequest, expires_at: datetime) -> ApprovalRequested:
    return ApprovalRequested(**about(request, "start"), expires_at=expires_at)


def held(request: JobRequest, reason: str, until: datetime) -> JobHeld:
    return JobHeld(**common_fields(request), reason=reason, until=until)


def budget_warned(request: JobRequest, budget: GroupBudget, unit: Unit) -> BudgetWarned:
    used, limit = budget.used[unit], budget.limits.limits[unit]
    fields = {"unit": unit, "used": used, "limit": limit, "day_ends_at": budget.ends_at}
    return BudgetWarned(**common_fields(request), **fields)


@dataclass
class Settlement:
    """A transaction, and the events of one Job that leave with its commit."""

    tx: Connection
    facts: list[Event] = field(default_factory=list)


@asynccontextmanager
async def settled(ctx: Context, request: JobRequest, stage: str = "") -> AsyncIterator[Settlement]:
    """Open a transaction; send its events after the commit, in the order of the Job's changes.

    `stage` distinguishes what happens to a Job more than once. Make no call to another service
    inside.
    """
    durable = ctx.resources.durable
    async with ctx.store.transaction() as tx:
        settlement = Settlement(tx)
        yield settlement
        messages = _sealed(ctx, request, stage, settlement.facts)
        entries = await durable.put(tx, ctx.function, messages)
    durable.deliver(entries)


def _sealed(
    ctx: Context, request: JobRequest, stage: str, facts: list[Event]
) -> list[cloudevents.Message]:
    """Each fact is true of a Job and stage once at most, so its id is derived from these."""
    cause = cloudevents.Message(request.cause_id, request.cause_source, request.cause_type)
    messages = envelope.seal(
        facts,
        cause=cause,
        key=Key(ctx.function, "job", f"{request.job_id} {stage}".rstrip()),
        source="/functions/job-launcher",
        emits=EMITS,
        overrides=ctx.resources.process.overrides,
        at=ctx.now(),
    )
    return trace.created(messages)
