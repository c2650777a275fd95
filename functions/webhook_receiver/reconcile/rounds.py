"""Each minute: whatever is due is compared, for as long as there is time."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

from functions.kit.clients import Github
from functions.kit.clients.github_app import GithubSettings, signed
from functions.kit.context import Context, Resources
from functions.kit.durable import Rule, rule
from functions.kit.errors import FunctionError, TemporaryError, shortened
from functions.webhook_receiver.reconcile import comparison
from functions.webhook_receiver.reconcile.alerts import Alerts
from functions.webhook_receiver.reconcile.hooks import Hook
from functions.webhook_receiver.reconcile.issues import Issues
from functions.webhook_receiver.reconcile_settings import (
    ReconcileSettings,
    compares_alerts,
    compares_hooks,
    compares_issues,
)
from functions.webhook_receiver.settings import ReceiverSettings

logger = logging.getLogger(__name__)

EVERY = timedelta(minutes=5)
EVERY_STATE = timedelta(hours=1)
# A state whose delivery the ledger has just forgotten would be found as one that never came.
SPARE = timedelta(days=1)
RETENTION_DAYS = 30


class Compared(Protocol):
    """Something of a source that is compared with the ledger."""

    name: str

    async def compare(self, memory: Mapping[str, Any], until: float) -> bool:
        """Go on from `memory` until the monotonic clock says so; True if all is compared."""


def check(ctx: Context) -> None:
    """`BadSetting` where an App is configured that cannot sign: better now than at each look."""
    settings = ctx.settings(GithubSettings)
    if settings.is_app:
        signed(settings, ctx.now())


async def compare(ctx: Context, timeout_s: float) -> None:
    """Compare what is due; what goes wrong is on its record, and costs no other."""
    settings = ctx.settings(ReconcileSettings)
    until = time.monotonic() + timeout_s
    keeps = timedelta(days=settings.github_delivery_retention_days)
    if compares_hooks(ctx):
        for name in settings.hooks:
            await _turn(Hook(name, github_of(ctx), ctx, keeps), EVERY, ctx, until)
    if compares_issues(ctx):
        retention_days = ctx.settings(ReceiverSettings).delivery_retention_days
        remembers = timedelta(days=retention_days) - SPARE
        for repository in settings.repositories:
            issues = Issues(repository, github_of(ctx), ctx, keeps, remembers)
            await _turn(issues, EVERY_STATE, ctx, until)
    if compares_alerts(ctx):
        await _turn(Alerts(ctx), EVERY, ctx, until)


async def _turn(compared: Compared, every: timedelta, ctx: Context, until: float) -> None:
    now, name = ctx.now(), compared.name
    async with ctx.store.connection() as connection:
        memory = await comparison.turn(connection, name, now, every)
    if memory is None:
        return
    try:
        finished = await compared.compare(memory, until)
    except FunctionError as error:
        logger.warning("cannot compare %s: %s", name, error.detail)
        delay_s = error.delay_s if isinstance(error, TemporaryError) else 0.0
        await _later(name, now + max(timedelta(seconds=delay_s), EVERY), error.detail, ctx)
        return
    except Exception as error:
        # A source of another version may say things in another shape: no reason to send no event.
        logger.error("cannot compare %s", name, exc_info=error)
        problem = f"an answer could not be understood ({type(error).__name__})"
        await _later(name, now + EVERY, problem, ctx)
        return
    async with ctx.store.connection() as connection:
        if finished:
            await comparison.done(connection, name, now)
        else:
            await comparison.go_on(connection, name, now)


async def _later(name: str, due_at: datetime, problem: str, ctx: Context) -> None:
    async with ctx.store.connection() as connection:
        await comparison.go_on(connection, name, due_at, shortened(problem))


def retention(ctx: Context) -> Sequence[Rule]:
    """What GitHub keeps no longer is listed no more; what was lost for good is shown for a month.

    A comparison that has been due for so long is of something that is configured no more.
    """
    keeps_days = ctx.settings(ReconcileSettings).github_delivery_retention_days
    return (
        rule("hook_delivery", "delivered_at", keeps_days + RETENTION_DAYS),
        rule("comparison", "due_at", RETENTION_DAYS),
    )


class _Clients:
    """The process's client of GitHub, with what it knows of limits and tokens."""

    def __init__(self, resources: Resources) -> None:
        self.github: Github | None = None


def github_of(ctx: Context) -> Github:
    clients = ctx.part(_Clients)
    if clients.github is None:
        clients.github = Github(ctx.settings(GithubSettings), ctx.http, ctx.now)
    return clients.github
