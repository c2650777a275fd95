"""The embedded PostgreSQL as a process: started, kept running, stopped."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import NoReturn

import psutil

from knative.local import log_file
from knative.local.errors import StartError
from knative.local.postgres_folder import (
    PROGRAMS,
    as_user,
    bury,
    give,
    lives,
    make,
    running,
    socket_directory,
)

logger = logging.getLogger(__name__)

READY_WITHIN_S = 60.0  # a crash is recovered from by then
STOP_WITHIN_S = 20.0
WATCH_EVERY_S = 0.5
_LEFT_WITHIN_S = 5.0  # a killed server's processes hold its memory for a moment


class PostgresServer:
    """One server on the folder `home`; `directory` is where its socket is."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.directory = home
        self.state = "zero"
        self.reason = ""
        self.starts = 0
        self.crashes = 0
        self.log = home / "log"
        self._process: psutil.Process | None = None
        self._lock = threading.Lock()  # whoever stops a server waits until its start is over

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None and self._is_alive() else None

    def start(self) -> None:
        """Start the server, or attach to one that runs; blocks, a second the first time."""
        with self._lock:
            self.state = "starting"
            try:
                make(self.home)
                self._start()
            except (OSError, subprocess.SubprocessError, psutil.Error) as error:
                self._fail(str(error))
            self.state, self.reason = "ready", ""

    def stop(self) -> None:
        """End all sessions, stop the server and wait for it."""
        with self._lock:
            process, self._process = self._process, None
            if process is not None:
                _end(process)
            if self.directory != self.home:
                shutil.rmtree(self.directory, ignore_errors=True)
            self.state = "zero"

    async def watch(self) -> None:
        """Until cancelled: start the server again whenever it has ended."""
        while True:
            await asyncio.sleep(WATCH_EVERY_S)
            log_file.bound(self.log)
            if self._is_alive():
                continue
            if self.state == "ready":
                self.crashes += 1
                logger.error("PostgreSQL has ended and is started again: see %s", self.log)
            with contextlib.suppress(StartError):
                await asyncio.to_thread(self.start)

    def attach(self) -> bool:
        """Take over the server that runs on the folder; False when none is ready there."""
        found = running(self.home)
        if found is None or len(found[1]) != 8 or found[1][7].strip() != "ready":
            return False
        self._process, lines = found
        self.directory = Path(lines[4])
        return True

    def _start(self) -> None:
        deadline = time.monotonic() + READY_WITHIN_S
        if self._joined(deadline):
            return
        bury(self.home)
        if self.directory == self.home:  # a place that was found is what its clients know
            self.directory = socket_directory(self.home)
        self.starts += 1
        again_until = time.monotonic() + _LEFT_WITHIN_S
        while not self._spawn(deadline):
            if time.monotonic() > min(again_until, deadline):
                lines = self.log.read_text(errors="replace").splitlines()
                self._fail(lines[-1] if lines else "it says nothing")

    def _joined(self, deadline: float) -> bool:
        """Attach to the server that runs on the folder; wait while it recovers from a crash."""
        while not self.attach():
            if running(self.home) is None:
                return False
            if time.monotonic() > deadline:
                self._fail("the server that runs there does not become ready")
            time.sleep(0.02)
        return True

    def _spawn(self, deadline: float) -> bool:
        """Is a new server ready? False when it has ended instead, or is not by the deadline."""
        options = ("-D", str(self.home), "-k", str(self.directory), "-c", "listen_addresses=")
        with self.log.open("ab") as output:
            give(output.fileno())
            child = psutil.Popen(
                [PROGRAMS / "postgres", *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # it outlives us, and no Ctrl-C of ours reaches it
                **as_user(),
            )
        while child.poll() is None:
            if self.attach() and self._process is not None and self._process.pid == child.pid:
                self._process = child
                return True
            if time.monotonic() > deadline:
                child.kill()
            time.sleep(0.02)
        return False

    def _is_alive(self) -> bool:
        if isinstance(self._process, psutil.Popen):
            return self._process.poll() is None
        return self._process is not None and lives(self._process)

    def _fail(self, reason: str) -> NoReturn:
        self.state, self.reason = "failed", reason
        raise StartError(f"PostgreSQL does not start in {self.home}: {reason}") from None


def _end(process: psutil.Process) -> None:
    for number, timeout_s in ((signal.SIGINT, STOP_WITHIN_S), (signal.SIGQUIT, 5.0)):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
            process.send_signal(number)
            process.wait(timeout_s)
            return
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()
