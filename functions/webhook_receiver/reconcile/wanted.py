"""Which events of GitHub are consumed: by job-launcher's routes, and a setting."""

from __future__ import annotations

from pydantic import BaseModel

from functions.kit.clients import ServiceClient
from functions.kit.context import Context
from functions.webhook_receiver.launcher import NAME
from functions.webhook_receiver.reconcile_settings import ReconcileSettings
from functions.webhook_receiver.senders.issue_state import KINDS, Kind
from functions.webhook_receiver.settings import ReceiverSettings


class _Match(BaseModel):
    type: list[str]
    label: list[str] = []


class _Route(BaseModel):
    match: _Match
    job: bool


class _Routes(BaseModel):
    routes: list[_Route]


async def wanted_types(ctx: Context) -> list[str]:
    """Types of events, with `*` at the end for any that begins so."""
    types = [one for route in await _routes(ctx) for one in route.match.type]
    return [*types, *ctx.settings(ReconcileSettings).wanted_types]


async def wanted_labels(ctx: Context) -> dict[str, list[Kind]]:
    """The labels that make a request, each with what has to have it: that is to be worked on."""
    found: dict[str, list[Kind]] = {}
    for route in await _routes(ctx):
        kinds = [kind for type_, kind in KINDS.items() if type_ in route.match.type]
        for label in route.match.label:
            if not label.endswith("*"):
                known = found.setdefault(label, []) if kinds else []
                known += [kind for kind in kinds if kind not in known]
    return found


async def _routes(ctx: Context) -> list[_Route]:
    client = ServiceClient(NAME, ctx.settings(ReceiverSettings).job_launcher_url, ctx.http)
    return [route for route in (await client.get("/routes", _Routes)).routes if route.job]
