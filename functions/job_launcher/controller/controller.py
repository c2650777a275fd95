"""The launcher's controller: it creates the Jobs of queued requests and watches them to their end.

It runs after each commit that adds work and with each minute's sweep, which also reconciles what a
watch missed.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from contextvars import Context as ContextVars
from dataclasses import replace

from functions.job_launcher import budget_usage, queue, tables
from functions.job_launcher.controller import reconcile
from functions.job_launcher.controller.launching import (
    launch_batch,
    stop_cancelled,
    stop_overspent,
)
from functions.job_launcher.controller.sweep import sweep
from functions.job_launcher.kubernetes import job_calls, manifest
from functions.kit.clients.kubernetes import Change
from functions.kit.context import Context, Resources
from functions.kit.errors import FunctionError, TemporaryError
from functions.kit.process.background_work import CoalescedTask

logger = logging.getLogger(__name__)

# The share of the event timeout that one run may take. A lease lasts for the whole timeout.
TIMEOUT_SHARE = 2 / 3
WATCH_S = 300  # one watch; the next begins with a list
MAX_BACKOFF_S = 30.0  # between two watches that fail
DRAIN_S = 10.0


class Controller:
    """The background tasks of one process; a part of its resources."""

    def __init__(self, resources: Resources) -> None:
        self._timeout_s = resources.process.timeout_seconds * TIMEOUT_SHARE
        self._ctx: Context | None = None
        self._changes: dict[tuple[str, str], Change] = {}
        self._early: dict[tuple[str, str], Change] = {}  # pods whose Job's row is still queued
        self._launching = CoalescedTask(self._launch)
        self._reconciling = CoalescedTask(self._reconcile)
        self._sweeping = CoalescedTask(self._sweep)
        self._watches: list[asyncio.Task[None]] = []
        self._closing = False

    def launch(self, ctx: Context) -> None:
        """Create the Jobs that are due, and stop those that are cancelled."""
        self._start(ctx)
        self._launching.trigger()

    def sweep(self, ctx: Context) -> None:
        """Compare all open rows with Kubernetes."""
        self._start(ctx)
        self._sweeping.trigger()

    async def idle(self) -> None:
        """Return when all triggered tasks are done; the watches go on."""
        while running := self.running():
            await asyncio.wait(running)

    async def close(self) -> None:
        """End the watches and, within `DRAIN_S`, the running tasks; their leases expire."""
        self._closing = True
        for watch in self._watches:
            watch.cancel()
        running = self.running()
        if running:
            _, pending = await asyncio.wait(running, timeout=DRAIN_S)
            for task in pending:
                task.cancel()
        await asyncio.gather(*self._watches, *running, return_exceptions=True)

    def running(self) -> list[asyncio.Task[None]]:
        kinds = (self._launching, self._reconciling, self._sweeping)
        return [task for kind in kinds for task in kind.running()]

    def _start(self, ctx: Context) -> None:
        self._ctx = replace(ctx, tx=None)
        if not self._watches:
            self._watches = [
                asyncio.create_task(self._watch(api, plural), context=ContextVars())
                for api, plural in ((job_calls.BATCH, "jobs"), ("v1", "pods"))
            ]

    def _limited(self) -> Context:
        assert self._ctx is not None, "started with a context"
        return replace(self._ctx, until=time.monotonic() + self._timeout_s)

    async def _launch(self) -> None:
        await stop_cancelled(self._limited())
        await stop_overspent(self._limited())
        while await launch_batch(self._limited()):
            self._reconcile_early()
            # A request may have been cancelled while its Job was being created.
            await stop_cancelled(self._limited())
        await budget_usage.report(self._limited())
        async with self._limited().store.connection() as connection:
            lease_end_s = await queue.next_lease_end_s(connection)
        if lease_end_s is not None:
            # The process that holds the lease may have died.
            asyncio.get_running_loop().call_later(max(0.0, lease_end_s) + 0.1, self._relaunch)

    def _relaunch(self) -> None:
        if not self._closing:
            self._launching.trigger()

    def _reconcile_early(self) -> None:
        if self._early:
            self._changes = {**self._early, **self._changes}
            self._early = {}
            self._reconciling.trigger()

    async def _sweep(self) -> None:
        await sweep(self._limited())
        self._launching.trigger()

    async def _reconcile(self) -> None:
        """Update the rows of changed objects by the newest change of each."""
        changes, self._changes = self._changes, {}
        ctx = self._limited()
        jobs = {name: change for (plural, name), change in changes.items() if plural == "jobs"}
        pods = {key: change for key, change in changes.items() if key[0] == "pods"}
        names = {*jobs, *(manifest.job_name_of(change.object) for change in pods.values())}
        self._early |= pods  # before the rows are read: a launch may commit meanwhile
        async with ctx.store.connection() as connection:
            rows = {row.id: row for row in await tables.open_jobs(connection, list(names))}
        for key, change in pods.items():
            row = rows.get(manifest.job_name_of(change.object))
            if row is not None and change.type != "DELETED":
                await reconcile.reconcile_pod(ctx, row, change.object)
                if row.state == "queued":
                    continue
            self._early.pop(key, None)
        for name, row in rows.items():
            if name not in jobs:
                continue
            try:
                deleted = jobs[name].type == "DELETED"
                await reconcile.reconcile_job(
                    self._limited(), row, jobs[name].object, deleted=deleted
                )
            except FunctionError as error:
                logger.warning("job %s: the next sweep reconciles it: %s", name, error)
            except Exception:
                logger.exception("job %s: cannot reconcile", name)
        self._launching.trigger()  # a Job that ended frees its place

    async def _watch(self, api_version: str, plural: str) -> None:
        backoff_s = 1.0
        while True:
            assert self._ctx is not None, "started with a context"
            cluster = self._ctx.resources.cluster
            try:
                async for change in cluster.watch(
                    api_version, plural, manifest.SELECTOR, for_s=WATCH_S
                ):
                    backoff_s = 1.0
                    self._changes[plural, str(change.object["metadata"]["name"])] = change
                    self._reconciling.trigger()
            except TemporaryError as error:
                backoff_s = min(max(backoff_s * 2, error.delay_s), MAX_BACKOFF_S)
                logger.warning("cannot watch %s: %s", plural, error)
            except FunctionError as error:
                backoff_s = MAX_BACKOFF_S
                logger.warning("cannot watch %s, the sweep lists them: %s", plural, error)
            await asyncio.sleep(backoff_s * random.uniform(0.8, 1.0))
