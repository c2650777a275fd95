"""Apply outputs, one Job's after the other: lease a row, work without a transaction, settle.

Every step finds out by itself whether it was done, so that an attempt after a crash repeats none.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from functions.agent_outputs import artifacts, tables
from functions.agent_outputs.apply import (
    MAX_NAMES,
    Applied,
    Result,
    Unapplied,
    Unapproved,
    apply,
    given_up,
)
from functions.agent_outputs.settings import OutputsSettings
from functions.agent_outputs.tables import OutputRow
from functions.events.agent import (
    AboutAgentJob,
    AgentDelivered,
    AgentFact,
    AgentUndelivered,
    AgentUsage,
    AgentUsed,
)
from functions.events.approval import ApprovalDecided, ApprovalFact, ApprovalRequested, describe
from functions.events.base import Event
from functions.job_grant import JobGrant
from functions.kit import cloudevents
from functions.kit.context import Context
from functions.kit.contract import envelope
from functions.kit.durable import Connection, Key
from functions.kit.durable.backoff import backoff_s
from functions.kit.errors import TemporaryError, shortened
from functions.kit.process.background_work import BackgroundWork, LeasedWork
from functions.untrusted_text import publishable, redacted

logger = logging.getLogger(__name__)

EMITS: tuple[type[AboutAgentJob | ApprovalFact], ...] = (
    AgentUsed,
    AgentDelivered,
    AgentUndelivered,
    ApprovalRequested,
)


# Of one text in a list, in characters.
MAX_TEXT = 2000
# Attempts of which no process has reported the end: it was killed, as a rule for its memory.
MAX_UNENDED = 5
DROPS_EVERY = timedelta(hours=1)


class Applier(LeasedWork[OutputRow]):
    """The background work of one process: apply what is due, the oldest first."""

    rows = tables

    async def attempt(self, ctx: Context, row: OutputRow) -> None:
        try:
            if row.unended > MAX_UNENDED:
                why = (
                    f"{MAX_UNENDED} attempts ended with their process: it may need too much memory"
                )
                await _settle(ctx, row, given_up(row, why))
            else:
                if row.artifact:
                    row = replace(row, bundle=await _bundle(ctx, row.artifact))
                found = await apply(row, ctx.github, ctx.settings(OutputsSettings), ctx.store)
                await _settle(ctx, row, found)
        except TemporaryError as error:
            await _postpone(ctx, row, error.detail, error.delay_s)
        except Exception as error:
            logger.exception("outputs of %s", row.grant.job_id)
            await _postpone(ctx, row, f"{type(error).__name__}: {error}", 0)


class Dropper(BackgroundWork):
    """Drops bundles that are not needed any more, once an hour."""

    _due_at: datetime | None = None

    async def work(self, ctx: Context) -> None:
        if self._due_at is not None and ctx.now() < self._due_at:
            return
        self._due_at = ctx.now() + DROPS_EVERY
        if gone := await artifacts.drop_unused(ctx):
            logger.info("dropped %d bundles", gone)


async def _bundle(ctx: Context, name: str) -> bytes:
    """Read it, or wait where it is not there: outputs without their commits are another work."""
    found = await artifacts.load(ctx, name)
    if found is None:
        raise TemporaryError(f"the bundle {name} is not where it was stored", delay_s=60)
    return found


async def _postpone(ctx: Context, row: OutputRow, error: str, delay_s: float) -> None:
    """Leave the row for later, or give it up where it is too old for that."""
    now, settings = ctx.now(), ctx.settings(OutputsSettings)
    if now - (row.approved_at or row.received_at) > timedelta(hours=settings.outputs_give_up_hours):
        async with ctx.store.connection() as connection:
            read = await tables.get(connection, row.grant.job_id)
        row = replace(row, opened=read.opened if read else None)  # perhaps by this attempt
        return await _settle(ctx, row, given_up(row, shortened(error)))
    logger.warning("outputs of %s wait: %s", row.grant.job_id, error)
    due = now + timedelta(seconds=max(delay_s, backoff_s(row.attempts - 1)))
    async with ctx.store.connection() as connection:
        await tables.postpone(connection, row.grant.job_id, shortened(error), due)


async def decided(ctx: Context, tx: Connection, decision: ApprovalDecided) -> list[Event]:
    """Apply what a user has approved; return the event of what is not approved."""
    row = await tables.get(tx, decision.job_id)
    if row is None or row.state != "waiting" or row.result is None:
        return []
    if decision.decision == "approved":
        await tables.approve(tx, decision.job_id, ctx.now())
        return []
    asked, why = row.result, describe(decision.decision, decision.by, decision.reason)
    usage = AgentUsage.model_validate(asked["usage"])
    found = Unapplied("not_approved", [why], usage, asked["summary"])
    fact = _fact(ctx, row, found)
    stored = await tables.settle(tx, row, "undelivered", _result(fact), ctx.now(), before="waiting")
    return [fact] if stored else []


async def _settle(ctx: Context, row: OutputRow, found: Result) -> None:
    durable = ctx.resources.durable
    fact: AgentFact | ApprovalRequested
    async with ctx.store.transaction() as tx:
        state: tables.State
        if isinstance(found, Unapproved):
            fact, state, at = _approval_requested(ctx, row, found), "waiting", None
        else:
            fact, at = _fact(ctx, row, found), ctx.now()
            state = "delivered" if isinstance(found, Applied) else "undelivered"
        if not await tables.settle(tx, row, state, _result(fact), at):
            return
        entries = await durable.put(tx, ctx.function, sealed(ctx, fact))
    durable.deliver(entries)


def _result(fact: AgentFact | ApprovalRequested) -> dict[str, Any]:
    return fact.model_dump(mode="json", exclude={"correlation_id", "traceparent"})


def _published(row: OutputRow, texts: Iterable[str]) -> list[str]:
    """An agent's texts, or those that quote it, as they go into a fact and from there to GitHub."""
    return [publishable(text, row.grant.issue)[:MAX_TEXT] for text in texts]


