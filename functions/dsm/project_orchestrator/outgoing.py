"""What must happen whoever dies: a decision is carried out, and it is put into the chronicle.

Both are calls in the outbox. The first is committed with the decision and taken back once that is
carried out: only where the process has died meanwhile, or a service was away, does a relay make it.
"""

from __future__ import annotations

from typing import Any

from functions.kit.context import Context
from functions.kit.durable import Connection, call_of, outbox

NOTE, CARRY_OUT = "decision_audit", "carry_out"


def _key(project_id: str, request: str) -> str:
    return f"request {request} of {project_id}"


async def is_begun(
    tx: Connection, ctx: Context, project_id: str, request: str, options: dict[str, Any]
) -> None:
    """A decision is about to be carried out; the last statement of its transaction."""
    body = {"project_id": project_id, "request": request, "options": options}
    call = call_of(ctx.function, CARRY_OUT, _key(project_id, request), body)
    # Leased to this process, which does not deliver it: it carries the decision out itself.
    await ctx.resources.durable.put(tx, ctx.function, [call], is_call=True)


async def is_done(tx: Connection, project_id: str, request: str) -> None:
    """There is nothing left to carry out."""
    await outbox.withdraw_all(tx, _key(project_id, request))
