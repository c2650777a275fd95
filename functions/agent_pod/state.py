"""The folder that an agent keeps from one run to the next, such as its session's files.

It is the agent's, which may put a link in any place at any moment. So each file is opened below its
folder, through no link, and copied to a place of our own, of which git then makes a tree.
"""

from __future__ import annotations

import heapq
import os
import re
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from functions.agent_pod.environment import Places
from functions.kit.clients.git import git
from functions.untrusted_text import secrets_in

MAX_BYTES = 5_000_000
MAX_FILES = 1000
MAX_DEPTH = 50  # of folders
# What git takes for its own folder, on whichever system.
_GITS_OWN = re.compile(r"(\.git|git~\d+)[ .]*(:.*)?", re.IGNORECASE | re.DOTALL)


def store_state(places: Places) -> tuple[str | None, dict[str, str]]:
    """Return the tree of the folder as it is now, in `state_objects`, None where nothing is kept;
    and the names of the files that are left out, each with the reason.

    The newest are kept, up to MAX_BYTES and MAX_FILES, but for those with what looks like a key.
    """
    own = places.state_objects.parent
    shutil.rmtree(own, ignore_errors=True)
    places.state_objects.mkdir(parents=True)
    files, is_empty = own / "files", True
    files.mkdir()
    chosen, left_out = _newest(places.state)
    for name, content in _contents(places.state, chosen, left_out):
        text = f"{name}\n{content.decode(errors='replace')}"
        if problems := secrets_in(text, "it"):
            left_out[name] = problems[0].partition(": ")[2]
            continue
        try:
            (files / name).parent.mkdir(parents=True, exist_ok=True)
            (files / name).write_bytes(content)
        except OSError as error:  # such as a path that is longer here than the system takes
            left_out[name] = f"cannot be written: {error.strerror}"
            continue
        is_empty = False
    if is_empty:
        return None, left_out
    # Objects beside the repository's: they are replaced each minute, and would fill it.
    env = {
        "GIT_INDEX_FILE": str(own / "index"),
        "GIT_WORK_TREE": str(files),
        "GIT_OBJECT_DIRECTORY": str(places.state_objects),
    }
    git("add", "--all", "--force", at=places.git, env=env)
    return git("write-tree", at=places.git, env=env), left_out


def restore_state(places: Places, commit: str) -> None:
    """Put the files of a commit into the folder."""
    env = {"GIT_INDEX_FILE": str(places.collected / "restored-index")}
    git(f"--work-tree={places.state}", "checkout", commit, "--", ".", at=places.git, env=env)


def _newest(folder: Path) -> tuple[set[str], dict[str, str]]:
    """Return the names of the files that are kept, and of those that are not, with the reason."""
    newest: list[tuple[int, str, int]] = []
    left_out: dict[str, str] = {}
    count, remaining = 0, MAX_BYTES
    for path, name, number in _walk(folder, left_out):
        with suppress(OSError):  # it is gone meanwhile
            found = os.stat(name, dir_fd=number, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode):
                count += 1
                push = heapq.heappush if count <= MAX_FILES else heapq.heappushpop
                push(newest, (found.st_mtime_ns, path, found.st_size))
    chosen = set()
    for _, path, size in sorted(newest, reverse=True):
        if size <= remaining:
            remaining -= size
            chosen.add(path)
        else:
            left_out[path] = f"has {size} bytes, {remaining} are left"
    if count > MAX_FILES:
        left_out["..."] = f"the oldest of {count} files: {MAX_FILES} are kept"
    return chosen, left_out


def _contents(
    folder: Path, chosen: set[str], left_out: dict[str, str]
) -> Iterator[tuple[str, bytes]]:
    """Read these files; add what has grown too large meanwhile to what is left out."""
    remaining = MAX_BYTES
    for path, name, number in _walk(folder, left_out):
        content = _read(name, number, remaining + 1) if path in chosen else None
        if content is None:
            continue
        if len(content) > remaining:
            left_out[path] = "grows"
            continue
        remaining -= len(content)
        yield path, content


def _walk(folder: Path, left_out: dict[str, str]) -> Iterator[tuple[str, str, int]]:
    """Each file's path and name, with its open folder; nothing of a repository, which git would
    read. Adds folders that are too deep to what is left out."""
    try:
        top = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
    except OSError:
        return  # none, or a link in its place
    try:
        for at, folders, names, number in os.fwalk(".", dir_fd=top):
            folders[:] = [one for one in folders if not _is_gits_own(one)]
            if at.count("/") >= MAX_DEPTH:
                why = f"is below {MAX_DEPTH} folders"
                left_out |= {os.path.normpath(f"{at}/{one}") + "/": why for one in folders}
                folders.clear()
            for name in names:
                if not _is_gits_own(name):
                    yield os.path.normpath(f"{at}/{name}"), name, number
    finally:
        os.close(top)


def _is_gits_own(name: str) -> bool:
    """Would git refuse a tree with this name in it, and with it all others?

    >>> [_is_gits_own(name) for name in (".GIT", "git~1", ".git .", "a\\\\b", ".gitignore", "git")]
    [True, True, True, True, False, False]
    """
    return "\\" in name or _GITS_OWN.fullmatch(name) is not None


def _read(name: str, folder: int, max_bytes: int) -> bytes | None:
    """Return the content of a regular file; None of all else, and of what is gone meanwhile."""
    try:
        number = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return None
    with os.fdopen(number, "rb") as file:
        return file.read(max_bytes) if stat.S_ISREG(os.fstat(number).st_mode) else None
