"""The one revision of a Knative Service: from zero to one process and back.

A request starts the process when there is none, and holds a slot of containerConcurrency while
it lasts. The process is stopped when idle, and started anew when it died. Whoever waits longer
than timeoutSeconds gets OverdueError.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from knative.local import log_file
from knative.local.environment import Launch
from knative.local.instance import (
    Instance,
    NotReadyError,
    ServiceProcess,
    await_ready,
    exit_message,
    free_port,
    last_message,
    spawn,
)
from knative.local.manifests.serving import KnativeService

Spawn = Callable[[Launch, Path], Awaitable[ServiceProcess]]

STOPPING = "the local Knative is stopping"
CRASH_BACKOFF_S = 0.5  # doubles with each failed start in a row
CRASH_BACKOFF_MAX_S = 10.0
STEADY_AFTER_S = 5.0  # a process that lived this long did not crash at start


class OverdueError(Exception):
    """timeoutSeconds passed before the request got its turn."""


class State(StrEnum):
    ZERO = "zero"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    FAILED = "failed"


@dataclass(frozen=True)
class Limits:
    """Seconds. `ready_s` bounds a start, `idle_s` is how long an idle process is kept; None: as
    long as its template's autoscaling window, as on a cluster."""

    ready_s: float = 60.0
    idle_s: float | None = None


@dataclass
class Counts:
    starts: int = 0
    requests: int = 0
    crashes: int = 0


