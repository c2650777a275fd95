"""`up --watch`: a change of code or YAML restarts what it concerns, as a new revision.

A file below what an image watches (`watch` in knative-local.yaml; by default its working folder)
concerns the Services of that image. A change of YAML concerns the Services whose process it
changes; what else it changes (a Trigger, a Broker, a schedule) concerns everything.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from watchfiles import Change, DefaultFilter, awatch

from knative.local.instance import NotReadyError
from knative.local.manifests.core import ConfigMap, Secret
from knative.local.manifests.images import Program
from knative.local.manifests.load import World
from knative.local.manifests.meta import Manifest
from knative.local.manifests.problems import ManifestError
from knative.local.manifests.serving import KnativeService
from knative.local.processes import Processes
from knative.local.revision import Revision

QUIET_MS = 200  # an editor writes a file in several steps
IDLE_MS = 500
_YAML = (".yaml", ".yml", ".json")
_OF_A_PROCESS = (KnativeService, ConfigMap, Secret)


class Watcher:
    """`run` until cancelled; `restart` is called where everything has to start again."""

    def __init__(
        self,
        processes: Processes,
        data: Path,
        reload: Callable[[], World],
        restart: Callable[[World], None],
        report: Callable[[str], None],
    ) -> None:
        self._processes = processes
        self._data = data.resolve()
        self._reload = reload
        self._restart = restart
        self._report = report
        self.unapplied: dict[str, str] = {}  # why a change was not taken: of a host, of YAML ("")

    async def run(self) -> None:
        """Follow the file system, one batch of changes after the other."""
        processes = self._processes
        programs = (path for r in processes.revisions for path in processes.watched(r))
        places = {path.resolve() for path in (*processes.world.folders, *programs)}
        existing = {path for path in places if path.exists()}
        following = False
        async for changes in awatch(
            *existing,
            watch_filter=_NotWithin(self._data),
            step=QUIET_MS,
            rust_timeout=IDLE_MS,
            yield_on_timeout=True,
        ):
            if not following:  # only from now on no change is missed
                following = True
                self._report(f"Watching {_listed(sorted(map(str, existing)))}")
            if changes:
                await self.changed([Path(path) for _, path in changes])

    async def changed(self, files: Iterable[Path]) -> None:
        """Restart what a change of these files concerns."""
        files = [file.resolve() for file in files]
        processes = self._processes
        stale = {r.host: r for r in processes.revisions if _concerns(files, processes.watched(r))}
        manifests = [
            f for f in files if f.suffix in _YAML and _concerns([f], processes.world.folders)
        ]
        if manifests:
            try:
                world = await asyncio.to_thread(self._reload)
                if world.unmapped:
                    raise ManifestError(list(world.unmapped))
            except ManifestError as error:
                self.unapplied[""] = f"{_names(manifests)} changed; what runs stays: {error}"
                self._report(f"{_names(manifests)} changed; what runs stays:\n{error}")
                return
            self.unapplied.pop("", None)
            if _others(world) != _others(processes.world):
                self._report(f"{_names(manifests)} changed: everything starts again")
                self._restart(world)
                return
            stale |= {r.host: r for r in processes.outdated(world)}
            processes.world = world
        if stale:
            await asyncio.gather(*(self._replace(r, files) for r in stale.values()))

    async def _replace(self, revision: Revision, files: list[Path]) -> None:
        began = time.monotonic()
        try:
            name = await self._processes.replace(revision)
        except NotReadyError as error:
            message = f"{_names(files)} changed; {revision.service.name} stays: {error}"
            self.unapplied[revision.host] = message
            self._report(message)
            return
        self.unapplied.pop(revision.host, None)
        took_s = time.monotonic() - began
        self._report(f"{_names(files)} changed: {name} is ready after {took_s:.1f} s")


class _NotWithin(DefaultFilter):
    """Leaves out the data folder, which mostly lies in what is watched and changes all the time."""

    def __init__(self, data: Path) -> None:
        super().__init__()
        self._data = data

    def __call__(self, change: Change, path: str) -> bool:
        return super().__call__(change, path) and not Path(path).is_relative_to(self._data)


def _concerns(files: Iterable[Path], places: Iterable[Path]) -> bool:
    return any(file.is_relative_to(place) for file in files for place in places)


def _others(world: World) -> tuple[list[Manifest], set[str], dict[str, Program]]:
    """What no one process is made of: other objects, which Services there are, what images are."""
    others = [item for item in world.objects if not isinstance(item, _OF_A_PROCESS)]
    return others, {service.host for service in world.all(KnativeService)}, dict(world.programs)


def _names(files: Iterable[Path]) -> str:
    files = list(files)
    existing = [file for file in files if file.exists()]  # editors make files and rename them
    return _listed(sorted({file.name for file in existing or files}))


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
