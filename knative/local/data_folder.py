"""The data folder: its owner's alone, and marked, so that nothing else is ever deleted."""

from __future__ import annotations

import os
import pwd
import shutil
from pathlib import Path

from knative.local.errors import StartError

MARKER = ".knative-local"
_MARKER_TEXT = (
    "The data folder of a local Knative: `make clean` deletes it with all that is in it.\n"
)
# What a folder may hold that was ours before folders were marked.
_OURS = {
    "lock", "runtime.json", "kubeconfig", "broker.sqlite", "broker.sqlite-shm",
    "broker.sqlite-wal", "clock.json", "tried.json", "pids.json", "kube", "logs", "volumes",
    "postgres", "secrets.json",
}  # fmt: skip
# Written by SQLite under the mode that the file has: payloads and Secrets.
_DATABASES = ("broker.sqlite", "kube/kube.sqlite")


def prepare(data: Path) -> None:
    """Make the folder, for no other user to enter; StartError where another user owns it.

    A folder that held something else before is used and not marked.
    """
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    owner = data.stat().st_uid
    if owner != os.geteuid():
        raise StartError(f"{data} belongs to {_name(owner)}: give another --data")
    data.chmod(0o700)
    marker = data / MARKER
    if not marker.exists() and {entry.name for entry in data.iterdir()} <= _OURS:
        marker.write_text(_MARKER_TEXT)
    for database in _DATABASES:
        file = data / database
        file.parent.mkdir(mode=0o700, exist_ok=True)
        file.touch(mode=0o600)
        file.chmod(0o600)


def write_private(file: Path, text: str) -> None:
    """Write a file that its owner alone may read; a reader sees the old text or the new one."""
    scratch = file.with_name(f"{file.name}.new")
    scratch.unlink(missing_ok=True)
    scratch.touch(mode=0o600, exist_ok=False)
    scratch.write_text(text)
    scratch.rename(file)


def check_deletable(data: Path) -> None:
    """StartError where the folder is there and is not marked as ours."""
    if data.exists() and not (data / MARKER).is_file():
        raise StartError(
            f"{data} is not marked as a data folder of the local Knative, so it is left alone; if "
            "it is one, of an older version or beside other files, delete it by hand"
        )


def delete(data: Path) -> bool:
    """Delete a marked folder, and the link that led to it; True if it was there."""
    check_deletable(data)
    if not data.exists():
        return False
    shutil.rmtree(data.resolve())
    if data.is_symlink():
        data.unlink()
    return True


def _name(user: int) -> str:
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return f"user {user}"
