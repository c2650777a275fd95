"""Decisions in the chronicle: each as one note, which leaves by the outbox."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

from functions.dsm_client import dsm
from functions.kit import cloudevents
from functions.kit.context import Context, Resources
from functions.kit.durable import call_of, outbox

KIND = "decision_audit"
NOTED_S = 1.5  # a request waits so long; it must not outlast its caller's timeout
NOTE_S = 30.0  # a chronicle may have to start from zero


async def record(
    ctx: Context, project_id: str, sprint_id: str | None, decision: dict[str, Any], key: str
) -> list[str]:
    """Have the decision put into the chronicle; one that is away is a warning."""
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
    call = call_of(ctx.function, KIND, in_order, body, id=key)
    durable, chronicle = ctx.resources.durable, dsm(ctx).chronicle.name
    relay = ctx.part(_Calls).relay
    async with ctx.store.transaction() as tx:
        entries = await durable.put(tx, ctx.function, [call], is_call=True)
    durable.deliver(entries)
    late = await relay.until_sent(in_order, NOTED_S, chronicle)
    refused = await outbox.refusals(ctx.store, [entry.number for entry in entries])
    missing = [*refused, *([late] if late else [])]
    return [f"The decision is not in the chronicle yet: {detail}" for detail in missing]


async def start(ctx: Context) -> None:
    """Begin with the notes that an earlier process left."""
    ctx.part(_Calls).relay.start()


class _Calls:
    """How a decision is put into the chronicle."""

    def __init__(self, resources: Resources) -> None:
        ctx = Context(resources, "project_orchestrator")
        self.relay = resources.durable.relay
        self.relay.makes(ctx.function, {KIND: partial(_write_note, ctx)})


async def _write_note(ctx: Context, call: cloudevents.Message) -> None:
    await dsm(ctx).chronicle.note(KIND, json.loads(call.data), key=call.id, timeout_s=NOTE_S)
