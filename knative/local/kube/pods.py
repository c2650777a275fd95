"""Runs one pod: its containers as processes, its status in the store, its end on request."""

from __future__ import annotations

import asyncio
import logging
import shutil
import signal
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knative.local.kube import pod_status
from knative.local.kube.environment import Lookup, MissingError, resolve
from knative.local.kube.machine import Machine, memory_limit
from knative.local.kube.process import MARK, Process
from knative.local.kube.startup_probe import StartupProbe
from knative.local.kube.stop import Stop
from knative.local.kube.store import Key, Object, Store
from knative.local.kube.timestamps import stamp
from knative.local.kube.volumes import mounts, rewrite, write_volumes

logger = logging.getLogger(__name__)
Container = Mapping[str, Any]
MAX_RESTART_PAUSE_S = 300.0
# A sidecar gets so much of the grace period at the least, as from the kubelet.
MIN_SIDECAR_GRACE_S = 2.0
_MESSAGE_BYTES = 2048


@dataclass
class _Sidecar:
    """An init container that runs beside the others until they have ended."""

    stop: Stop = field(default_factory=Stop)
    started: asyncio.Event = field(default_factory=asyncio.Event)
    run: asyncio.Task[int] | None = None


class PodRun:
    """A pod from Pending to its end; `run` is its whole life, `stop` ends it early."""

    def __init__(
        self,
        key: Key,
        pod: Object,
        *,
        store: Store,
        machine: Machine,
        lookup: Lookup,
        folder: Path,
        backoff_base_s: float,
    ) -> None:
        self._key, self._pod = key, pod
        self._store, self._machine, self._lookup = store, machine, lookup
        self.folder = folder
        self._backoff_base_s = backoff_base_s
        self._stop = Stop()
        self._sidecars: dict[str, _Sidecar] = {}
        self._why: dict[str, str] = {}
        self.config_changed = asyncio.Event()
        creating = pod_status.waiting("ContainerCreating")
        self._init = {
            one["name"]: pod_status.container_status(one, creating)
            for one in pod["spec"].get("initContainers") or ()
        }
        self._main = {
            one["name"]: pod_status.container_status(one, creating)
            for one in pod["spec"]["containers"]
        }

    def stop(self, grace_s: float, **why: str) -> None:
        """SIGTERM now, SIGKILL after `grace_s`; a second call may shorten it to nothing.

        `why` (reason, message) ends up in the pod's status.
        """
        self._why = why
        self._stop.request(grace_s)

    async def run(self, slots: asyncio.Semaphore) -> None:
        """Run to the end; waits for a slot first."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if not await self._slot(slots):
            return self._finish([143])
        try:
            if reason := self._machine.refusal(self._pod, self._lookup):
                return self._record_only(reason)
            await self._run_containers()
        finally:
            slots.release()

    async def _slot(self, slots: asyncio.Semaphore) -> bool:
        taking = asyncio.create_task(slots.acquire())
        try:
            await self._stop.first(taking)
            return taking.done()
        finally:
            if not taking.done():
                taking.cancel()

    async def _run_containers(self) -> None:
        try:
            codes = await self._codes()
        finally:
            await self._end_sidecars()
        self._finish(codes)

    async def _codes(self) -> list[int]:
        """The exit codes that decide how the pod ended; a sidecar's does not."""
        spec = self._pod["spec"]
        for container in spec.get("initContainers") or ():
            if is_sidecar(container):
                await self._start_sidecar(container)
                continue
            code = await self._container(container, self._init, self._stop)
            if code != 0 or self._stop.requested.is_set():
                return [code or 143]
        if self._stop.requested.is_set():
            return [143]
        async with asyncio.TaskGroup() as group:
            runs = [
                group.create_task(self._container(one, self._main, self._stop))
                for one in spec["containers"]
            ]
        return [run.result() for run in runs]

    async def _start_sidecar(self, container: Container) -> None:
        """Return once it has started: the containers after it may rely on it."""
        sidecar = self._sidecars[container["name"]] = _Sidecar()
        sidecar.run = asyncio.create_task(self._container(container, self._init, sidecar.stop))
        started = asyncio.create_task(sidecar.started.wait())
        await self._stop.first(started)
        started.cancel()

    async def _end_sidecars(self) -> None:
        """One after the other, the last one first; with what is left of the grace period."""
        grace_s = float(self._pod["spec"].get("terminationGracePeriodSeconds", 30))
        for sidecar in reversed(self._sidecars.values()):
            if self._stop.requested.is_set():
                grace_s = max(self._stop.remaining_s, MIN_SIDECAR_GRACE_S)
            sidecar.stop.request(grace_s)
            if sidecar.run is not None:
                await sidecar.run

    async def _container(self, container: Container, entries: dict[str, Object], stop: Stop) -> int:
        always = is_sidecar(container)
        again = always or self._pod["spec"]["restartPolicy"] == "OnFailure"
        restarts = 0
        while True:
            code = await self._once(container, entries, restarts, stop)
            if (code == 0 and not always) or not again or stop.requested.is_set():
                return code
            pause_s = min(self._backoff_base_s * 2.0**restarts, MAX_RESTART_PAUSE_S)
            restarts += 1
            message = f"back-off {pause_s:g}s restarting failed container={container['name']}"
            self._set(entries, container, pod_status.waiting("CrashLoopBackOff", message), restarts)
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.requested.wait(), pause_s)
                return code

    async def _once(
        self, container: Container, entries: dict[str, Object], restarts: int, stop: Stop
    ) -> int:
        volumes = self.folder / "volumes"
        places = mounts(container, volumes)
        env = await self._prepared(container, entries, restarts, stop, volumes)
        if env is None:
            return 143
        values = {k: self._machine.resolve_env(rewrite(v, places)) for k, v in env.items()}
        work = self.folder / "work"
        work.mkdir(exist_ok=True)
        (log := log_path(self.folder, container["name"], restarts)).touch()
        env = {**self._machine.base_environment(self._pod["spec"]), **values}
        env[MARK] = self._pod["metadata"]["uid"]
        cwd = self._machine.folder(container, work, places)
        process = await Process.start(
            self._machine.argv(container, values, places),
            env=env,
            cwd=cwd,
            log=log,
            record=self.folder / f"{container['name']}.pid",
        )
        state = pod_status.running()
        self._set(entries, container, state, restarts)
        probe = StartupProbe.of(container, places)
        starting = asyncio.create_task(self._started(container["name"], process, probe, env, cwd))
        code = await stop.ended(process, memory_limit(container))
        starting.cancel()
        message = ""
        if code and container.get("terminationMessagePolicy") == "FallbackToLogsOnError":
            message = log.read_bytes()[-_MESSAGE_BYTES:].decode(errors="replace")
        end = pod_status.terminated(
            code,
            state["running"]["startedAt"],
            out_of_memory=process.out_of_memory,
            message=message,
        )
        self._set(entries, container, end, restarts)
        return code

    async def _started(
        self,
        name: str,
        process: Process,
        probe: StartupProbe | None,
        env: Mapping[str, str],
        cwd: Path,
    ) -> None:
        """Let what comes after a sidecar begin; kill the sidecar whose startup probe fails."""
        if (sidecar := self._sidecars.get(name)) is None:
            return
        if probe is None or await probe.succeeds(env=env, cwd=cwd):
            sidecar.started.set()
        else:
            logger.warning("pod %s: the startup probe of %s fails: killed", self._key.name, name)
            process.signal(signal.SIGKILL)

    async def _prepared(
        self,
        container: Container,
        entries: dict[str, Object],
        restarts: int,
        stop: Stop,
        volumes: Path,
    ) -> dict[str, str] | None:
        """The environment, once all that it and the volumes need is there; None if stopped."""
        while not stop.requested.is_set():
            self.config_changed.clear()
            reason = "ContainerCreating"  # while volumes cannot be mounted, as the kubelet says it
            try:
                write_volumes(self._pod["spec"], volumes, self._lookup)
                reason = "CreateContainerConfigError"
                return resolve(container, self._pod, self._lookup)
            except MissingError as missing:
                self._set(entries, container, pod_status.waiting(reason, str(missing)), restarts)
                await stop.first(asyncio.create_task(self.config_changed.wait()))
        return None

    def _set(
        self, entries: dict[str, Object], container: Container, state: Object, restarts: int
    ) -> None:
        name = container["name"]
        entries[name] = pod_status.with_state(entries[name], state, restarts)
        begun = any("waiting" not in e["state"] or e["restartCount"] for e in self._main.values())
        self._write("Running" if begun else "Pending")

    def _finish(self, codes: list[int]) -> None:
        for entries in (self._init, self._main):
            for name, entry in entries.items():
                if "terminated" not in entry["state"]:
                    last = entry["lastState"].get("terminated")
                    code = last["exitCode"] if last else max(codes)
                    end = pod_status.terminated(code, stamp())
                    entries[name] = pod_status.with_state(entry, end, entry["restartCount"])
        self._write("Succeeded" if not any(codes) else "Failed", **self._why)

    def _record_only(self, reason: str) -> None:
        """Complete without running, and say so wherever a user may look."""
        message = f"recorded only, not run: {reason}"
        for container in (
            *(self._pod["spec"].get("initContainers") or ()),
            *self._pod["spec"]["containers"],
        ):
            log_path(self.folder, container["name"], 0).write_text(message + "\n")
        pod = self._store.get(self._key) or self._pod
        notes = {**(pod["metadata"].get("annotations") or {}), pod_status.RECORDED_ONLY: reason}
        metadata = {**pod["metadata"], "annotations": notes}
        self._store.put(self._key, {**pod, "metadata": metadata})
        for entries in (self._init, self._main):
            for name, entry in entries.items():
                end = pod_status.terminated(0, stamp(), message=message)
                entries[name] = pod_status.with_state(entry, end, 0)
        self._write("Succeeded", reason="RecordedOnly", message=message)

    def _write(self, phase: str, **more: str) -> None:
        pod = self._store.get(self._key)
        if pod is not None:
            init, main = list(self._init.values()), list(self._main.values())
            status = pod_status.pod_status(pod["status"], phase, init, main, **more)
            self._store.put(self._key, {**pod, "status": status})


def is_sidecar(container: Container) -> bool:
    """Is it an init container that runs as long as the others?"""
    return container.get("restartPolicy") == "Always"


def log_path(folder: Path, container: str, restarts: int) -> Path:
    """Where the n-th start of a container writes."""
    return folder / f"{container}.{restarts}.log"


def remove_folder(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
