"""All parts of the local Knative put together, in the order in which they need one another."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from knative.local import data_folder, random_secrets
from knative.local.access import USER, Access, kubeconfig_text, new_token
from knative.local.admin import admin_app
from knative.local.broker.asgi import ingress_app
from knative.local.broker.broker import LocalBroker
from knative.local.broker.retention import RETENTION_S
from knative.local.cluster_api import ClusterApi
from knative.local.environment import Site
from knative.local.errors import StartError
from knative.local.faults import Faults, Targets
from knative.local.gateway import KUBERNETES, Gateway
from knative.local.kube import timestamps
from knative.local.lock import DataLock
from knative.local.manifests.core import Job, StatefulSet
from knative.local.manifests.load import World
from knative.local.manifests.problems import ManifestError
from knative.local.network import Network
from knative.local.outside import Outside
from knative.local.ping_sources import Clock
from knative.local.postgres import Postgres
from knative.local.processes import Processes
from knative.local.revision import Limits, Revision
from knative.local.server import Server, bind
from knative.local.service_status import keep_status
from knative.local.tick import PING
from knative.local.timeline import Timeline, wait_until_idle
from knative.local.translate import brokers, triggers

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Options:
    """How to run a world. `automatic`: schedules fire by themselves.

    `durable`: deliveries outlive the runtime. `retention_s`: how long settled events are kept.

    `maps`: the URL of each name.namespace that is outside.

    `clock`: where a virtual clock starts.

    `front`: the Service, as namespace/name, that http://localhost:PORT leads to.
    """

    data: Path
    port: int = 8080
    automatic: bool = True
    faults: Sequence[str] = ()
    clock: datetime | None = None
    durable: bool = True
    retention_s: float = RETENTION_S
    front: str | None = None
    maps: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    jobs_timeout_s: float = 120.0


class Runtime:
    """`start` and `stop`; between them everything runs. One per data directory."""

    def __init__(
        self, world: World, options: Options, progress: Callable[[str], None] = lambda _: None
    ) -> None:
        self._progress = progress
        self.reset: asyncio.Event | None = None  # set when asked to begin anew, by whoever can
        self.unapplied: Mapping[str, str] = {}  # changes of files that --watch could not apply
        self.world = world
        self.options = options
        self.data = options.data.resolve()
        self._stack: list[Any] = []  # what to stop, last first
        self.databases: list[Postgres] = []
        self._broker_started = False
        self._lock = DataLock(self.data)
        self._token, self._inside = new_token(), new_token()

    async def start(self) -> None:
        """Start all parts; StartError, with what did start stopped again, when one cannot."""
        try:
            await self._start()
        except BaseException:
            await self.stop()
            raise

    async def _start(self) -> None:
        if self.world.unmapped:
            raise ManifestError(list(self.world.unmapped))
        with _usable(self.data):
            data_folder.prepare(self.data)
            free = self._lock.take()
        if not free:
            reason = f"another local Knative runs on {self.data}; stop it or give another --data"
            raise StartError(reason)
        self.world = random_secrets.filled(self.world, self.data)
        listener = bind(self.options.port)
        self.port = int(listener.getsockname()[1])
        hosts = await self._start_postgres()
        clock_file = self.data / "clock" if self.options.clock else None
        self.timeline = Timeline(self.options.clock, clock_file)
        self._stack.append(self._stop_timeline)
        timestamps.follow(self.timeline.now)
        kubeconfig = self.data / "kubeconfig"
        site = Site(self.data, self.proxy_url, kubeconfig, hosts, clock_file, new_token())
        data_folder.write_private(
            kubeconfig, kubeconfig_text(f"{self.url}{KUBERNETES}", self._token)
        )

        self.processes = Processes(self.world, site, self.options.limits)
        outside = Outside(self.world, self.options.maps)
        self.network = Network(self.processes.by_host, outside)
        try:
            self.faults = Faults(self.processes.kill, self._targets())
            self.broker = LocalBroker(
                self.data / "broker.sqlite",
                brokers(self.world),
                triggers(self.world),
                self.network,
                around=self.faults.call,
                durable=self.options.durable,
                retention_s=self.options.retention_s,
                clock=self.timeline.now,
                call_later=self.timeline.call_later,
                answers_before_retries=self.timeline.is_virtual,
            )
        except ValueError as error:
            raise StartError(str(error)) from None
        self.network.broker = self.broker
        for text in self.options.faults:
            try:
                self.faults.add(text)
            except ValueError as error:
                raise StartError(f"--fault: {error}") from None
        self.clock = Clock(self.network, self.data / "clock.json", self.timeline, self.faults)
        with _usable(self.data / "kube"):
            self.kube = ClusterApi(
                self.world, site, self.network, self.clock, self.timeline.call_later
            )
        gateway = Gateway(
            self.processes.by_host,
            ingress_app(self.broker),
            self.kube.app,
            admin_app(self),
            Access(self._token, self._inside),
            outside,
            self.faults,
            front=self._front(),
        )
        server = Server(gateway, listener)

        # The processes stop before the port does: they drain through it.
        await server.start()
        self._stack += [self.network.close, gateway.close, server.stop]
        self._stack.append(self._stop_broker)  # after the processes, which send their last events
        await self.processes.start()
        self._stack.append(self.processes.close)
        await self.kube.start()
        self._stack.append(self.kube.stop)
        if jobs := self.world.all(Job):
            self._progress(f"Running {', '.join(job.name for job in jobs)}")
        await self.kube.run_jobs(self.options.jobs_timeout_s)
        # Before the services: one that has kept events of its last life sends them as it starts.
        with _usable(self.data / "broker.sqlite"):
            await self.broker.start()
        self._broker_started = True
        if self.timeline.is_virtual:
            self._stack.append(partial(_cancelled, asyncio.create_task(self._notice())))
        self._stack += [self.broker.pause, self.clock.close]
        await self._try_services()
        keeping = asyncio.create_task(keep_status(self.kube.app, self.processes.revisions))
        self._stack.append(partial(_cancelled, keeping))
        if self.options.automatic:
            self.clock.start()
        self._announce()

    def _targets(self) -> Targets:
        hosts = {
            f"{one.namespace}/{one.name}": urlsplit(one.subscriber_uri).hostname or ""
            for one in triggers(self.world)
        }
        services = {
            f"{one.service.namespace}/{one.service.name}": one.host
            for one in self.processes.revisions
        }
        return Targets(hosts, services)

    def _front(self) -> Revision | None:
        if self.options.front is None:
            return None
        namespace, _, name = self.options.front.partition("/")
        front = self.processes.by_host.get(f"{name}.{namespace}.svc.cluster.local")
        if front is None:
            raise StartError(f"--front {self.options.front}: there is no such Service")
        return front

    async def _start_postgres(self) -> dict[str, Path]:
        hosts: dict[str, Path] = {}
        for item in self.world.all(StatefulSet):
            postgres = Postgres(item, self.world, self.data)
            self._progress("Starting PostgreSQL")
            self._stack.append(partial(asyncio.to_thread, postgres.stop))
            await asyncio.to_thread(postgres.start)
            keeping = asyncio.create_task(postgres.run())
            self._stack.append(partial(_cancelled, keeping))
            await postgres.prepare()
            hosts |= postgres.hosts()
            self.databases.append(postgres)
        return hosts

    async def _try_services(self) -> None:
        self._progress(f"Starting each Service once: {len(self.processes.revisions)}")
        reasons = await self.processes.try_all()
        if reasons:
            raise StartError("\n".join(reasons))

    async def stop(self) -> None:
        """Stop what runs, in reverse order; processes may drain."""
        while self._stack:
            part = self._stack.pop()
            try:
                await part()
            except Exception:  # whatever one part says, the others must stop too
                logger.exception("cannot stop %s", part)
        if self._lock.taken:
            (self.data / "runtime.json").unlink(missing_ok=True)
            self._lock.release()

    async def _stop_timeline(self) -> None:
        self.timeline.close()
        timestamps.follow(time.time)

    async def _stop_broker(self) -> None:
        if self._broker_started:
            await self.broker.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def proxy_url(self) -> str:
        """The proxy of whatever is inside of the cluster, with the token of its processes."""
        return f"http://{USER}:{self._inside}@127.0.0.1:{self.port}"

    def _announce(self) -> None:
        state = {"pid": os.getpid(), "port": self.port, "url": self.url, "token": self._token}
        data_folder.write_private(self.data / "runtime.json", json.dumps(state))

    async def advance(self, by_s: float) -> int:
        """Advance the virtual clock; how many timers that made due.

        ValueError where the clock is the machine's; TimeoutError when what began at a moment did
        not end.
        """
        if not self.timeline.is_virtual:
            raise ValueError("the clock is the machine's: start with `up --clock TIME`")
        self.clock.wake()
        made = await self.timeline.advance(by_s, partial(wait_until_idle, self._busy))
        await self.broker.sweep()  # by itself it sweeps by the machine's clock
        return made

    async def _notice(self) -> None:
        """Have each tick fired for a while after an event that is none itself."""
        async for change in self.broker.follow():
            if change.type != PING:
                self.clock.wake()

    def _busy(self) -> list[str]:
        """What goes on without waiting for a time."""
        busy = [one.service.name for one in self.processes.revisions if one.in_flight]
        if self.broker.in_flight() or self.clock.busy:
            busy.append("the broker")
        return busy + [f"the pod {pod}" for pod in self.kube.running_pods()]

    # What can be asked.

    def settled(self) -> bool:
        """No event is on its way, no request is being answered, no Job runs."""
        busy = any(revision.in_flight for revision in self.processes.revisions)
        busy = busy or self.clock.busy or self.kube.jobs()["running"] > 0
        return self.broker.settled() and not busy

    def addresses(self) -> dict[str, str]:
        """Each Service's address for a browser or curl on this machine."""
        return {
            revision.service.name: f"http://{revision.service.name}."
            f"{revision.service.namespace}.localhost:{self.port}"
            for revision in self.processes.revisions
        }


async def _cancelled(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


@contextlib.contextmanager
def _usable(path: Path) -> Iterator[None]:
    """StartError, naming `path`, when its state cannot be read or is of another version."""
    try:
        yield
    except (OSError, sqlite3.Error, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        other = "" if isinstance(error, PermissionError) else " or delete it"
        raise StartError(f"cannot use {path}: {reason}; give another --data{other}") from None
