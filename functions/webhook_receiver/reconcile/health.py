"""Is everything here that the sources made? By hook, with what is not, and until when it can be."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions.kit import cloudevents
from functions.kit.context import Context
from functions.kit.contract import callers
from functions.kit.contract.cross_origin import is_from_outside
from functions.webhook_receiver.deliveries import prove
from functions.webhook_receiver.github_actor import NO_CREDENTIALS
from functions.webhook_receiver.reconcile import comparison, hook_tables, messages
from functions.webhook_receiver.reconcile.alerts import NAME
from functions.webhook_receiver.reconcile.comparison import Comparison
from functions.webhook_receiver.reconcile.issues import name_of
from functions.webhook_receiver.reconcile_settings import (
    ReconcileSettings,
    compares_alerts,
    compares_hooks,
    compares_issues,
)
from functions.webhook_receiver.state import Receiver

DAY = timedelta(days=1)
MAX_SHOWN = 200


async def health(request: Request, ctx: Context) -> Response:
    """`GET /deliveries/health`: to the cluster; from outside to those who may see deliveries."""
    if is_from_outside(request.scope, ctx.resources.process.cluster_domain):
        prove(request, ctx)
    elif (answer := await callers.refused(request.scope, ctx)) is not None:
        return answer
    return JSONResponse(await status(ctx))


def configured(ctx: Context) -> Mapping[str, object]:
    """Which sources are configured, and whether GitHub is asked who may do what."""
    actors = "asked of GitHub" if ctx.asks_github else f"unknown: {NO_CREDENTIALS}"
    return {"sources": ctx.part(Receiver).settings.sources(), "actors": actors}


async def status(ctx: Context) -> dict[str, Any]:
    """How the last day stands, hook by hook, and each delivery that is not here."""
    settings = ctx.settings(ReconcileSettings)
    async with ctx.store.connection() as connection:
        compared = await comparison.every(connection)
        counts = await hook_tables.counts(connection, ctx.now() - DAY)
        troubled = await hook_tables.troubled(connection, MAX_SHOWN)
    keeps = timedelta(days=settings.github_delivery_retention_days)
    shown = [_delivery(row, keeps) for row in troubled]
    hooks = []
    for name in hook_names(ctx):
        found = asdict(counts.get(name, hook_tables.Counts()))
        until = min(
            (row["until"] for row in shown if row["hook"] == name and row["state"] == "missing"),
            default="",
        )
        known = compared.get(name)
        message = messages.of_hook(found, until, known.problem) if known else messages.NOT_YET
        if known and (gap := known.memory.get("forgotten")):
            message = f"{message} {messages.forgotten(*gap)}"
        hooks.append({"name": name, "message": message, **found, **_status(known)})
    issues = []
    for name in issue_names(ctx):
        known = compared.get(name)
        message = messages.of_issues(known.memory, known.problem) if known else messages.NOT_YET
        issues.append({"name": name, "message": message, **_status(known)})
    if hooks and not issues:
        problem = {"problem": "GITHUB_REPOSITORIES is not set"}
        unknown = {"name": "issues", "message": messages.NO_REPOSITORY}
        issues.append({**unknown, **_status(None), **problem})
    if issues and not hooks:
        problem = {"problem": "GITHUB_HOOKS is not set"}
        unknown = {"name": "hooks", "message": messages.NO_HOOK, **asdict(hook_tables.Counts())}
        hooks.append({**unknown, **_status(None), **problem})
    alerts = []
    for name in alert_names(ctx):
        known = compared.get(name)
        message = messages.of_alerts(known.memory, known.problem) if known else messages.NOT_YET
        alerts.append({"name": name, "message": message, **_status(known)})
    every = [*hooks, *issues, *alerts]
    summary = " ".join(f"{one['name']}: {one['message']}" for one in every)
    if not hooks and not issues:
        lacking = messages.NO_NAMES if ctx.asks_github else messages.NOT_ASKED
        summary = f"{lacking} {summary}".strip()
    return {
        **configured(ctx),
        "message": summary,
        "asks_github": bool(hooks or issues),
        "hooks": hooks,
        "issues": issues,
        "alerts": alerts,
        "deliveries": shown,
    }


def hook_names(ctx: Context) -> Sequence[str]:
    """The hooks that are compared."""
    return ctx.settings(ReconcileSettings).hooks if compares_hooks(ctx) else ()


def issue_names(ctx: Context) -> Sequence[str]:
    """The repositories whose issues are compared, as their comparisons are called."""
    repositories = ctx.settings(ReconcileSettings).repositories if compares_issues(ctx) else ()
    return [name_of(repository) for repository in repositories]


def alert_names(ctx: Context) -> Sequence[str]:
    """Grafana, where its alerts are compared."""
    return [NAME] if compares_alerts(ctx) else []


def _status(known: Comparison | None) -> dict[str, str | None]:
    if known is None:
        return dict.fromkeys(("checked_at", "due_at", "problem"))
    times = {"checked_at": _written(known.checked_at), "due_at": _written(known.due_at)}
    return {**times, "problem": known.problem}


def _delivery(row: dict[str, Any], keeps: timedelta) -> dict[str, Any]:
    times = {
        "delivered_at": _written(row["delivered_at"]),
        "until": _written(row["delivered_at"] + keeps),
    }
    return {**row, **times}


def _written(at: datetime | None) -> str | None:
    return cloudevents.format_time(at) if at else None
