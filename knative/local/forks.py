"""Starts the processes of Services: forks of a server that has the imports, where an image has one.

A server belongs to one program. One whose code has changed on disk is replaced; it ends when the
last of its forks has. Where a server cannot start, the program itself says why, in its own log.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import sys
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from knative.local.environment import Launch
from knative.local.instance import ServiceProcess, spawn
from knative.local.manifests.images import Fork

# What a server has of the environment of those that it starts: no secret is among it. What Python
# itself reads is the server's, so that each setting of it has a server of its own.
_SHARED = ("PATH", "HOME", "LANG", "LC_ALL")
_Key = tuple[Path, Fork, tuple[tuple[str, str], ...]]


class Forks:
    """One server for each program that has one, begun when it is first needed."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._servers: dict[_Key, _Server] = {}
        self._one = asyncio.Lock()

    async def spawn(self, launch: Launch, log: Path) -> ServiceProcess:
        """Start `launch`, its output appended to `log`; NotReadyError when it cannot be run."""
        if launch.fork is not None and sys.platform == "linux":
            for file in (self._log, log):
                file.parent.mkdir(parents=True, exist_ok=True)
            env = {k: v for k, v in launch.env.items() if k in _SHARED or k.startswith("PYTHON")}
            key = (launch.cwd, launch.fork, tuple(sorted(env.items())))
            async with self._one:
                for _ in range(2):  # the first may be outdated, or have died
                    if key not in self._servers:
                        self._servers[key] = await _Server.start(
                            launch.fork, env, launch.cwd, self._log
                        )
                    if process := await self._servers[key].fork(launch, log):
                        return process
                    self._servers.pop(key).retire()
        return await spawn(launch, log)

    async def close(self) -> None:
        """End the servers; their processes have ended."""
        for server in self._servers.values():
            server.retire()


class _Server:
    """The runtime's side of one server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._asked = deque[asyncio.Future[dict[str, Any]]]()
        self._forks: dict[int, Forked] = {}
        self._retired = False
        self._reading = asyncio.create_task(self._read())

    @classmethod
    async def start(cls, fork: Fork, env: Mapping[str, str], folder: Path, log: Path) -> _Server:
        ours, theirs = socket.socketpair()
        module = ("-m", "knative.local.fork_server", str(theirs.fileno()))
        with theirs, log.open("ab") as output:
            await asyncio.create_subprocess_exec(
                *(sys.executable, *module, fork.call, *fork.preload),
                pass_fds=[theirs.fileno()],
                env=env,
                cwd=folder,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        return cls(*await asyncio.open_connection(sock=ours))

    async def fork(self, launch: Launch, log: Path) -> Forked | None:
        """A new process; None where this server is outdated, or has ended."""
        # Its socket is closed, and uvloop lets nothing be written then.
        if self._reading.done() or self._writer.is_closing():
            return None
        answer = asyncio.get_running_loop().create_future()
        self._asked.append(answer)
        request = {"env": launch.env, "cwd": str(launch.cwd), "log": str(log), "argv": launch.argv}
        self._writer.write(json.dumps(request).encode() + b"\n")
        pid = (await answer).get("pid")
        return self._forks.get(pid) if pid else None

    async def _read(self) -> None:
        """Take what the server reports until it ends, and its forks with it."""
        with contextlib.suppress(ConnectionError):
            while line := await self._reader.readline():
                message = json.loads(line)
                if "code" in message:
                    self._forks.pop(message["pid"]).ended(message["code"])
                    self._end_if_unused()
                    continue
                if "pid" in message:
                    self._forks[message["pid"]] = Forked(message["pid"])
                if not (answer := self._asked.popleft()).done():
                    answer.set_result(message)
        for fork in self._forks.values():
            fork.ended(-signal.SIGKILL)
        for answer in self._asked:
            if not answer.done():
                answer.set_result({})
        self._writer.close()

    def retire(self) -> None:
        """End the server once it has no fork any more."""
        self._retired = True
        self._end_if_unused()

    def _end_if_unused(self) -> None:
        if self._retired and not self._forks:
            self._writer.close()


class Forked:
    """A process of a fork server, as asyncio has its own."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = asyncio.Event()

    def ended(self, code: int) -> None:
        self.returncode = code
        self._ended.set()

    async def wait(self) -> int | None:
        await self._ended.wait()
        return self.returncode

    def terminate(self) -> None:
        self._signal(signal.SIGTERM)

    def kill(self) -> None:
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)