def about(grant: JobGrant) -> dict[str, Any]:
    """Return the fields that all events of a Job have."""
    return {
        "correlation_id": grant.correlation_id,
        "traceparent": grant.traceparent,
        "job_id": grant.job_id,
        "task_id": grant.task_id,
        "route": grant.route,
        "repository": grant.repository,
        "issue": grant.issue,
    }


def _common(row: OutputRow, found: Result) -> dict[str, Any]:
    used = found.usage.max_with(row.usage)
    usage = used.model_copy(update={"session": used.session and redacted(used.session)})
    summary = publishable(found.summary, row.grant.issue)
    return {**about(row.grant), "usage": usage, "summary": summary}


def _approval_requested(ctx: Context, row: OutputRow, found: Unapproved) -> ApprovalRequested:
    files = list(found.work.diffstat) if found.work else []
    return ApprovalRequested(
        **_common(row, found),
        before="outputs",
        expires_at=ctx.now() + timedelta(seconds=row.grant.approval_s or 0),
        wants=[shortened(one, 500) for one in _published(row, found.wants)],
        commits=found.work.commits if found.work else 0,
        file_count=len(files),
        files=files[:MAX_NAMES],
    )


def _fact(ctx: Context, row: OutputRow, found: Applied | Unapplied) -> AgentFact:
    grant = row.grant
    common = _common(row, found) | {"settled_at": ctx.now()}
    if isinstance(found, Unapplied):
        details = _published(row, [*found.details, *row.problems])
        return AgentUndelivered(**common, reason=found.reason, details=details, kept=row.has_work)
    return AgentDelivered(
        **common,
        pull_request=found.pull_request,
        url=found.url,
        branch=grant.branch if found.pull_request else "",
        commits=found.commits,
        files=found.files,
        commented=found.commented,
        labels=found.labels,
        report=publishable(found.report, grant.issue),
        details=_published(row, found.details),
    )


def sealed(ctx: Context, fact: AboutAgentJob | ApprovalFact) -> list[cloudevents.Message]:
    """Return an event about a Job as it is sent."""
    cause = cloudevents.Message(fact.job_id, "/functions/job-launcher", "io.dsm.job.started.v1")
    return envelope.seal(
        fact,
        cause=cause,
        key=Key(ctx.function, "job", fact.identity() or fact.job_id),
        source="/functions/agent-outputs",
        emits=EMITS,
        overrides=ctx.resources.process.overrides,
        at=ctx.now(),
    )
