"""Each minute: whatever is due is compared, for as long as there is time."""

from __future__ import annotations

import logging
import time
from datetime import timedelta

from functions.kit.clients.github import Github
from functions.kit.clients.github_app import GithubSettings
from functions.kit.context import Context, Resources
from functions.kit.errors import FunctionError, TemporaryError, shortened
from functions.webhook_receiver.reconcile import comparison
from functions.webhook_receiver.reconcile.hooks import Hook
from functions.webhook_receiver.reconcile.settings import ReconcileSettings

logger = logging.getLogger(__name__)

EVERY = timedelta(minutes=5)


async def compare(ctx: Context, patience_s: float) -> None:
    """Compare each hook that is due; what goes wrong is on its record, and costs no other."""
    settings = ctx.settings(ReconcileSettings)
    if not ctx.settings(GithubSettings).can_ask:
        return
    until = time.monotonic() + patience_s
    keeps = timedelta(days=settings.github_keeps_days)
    for name in settings.hooks:
        await _turn(name, Hook(name, github_of(ctx), ctx, keeps), ctx, until)


async def _turn(name: str, hook: Hook, ctx: Context, until: float) -> None:
    now = ctx.now()
    async with ctx.store.connection() as connection:
        memory = await comparison.turn(connection, name, now, EVERY)
    if memory is None:
        return
    try:
        finished = await hook.compare(memory, until)
    except FunctionError as error:
        logger.warning("cannot compare %s: %s", name, error.detail)
        delay_s = error.delay_s if isinstance(error, TemporaryError) else 0.0
        due_at = max(now + timedelta(seconds=delay_s), now + EVERY)
        async with ctx.store.connection() as connection:
            await comparison.go_on(connection, name, due_at, shortened(error.detail))
        return
    async with ctx.store.connection() as connection:
        if finished:
            await comparison.done(connection, name, now)
        else:
            await comparison.go_on(connection, name, now)


class _Clients:
    """The process's client of GitHub, with what it knows of limits and tokens."""

    def __init__(self, resources: Resources) -> None:
        self.github: Github | None = None


def github_of(ctx: Context) -> Github:
    clients = ctx.part(_Clients)
    if clients.github is None:
        clients.github = Github(ctx.settings(GithubSettings), ctx.http, ctx.now)
    return clients.github
