"""Decisions in the chronicle: each as one note, which leaves by the outbox."""

from __future__ import annotations

from typing import Any

from functions.dsm.project_orchestrator import outgoing
from functions.dsm_client import dsm
from functions.kit.context import Context
from functions.kit.durable import call_of, outbox

NOTED_S = 1.5  # a request waits so long; it must not outlast its caller's timeout


async def record(
    ctx: Context,
    project_id: str,
    request: str,
    sprint_id: str | None,
    decision: dict[str, Any],
    key: str,
) -> list[str]:
    """Have the decision put into the chronicle, instead of carried out by another process; a
    chronicle that is away is a warning."""
    body = {
        "audit_id": key,
        "project_id": project_id,
        "sprint_id": sprint_id,
        "timestamp": decision["decided_at"],
        "base_decision": {"action": decision["action"]},
        "final_decision": {"action": decision["action"]},
        "combined_reasoning": decision["reasoning"],
        "correlation_id": key,
    }
    in_order = f"decisions of {project_id}"
    call = call_of(ctx.function, outgoing.NOTE, in_order, body, id=key)
    durable, chronicle = ctx.resources.durable, dsm(ctx).chronicle.name
    async with ctx.store.transaction() as tx:
        await outgoing.is_done(tx, project_id, request)
        entries = await durable.put(tx, ctx.function, [call], is_call=True)
    durable.deliver(entries)
    late = await durable.relay.until_sent(in_order, NOTED_S, chronicle)
    refused = await outbox.refusals(ctx.store, [entry.number for entry in entries])
    missing = [*refused, *([late] if late else [])]
    return [f"The decision is not in the chronicle yet: {detail}" for detail in missing]
