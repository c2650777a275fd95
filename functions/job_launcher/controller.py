"""The launcher's work outside of requests: it launches what waits, and follows Jobs to their end.

It begins after the commit of whatever gives it work, and with each minute's sweep. While the
process is awake it watches its Jobs and their pods; what a watch misses, the sweep sees.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Awaitable, Callable
from contextvars import Context as ContextVars
from dataclasses import replace

from functions.job_launcher import launch, manifest, queue, reconcile, tables
from functions.job_launcher.launching import launch_batch, stop_all
from functions.job_launcher.sweep import sweep
from functions.kit.clients.kubernetes import Change
from functions.kit.context import Context, Resources
from functions.kit.errors import FunctionError, TemporaryError

logger = logging.getLogger(__name__)

# Of an event's time, how long one piece of work may ask Kubernetes. A lease lasts for all of it.
WORK = 2 / 3
WATCH_S = 300  # one watch; the next begins with all that there is
MAX_PAUSE_S = 30.0  # between two watches that fail
DRAIN_S = 10.0


class Work:
    """Work in a task of its own, one run at a time; again where it was called for meanwhile."""

    def __init__(self, do: Callable[[], Awaitable[None]]) -> None:
        self._do = do
        self._called = False
        self.task: asyncio.Task[None] | None = None

    def call(self) -> None:
        self._called = True
        if self.task is None or self.task.done():
            # A context of its own: the caller may be inside a transaction or a trace.
            self.task = asyncio.create_task(self._run(), context=ContextVars())

    async def _run(self) -> None:
        while self._called:
            self._called = False
            try:
                await self._do()
            except FunctionError as error:
                logger.warning("the next sweep goes on: %s", error)
            except Exception:
                logger.exception("the next sweep goes on")


class Controller:
    """The background work of one process; a part of its resources."""

    def __init__(self, resources: Resources) -> None:
        self._timeout_s = resources.process.timeout_seconds * WORK
        self._ctx: Context | None = None
        self._changes: dict[tuple[str, str], Change] = {}
        self._early: dict[tuple[str, str], Change] = {}  # of pods, before their Job is on record
        self._launching = Work(self._launch)
        self._following = Work(self._follow)
        self._sweeping = Work(self._sweep)
        self._watches: list[asyncio.Task[None]] = []
        self._closing = False

    def launch(self, ctx: Context) -> None:
        """Something may be due, or is to be stopped."""
        self._start(ctx)
        self._launching.call()

    def sweep(self, ctx: Context) -> None:
        """A minute has passed."""
        self._start(ctx)
        self._sweeping.call()

    async def idle(self) -> None:
        """Return when all work is done that was called for; the watches go on."""
        while working := self.working():
            await asyncio.wait(working)

    async def close(self) -> None:
        """End the watches, and what is at work within `DRAIN_S`; a lease ends by itself."""
        self._closing = True
        for watch in self._watches:
            watch.cancel()
        working = self.working()
        if working:
            _, late = await asyncio.wait(working, timeout=DRAIN_S)
            for task in late:
                task.cancel()
        await asyncio.gather(*self._watches, *working, return_exceptions=True)

    def working(self) -> list[asyncio.Task[None]]:
        """The tasks at work."""
        tasks = (work.task for work in (self._launching, self._following, self._sweeping))
        return [task for task in tasks if task is not None and not task.done()]

    def _start(self, ctx: Context) -> None:
        self._ctx = replace(ctx, tx=None)
        if not self._watches:
            self._watches = [
                asyncio.create_task(self._watch(api, plural), context=ContextVars())
                for api, plural in ((launch.BATCH, "jobs"), ("v1", "pods"))
            ]

    def _limited(self) -> Context:
        assert self._ctx is not None, "started with a context"
        return replace(self._ctx, until=time.monotonic() + self._timeout_s)

    async def _launch(self) -> None:
        await stop_all(self._limited())
        while await launch_batch(self._limited()):
            self._follow_early()
            # What was cancelled while its Job was being made is there to be stopped now.
            await stop_all(self._limited())
        async with self._limited().store.connection() as connection:
            lease_end_s = await queue.next_lease_end_s(connection)
        if lease_end_s is not None:
            # Another process makes them, or has died over it.
            asyncio.get_running_loop().call_later(max(0.0, lease_end_s) + 0.1, self._call_again)

    def _call_again(self) -> None:
        if not self._closing:
            self._launching.call()

    def _follow_early(self) -> None:
        if self._early:
            self._changes = {**self._early, **self._changes}
            self._early = {}
            self._following.call()

    async def _sweep(self) -> None:
        await sweep(self._limited())
        self._launching.call()

    async def _follow(self) -> None:
        """Bring the rows of changed objects up to date, each object as it was seen last."""
        changes, self._changes = self._changes, {}
        ctx = self._limited()
        jobs = {name: change for (plural, name), change in changes.items() if plural == "jobs"}
        pods = {key: change for key, change in changes.items() if key[0] == "pods"}
        names = {*jobs, *(manifest.job_name_of(change.object) for change in pods.values())}
        self._early |= pods  # before the rows are read: a launch may be recorded meanwhile
        async with ctx.store.connection() as connection:
            rows = {row.id: row for row in await tables.open_of(connection, list(names))}
        for key, change in pods.items():
            row = rows.get(manifest.job_name_of(change.object))
            if row is not None and change.type != "DELETED":
                await reconcile.pod_seen(ctx, row, change.object)
                if row.state == "queued":
                    continue
            self._early.pop(key, None)
        for name, row in rows.items():
            if name not in jobs:
                continue
            try:
                deleted = jobs[name].type == "DELETED"
                await reconcile.seen(self._limited(), row, jobs[name].object, deleted=deleted)
            except FunctionError as error:
                logger.warning("job %s: the next sweep looks at it: %s", name, error)
            except Exception:
                logger.exception("job %s: what was seen of it is not recorded", name)
        self._launching.call()  # there may be room

    async def _watch(self, api_version: str, plural: str) -> None:
        pause_s = 1.0
        while True:
            assert self._ctx is not None, "started with a context"
            cluster = self._ctx.resources.cluster
            try:
                async for change in cluster.watch(
                    api_version, plural, manifest.SELECTOR, for_s=WATCH_S
                ):
                    pause_s = 1.0
                    self._changes[plural, str(change.object["metadata"]["name"])] = change
                    self._following.call()
            except TemporaryError as error:
                pause_s = min(max(pause_s * 2, error.delay_s), MAX_PAUSE_S)
                logger.warning("cannot watch %s: %s", plural, error)
            except FunctionError as error:
                pause_s = MAX_PAUSE_S
                logger.warning("cannot watch %s, the sweep sees them: %s", plural, error)
            await asyncio.sleep(pause_s * random.uniform(0.8, 1.0))
