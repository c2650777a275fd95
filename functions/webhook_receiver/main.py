"""Prove who calls, store, acknowledge, and say as events what happened.

in      POST /webhook/{github,grafana,pm,cli}; ScheduleDue(schedule="webhook-relay")
out     GithubEvent, GrafanaNotified, TaskRequested, TaskUpdateRequested, JobCancelRequested,
        JobRetryRequested
asks    job-launcher, for what agents and users want to read; GitHub and Grafana, for what they say
        happened and never reached us (`reconcile`)
fails   503 while the database is away: nothing was acknowledged; the broker may be away for days
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions.events.schedule import ScheduleDue
from functions.events.webhook import (
    GithubEvent,
    GrafanaNotified,
    JobCancelRequested,
    JobRetryRequested,
    TaskRequested,
    TaskUpdateRequested,
)
from functions.kit.clients.off_loop import off_loop
from functions.kit.context import Context
from functions.kit.contract import function
from functions.kit.contract.decorator import route
from functions.kit.durable import Rule
from functions.kit.errors import NotFound
from functions.kit.settings import BadSetting
from functions.webhook_receiver import deliveries, tables
from functions.webhook_receiver.acceptance import accept
from functions.webhook_receiver.decide import Question
from functions.webhook_receiver.gauges import gauges
from functions.webhook_receiver.github_actor import NO_CREDENTIALS
from functions.webhook_receiver.intake import SOURCES, Arrival, Source
from functions.webhook_receiver.launcher import ask, check_retry, what_it_cancels
from functions.webhook_receiver.reconcile import health as lost
from functions.webhook_receiver.reconcile import rounds
from functions.webhook_receiver.refusals import Malformed, NotConfigured
from functions.webhook_receiver.state import Receiver

logger = logging.getLogger(__name__)


async def receive(request: Request, ctx: Context) -> Response:
    """Acknowledge a delivery once it is stored, or answer a question."""
    name = request.path_params["source"]
    if name not in SOURCES:
        raise NotFound(f"no such source: there are {', '.join(SOURCES)}")
    receiver = ctx.part(Receiver)
    settings = receiver.settings
    proven = bool(settings.secrets[name])
    if not proven and not settings.allow_unsigned:
        raise NotConfigured(f"{name} is not configured: set {name.upper()}_WEBHOOK_SECRETS")
    # A plain dictionary: Starlette's headers are searched from the start at each look.
    headers = {n.decode("latin-1"): v.decode("latin-1") for n, v in request.scope["headers"]}
    source = SOURCES[name]
    # Refused for a missing or stale proof before a stranger's megabytes are read.
    proof = source.prove(settings, headers, ctx.now()) if proven else None
    max_bytes = min(settings.max_body_bytes, source.max_bytes)
    setting = "MAX_BODY_BYTES" if max_bytes == settings.max_body_bytes else ""
    async with receiver.uploads.received(request, max_bytes, proof, setting=setting) as upload:
        if proof is None:
            logger.warning("ALLOW_UNSIGNED: nobody proved this request of %s", name)
        async with upload.whole() as body:
            return await _take(source, Arrival(headers, body, ctx.now()), ctx)


async def _take(source: Source, arrival: Arrival, ctx: Context) -> Response:
    """Acknowledge or answer what has proved whose it is."""
    settings = ctx.part(Receiver).settings
    found = await off_loop(len(arrival.body), source.read, arrival)
    if isinstance(found, Question):
        return await ask(ctx.http, settings.job_launcher_url, found)
    _check_agent(found, settings.agents)
    about = await _about(found, ctx)
    new = await accept(found, ctx)
    return JSONResponse(_acknowledgement(found, about, repeated=not new), 202)


async def start(ctx: Context) -> None:
    """Log which sources are configured."""
    try:
        tempfile.gettempdir()
    except FileNotFoundError:
        raise BadSetting("no folder takes large bodies: mount a writable one at /tmp") from None
    rounds.check(ctx)
    receiver = ctx.part(Receiver)
    sources = receiver.settings.sources()
    logger.info("sources", extra={"fields": dict(sources)})
    if sources["github"] == "configured" and not ctx.asks_github:
        logger.warning("%s: routes with `actor` start nothing", NO_CREDENTIALS)
    if receiver.settings.allow_unsigned:
        logger.warning("ALLOW_UNSIGNED is set: ANYBODY can start agents. Never do this in public.")


def retention(ctx: Context) -> Sequence[Rule]:
    """Deliveries are forgotten once no sender repeats them; so is what comparisons found."""
    days = ctx.part(Receiver).settings.delivery_retention_days
    return (tables.retention(days), *rounds.retention(ctx))


@function(
    emits=[
        GithubEvent,
        GrafanaNotified,
        TaskRequested,
        TaskUpdateRequested,
        JobCancelRequested,
        JobRetryRequested,
    ],
    schedules=["webhook-relay"],
    recorded=True,
    routes=[
        route("/webhook/{source}", receive, methods=["POST"], bounds_body=True),
        route("/deliveries", deliveries.listing),
        route("/deliveries/health", lost.health),
        route("/deliveries/redeliver", deliveries.redeliver_all, methods=["POST"]),
        route("/deliveries/{id}/redeliver", deliveries.redeliver, methods=["POST"]),
    ],
    start=start,
    health=lost.configured,
    gauges=gauges,
    retention=retention,
    ad_hoc=False,
    public=["/webhook/", "/deliveries"],
    proven=["/webhook/", "/deliveries"],
)
async def webhook_receiver(event: ScheduleDue, ctx: Context) -> None:
    """Send what is still unsent: no process may be awake for that since another died."""
    await ctx.part(Receiver).ledger.take_over()
    await ctx.resources.durable.relay.sweep()
    await rounds.compare(ctx, ctx.resources.process.timeout_seconds * 0.3)


def _check_agent(found: tables.Delivery, served: Sequence[str]) -> None:
    if found.type != TaskRequested.type:
        return
    agent = TaskRequested.model_validate_json(found.data).agent_type
    if agent is not None and agent not in served:
        raise Malformed(f"agent_type: no route serves {agent}: there are {', '.join(served)}")


async def _about(found: tables.Delivery, ctx: Context) -> str:
    """What a cancellation stops; what was accepted before is not asked about again.

    `NotFound` or `Conflict` where there is nothing to cancel or to retry.
    """
    if found.type not in (JobCancelRequested.type, JobRetryRequested.type):
        return ""
    async with ctx.store.connection() as connection:
        if await tables.is_known(connection, found):
            return ""
    settings = ctx.part(Receiver).settings
    if found.type == JobRetryRequested.type:
        again = JobRetryRequested.model_validate_json(found.data)
        await check_retry(ctx.http, settings.job_launcher_url, again)
        return ""
    wanted = JobCancelRequested.model_validate_json(found.data)
    return await what_it_cancels(ctx.http, settings.job_launcher_url, wanted)


def _acknowledgement(found: tables.Delivery, about: str, *, repeated: bool) -> dict[str, Any]:
    message = "pong" if found.type == "com.github.ping" else about or "accepted"
    answer: dict[str, Any] = {
        "accepted": True,
        "id": found.id,
        "repeated": repeated,
        "message": "this delivery was accepted before" if repeated else message,
    }
    if found.source in ("pm", "cli"):
        task = found.attributes.get("subject") if found.type != JobCancelRequested.type else None
        answer |= {"task_id": task, "job_ids": []}
    return answer
