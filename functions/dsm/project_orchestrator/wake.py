"""The tick of each minute wakes a process, whose relay does what a dead one has left."""

from __future__ import annotations

import json
from functools import partial

from functions.dsm.project_orchestrator import orchestration, outgoing
from functions.dsm_client import dsm
from functions.kit import cloudevents
from functions.kit.context import Context, Resources
from functions.kit.contract import on_tick

SCHEDULES = ("decision-outbox",)
NOTE_S = 30.0  # a chronicle may have to start from zero


async def start(ctx: Context) -> None:
    """Begin with what an earlier process left."""
    ctx.part(Calls).relay.start()


async def sweep(ctx: Context) -> None:
    """Look for what is unsent."""
    await start(ctx)
    await ctx.part(Calls).relay.sweep()


consume = on_tick(SCHEDULES, sweep)


class Calls:
    """How each call is made."""

    def __init__(self, resources: Resources) -> None:
        ctx = Context(resources, "project_orchestrator", resources.now)
        self.relay = resources.durable.relay
        calls = {
            outgoing.NOTE: partial(_write_note, ctx),
            outgoing.CARRY_OUT: partial(_carry_out, ctx),
        }
        self.relay.makes(ctx.function, calls)


async def _write_note(ctx: Context, call: cloudevents.Message) -> None:
    await dsm(ctx).chronicle.note(
        outgoing.NOTE, json.loads(call.data), key=call.id, timeout_s=NOTE_S
    )


async def _carry_out(ctx: Context, call: cloudevents.Message) -> None:
    """Do again what the request has asked for: what was done of it stays as it is."""
    asked = json.loads(call.data)
    options = orchestration.Options.model_validate(asked["options"])
    await orchestration.orchestrate(ctx, asked["project_id"], options, asked["request"])