class Revision:
    """`lease()` is the way in; `run()` keeps idle time and min-scale until cancelled."""

    def __init__(
        self,
        service: KnativeService,
        launch: Callable[[int], Launch],
        log: Path,
        limits: Limits,
        spawn: Spawn = spawn,
    ) -> None:
        self.host = service.host
        self.log = log
        self.counts = Counts()
        self.reason = ""  # why the last start failed
        self.state = State.ZERO
        self.in_flight = 0
        self.generation = 1  # of the template: the number in K_REVISION
        self.launch = launch
        self._limits = limits
        self._spawn = spawn
        self._configure(service)
        self._instance: Instance | None = None
        self._starting: asyncio.Task[Instance] | None = None
        self._last_used = time.monotonic()
        self._failures = 0  # starts that failed in a row
        self._not_before = 0.0
        self._watches: set[asyncio.Task[None]] = set()
        self._closed = False

    def _configure(self, service: KnativeService) -> None:
        template = service.spec.template
        spec = template.spec
        self.service = service
        self.timeout_s = float(spec.timeout_seconds)
        self.response_start_s = float(spec.response_start_s)
        self.idle_s = float(spec.idle_timeout_seconds or spec.timeout_seconds)
        self._probe = service.container.readiness_probe
        self._min_scale = template.scale("min-scale", 0)
        self._kept_s = template.window_s if self._limits.idle_s is None else self._limits.idle_s
        limit = spec.container_concurrency
        self._slots = asyncio.Semaphore(limit) if limit else None

    @property
    def pid(self) -> int | None:
        return self._instance.pid if self._instance and self._instance.alive else None

    @contextlib.asynccontextmanager
    async def lease(self, deadline: float | None = None) -> AsyncIterator[Instance]:
        """A ready process for one request, `deadline` being loop time.

        Raises NotReadyError when the process cannot be started, OverdueError when the
        deadline passes first.
        """
        self.counts.requests += 1
        self.in_flight += 1
        slots = self._slots
        try:
            if slots is not None:
                await self._take_slot(slots, deadline)
            try:
                yield await self._ready_instance(deadline)
            finally:
                if slots is not None:
                    slots.release()
        finally:
            self.in_flight -= 1
            self._last_used = time.monotonic()

    async def _take_slot(self, slots: asyncio.Semaphore, deadline: float | None) -> None:
        try:
            async with asyncio.timeout_at(deadline):
                await slots.acquire()
        except TimeoutError:
            raise OverdueError("timeout while waiting for a free slot") from None

    async def _ready_instance(self, deadline: float | None) -> Instance:
        if self._instance is not None and self._instance.alive and self.state is State.READY:
            return self._instance
        try:
            async with asyncio.timeout_at(deadline):
                return await self.start()
        except TimeoutError:
            raise OverdueError("timeout while the process was starting") from None

    async def start(self) -> Instance:
        """The ready process; starts it when there is none. Callers share one start."""
        if self._closed:
            raise NotReadyError(STOPPING)
        if self._instance is not None and self._instance.alive and self.state is State.READY:
            return self._instance
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._start())
            # A failure that no request waits for any more stands in `reason`.
            self._starting.add_done_callback(lambda task: task.cancelled() or task.exception())
        try:
            return await asyncio.shield(self._starting)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and not (task and task.cancelling()):  # not we are: the start is
                raise NotReadyError(STOPPING) from None
            raise

    async def replace(self, service: KnativeService, launch: Callable[[int], Launch]) -> None:
        """Start a process of a new template beside the old one; it takes over once it is ready.

        NotReadyError when it cannot start: the old one stays. What it has begun, it finishes.
        """
        offset = self.log.stat().st_size if self.log.exists() else 0
        port = free_port()
        how = launch(port)
        new = Instance(await self._spawn(how, self.log), port, time.monotonic(), how.gateway_token)
        try:
            await await_ready(new, service.container.readiness_probe, self._limits.ready_s)
        except BaseException as error:
            await new.stop(grace_s=2.0)
            if isinstance(error, NotReadyError):
                raise NotReadyError(f"{error}: {last_message(self.log, offset)}") from None
            raise
        old, self._instance = self._instance, new
        self.launch = launch
        self._configure(service)
        self._became_ready(new)
        if old is not None and old.alive:
            await old.stop(self.timeout_s)

    async def _start(self) -> Instance:
        if self._instance is not None and self._instance.alive:  # being stopped as idle
            await self._instance.process.wait()
        pause_s = self._not_before - time.monotonic()
        if pause_s > 0:
            if self.state is State.FAILED:
                raise NotReadyError(self.reason)
            await asyncio.sleep(pause_s)
        self.state = State.STARTING
        self.counts.starts += 1
        log_size_before = self.log.stat().st_size if self.log.exists() else 0
        instance: Instance | None = None
        try:
            port = free_port()
            how = self.launch(port)
            process = await self._spawn(how, self.log)
            instance = Instance(process, port, time.monotonic(), how.gateway_token)
            self._instance = instance
            await await_ready(instance, self._probe, self._limits.ready_s)
        except NotReadyError as error:
            if instance is not None:
                await instance.stop(grace_s=2.0)
            message = last_message(self.log, log_size_before)
            reason = f"{error}: {message}" if message else str(error)
            self._back_off()
            self.state, self.reason = (
                State.FAILED,
                f"service {self.service.name} cannot start: {reason}",
            )
            raise NotReadyError(self.reason) from None
        except BaseException:
            if instance is not None:
                await instance.stop(grace_s=2.0)
            self.state = State.ZERO
            raise
        self._became_ready(instance)
        return instance

    def _became_ready(self, instance: Instance) -> None:
        self.state, self.reason = State.READY, ""
        self._last_used = time.monotonic()
        watch = asyncio.create_task(self._watch(instance))
        self._watches.add(watch)
        watch.add_done_callback(self._watches.discard)

    def _back_off(self, forgiven: int = 0) -> None:
        """Put the next start off, the longer the more failed in a row; some are `forgiven`."""
        self._failures += 1
        if self._failures > forgiven:
            pause_s = CRASH_BACKOFF_S * 2 ** (self._failures - forgiven - 1)
            self._not_before = time.monotonic() + min(pause_s, CRASH_BACKOFF_MAX_S)

    async def _watch(self, instance: Instance) -> None:
        """Note the end of a process; one that was not to be stopped is a crash."""
        await instance.process.wait()
        instance.end_group()
        if self._instance is not instance or self.state is not State.READY:
            return
        self.counts.crashes += 1
        self.state = State.ZERO
        self.reason = f"the process ended with {exit_message(instance.process.returncode)}"
        if time.monotonic() - instance.started >= STEADY_AFTER_S:
            self._failures = 0
        self._back_off(forgiven=1)  # as a kubelet, restart the first time at once

    async def run(self) -> None:
        """Until cancelled: keep min-scale processes up, stop idle ones."""
        while True:
            if self._min_scale and self.pid is None and time.monotonic() >= self._not_before:
                with contextlib.suppress(NotReadyError):
                    await self.start()
            idle = time.monotonic() - self._last_used
            ready = self._instance is not None and self.state is State.READY
            if ready and not self._min_scale and not self.in_flight and idle > self._kept_s:
                await self._stop()
            log_file.bound(self.log)
            await asyncio.sleep(min(1.0, self._kept_s / 4))

    async def kill(self) -> None:
        """End the process by SIGKILL, as a node that goes away; the next request starts another."""
        if self._instance is not None and self._instance.alive:
            self._instance.process.kill()
            await self._instance.process.wait()

    async def _stop(self) -> None:
        if self._instance is not None and self._instance.alive:
            self.state = State.STOPPING
            await self._instance.stop(self.timeout_s)
        self.state = State.ZERO

    async def close(self) -> None:
        """No new requests; the process drains for at most timeoutSeconds."""
        self._closed = True
        if self._starting is not None and not self._starting.done():
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        await self._stop()
