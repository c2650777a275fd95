"""All Knative Services of the world as processes, and the pids that a crash would leave."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from functools import partial
from pathlib import Path

import psutil

from knative.local.environment import Site, host_names, launch
from knative.local.forks import Forks
from knative.local.instance import NotReadyError
from knative.local.kube.environment import expand
from knative.local.manifests.core import ConfigMap, Secret
from knative.local.manifests.load import World
from knative.local.manifests.serving import KnativeService
from knative.local.revision import Limits, Revision
from knative.local.startup_cache import StartupCache

LOG_BYTES = 10_000_000  # a longer log is put aside at the next start


class Processes:
    """`by_host` finds the revision behind any host name that cluster DNS knows."""

    def __init__(self, world: World, site: Site, limits: Limits) -> None:
        self.world = world
        self._site = site
        self._forks = Forks(site.data / "logs" / "fork-server.log")
        self.revisions = [
            Revision(
                service,
                partial(launch, service, world, site),
                site.data / "logs" / f"{service.name}.log",
                limits,
                self._forks.spawn,
            )
            for service in world.all(KnativeService)
        ]
        self.by_host = {
            name: revision for revision in self.revisions for name in host_names(revision.service)
        }
        self._tried = site.data / "tried.json"
        self._pids = site.data / "pids.json"
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Sweep what a killed runtime left, and begin to keep the revisions."""
        await asyncio.to_thread(sweep, self._pids)
        for revision in self.revisions:
            if revision.log.exists() and revision.log.stat().st_size > LOG_BYTES:
                revision.log.replace(revision.log.with_suffix(".log.1"))
        self._tasks = [asyncio.create_task(revision.run()) for revision in self.revisions]
        self._tasks.append(asyncio.create_task(self._note_pids()))

    async def try_all(self) -> list[str]:
        """Start every service once, as a new revision is; the reasons of those that fail.

        One that has started before, with the same code and manifest, is no new revision.
        """
        startup_cache = StartupCache(self._tried)
        few = asyncio.Semaphore(max(2, os.cpu_count() or 2))

        async def attempt(revision: Revision) -> str:
            how = revision.launch(0)
            wanted = revision.service.spec.template.scale("initial-scale", 1) > 0
            if not wanted or startup_cache.passed(revision.host, how):
                return ""
            async with few:
                try:
                    await revision.start()
                    startup_cache.note(revision.host, how)
                except NotReadyError as error:
                    return str(error)
            return ""

        reasons = await asyncio.gather(*(attempt(revision) for revision in self.revisions))
        return [reason for reason in reasons if reason]

    def watched(self, revision: Revision) -> list[Path]:
        """The files and folders that a Service's process is made of."""
        program, env = self.world.program(revision.service), revision.launch(0).env
        assert program is not None, "a world with unmapped images is not run"
        return [(program.folder / expand(part, env)).resolve() for part in program.watch]

    def outdated(self, world: World) -> list[Revision]:
        """Those whose Service, or a ConfigMap or Secret that it names, is another in `world`."""
        changed = {
            item.name
            for one, other in ((world, self.world), (self.world, world))
            for kind in (ConfigMap, Secret)
            for item in one.all(kind)
            if item != other.get(kind, item.namespace, item.name)
        }

        def is_outdated(old: KnativeService) -> bool:
            new, text = world.get(KnativeService, old.namespace, old.name), old.model_dump_json()
            return new != old or any(f'"{name}"' in text for name in changed)

        return [revision for revision in self.revisions if is_outdated(revision.service)]

    async def replace(self, revision: Revision) -> str:
        """Start the revision that follows, by `world`; its name once it has taken over.

        NotReadyError when it cannot start: the one before goes on.
        """
        revision.generation += 1
        old, generation = revision.service, revision.generation
        new = self.world.get(KnativeService, old.namespace, old.name)
        assert new is not None, "where a Service comes or goes, everything starts again"
        await revision.replace(
            new, partial(launch, new, self.world, self._site, generation=generation)
        )
        return f"{old.name}-{generation:05d}"

    async def kill(self, host: str) -> None:
        """Kill the process behind `host`, if there is one."""
        if revision := self.by_host.get(host):
            await revision.kill()

    async def close(self) -> None:
        """Stop all processes, each with its own time to drain."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.gather(*(revision.close() for revision in self.revisions))
        await self._forks.close()
        self._pids.unlink(missing_ok=True)

    async def _note_pids(self) -> None:
        noted: list[int] = []
        while True:
            pids = [revision.pid for revision in self.revisions if revision.pid]
            if pids != noted:
                noted = pids
                scratch = self._pids.with_suffix(".tmp")
                scratch.write_text(json.dumps({str(pid): _born(pid) for pid in pids}))
                scratch.replace(self._pids)
            await asyncio.sleep(0.5)


def _born(pid: int) -> float:
    try:
        return psutil.Process(pid).create_time()
    except psutil.Error:
        return 0.0


def sweep(file: Path) -> None:
    """Kill the processes noted in `file` that still run: where the kernel does not do it."""
    try:
        noted = json.loads(file.read_text())
    except (OSError, ValueError):
        return
    for pid, born in noted.items():
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(int(pid))
            if process.create_time() == born:
                process.kill()
                process.wait(5)
    file.unlink(missing_ok=True)
