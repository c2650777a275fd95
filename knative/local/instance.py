"""One process of a Knative Service: started, awaited until ready, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import re
import signal
import socket
import time
from collections import deque
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import aiohttp

from knative.local.environment import Launch
from knative.local.fork_server import die_with_parent
from knative.local.manifests.pods import Probe

LOG_TAIL_LINES = 12
PROBE_EVERY_S = 0.02
# What shows a process that a request is the gateway's; functions of the kit ask for it.
GATEWAY_HEADER = "x-gateway-token"
PORTS = range(20_000, 32_000)
_given: deque[int] = deque(maxlen=1000)  # ports whose process may not listen yet


class NotReadyError(Exception):
    """The process did not become ready; the text is the reason, with its last words."""


class ServiceProcess(Protocol):
    """What `asyncio.subprocess.Process` has of use here; a fork has it too."""

    @property
    def pid(self) -> int: ...

    @property
    def returncode(self) -> int | None: ...

    async def wait(self) -> int | None: ...

    def terminate(self) -> None: ...

    def kill(self) -> None: ...


@dataclass
class Instance:
    """A running process. `host` and `port` are where it listens."""

    process: ServiceProcess
    port: int
    started: float  # monotonic seconds
    gateway_token: str = ""
    host: str = "127.0.0.1"

    @property
    def alive(self) -> bool:
        return self.process.returncode is None

    @property
    def pid(self) -> int:
        return self.process.pid

    async def has_ended(self, timeout_s: float = 1.0) -> bool:
        """Has its process ended? Its port is closed a moment before that is known."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.process.wait(), timeout_s)
        return not self.alive

    async def stop(self, grace_s: float) -> None:
        """SIGTERM, then SIGKILL after `grace_s` seconds."""
        if not self.alive:
            return
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            await asyncio.wait_for(self.process.wait(), grace_s)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
            await self.process.wait()
        self.end_group()

    def end_group(self) -> None:
        """Kill what the ended process has left behind, as the end of a container does."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)


def free_port() -> int:
    """A free TCP port, below those that the system gives to outgoing connections."""
    while True:
        port = random.choice(PORTS)
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            if port not in _given:
                _given.append(port)
                return port


async def spawn(launch: Launch, log: Path) -> ServiceProcess:
    """Start `launch`, its output appended to `log`; NotReadyError when it cannot be run."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as output:
        try:
            return await asyncio.create_subprocess_exec(
                *launch.argv,
                env=launch.env,
                cwd=launch.cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                preexec_fn=partial(die_with_parent, os.getpid()),
                start_new_session=True,  # a Ctrl-C is for the runtime, which drains its children
            )
        except (OSError, ValueError) as error:
            raise NotReadyError(f"cannot run {launch.argv[0]}: {error}") from None


async def await_ready(instance: Instance, probe: Probe | None, deadline_s: float) -> None:
    """Return when the readiness probe succeeds.

    An httpGet probe wants a status from 200 to 399; without one a listening port is enough, as
    in Knative. Raises NotReadyError when the process ends or `deadline_s` seconds pass.
    """
    until = time.monotonic() + deadline_s
    path = probe.http_get.path if probe and probe.http_get else None
    last = f"it does not listen on $PORT, {instance.port}"
    async with aiohttp.ClientSession(trust_env=False) as session:
        while instance.alive:
            if path is None:
                ready, reason = await _listens(instance)
            else:
                ready, reason = await _answers(session, instance, path)
            if ready:
                return
            last = reason or last
            if time.monotonic() > until:
                raise NotReadyError(f"not ready after {deadline_s:g} s: {last}")
            await asyncio.sleep(PROBE_EVERY_S)
    raise NotReadyError(f"it ended with {exit_message(instance.process.returncode)}")


async def _listens(instance: Instance) -> tuple[bool, str]:
    try:
        _, writer = await asyncio.open_connection(instance.host, instance.port)
    except OSError:
        return False, ""
    writer.close()
    return True, ""


async def _answers(
    session: aiohttp.ClientSession, instance: Instance, path: str
) -> tuple[bool, str]:
    url = f"http://{instance.host}:{instance.port}{path}"
    try:
        timeout = aiohttp.ClientTimeout(total=5)
        headers = {GATEWAY_HEADER: instance.gateway_token}
        async with session.get(
            url, timeout=timeout, headers=headers, allow_redirects=False
        ) as answer:
            text = (await answer.text(errors="replace"))[:300]
            return 200 <= answer.status < 400, f"GET {path} answers {answer.status} {text}"
    except aiohttp.ClientConnectorError:
        return False, ""
    except (aiohttp.ClientError, TimeoutError) as error:
        return False, f"GET {path}: {error or type(error).__name__}"


def exit_message(code: int | None) -> str:
    if code is not None and code < 0:
        return f"signal {signal.Signals(-code).name}"
    return f"exit code {code}"


def last_message(log: Path, start: int = 0) -> str:
    """The last message of the process: the line that names the cause, else its final line."""
    try:
        with log.open("rb") as file:
            file.seek(max(start, log.stat().st_size - 20_000))
            lines = [line for line in file.read().decode(errors="replace").splitlines() if line]
    except OSError:
        return ""
    tail = lines[-LOG_TAIL_LINES:]
    for line in reversed(tail):
        if re.match(r"[\w.]*(Error|Exception|Exit)\b.*", line):  # the last line of a traceback
            return line
    return tail[-1] if tail else ""
