"""The folder that an agent keeps from one run to the next, such as its session's files.

It is the agent's, which may put a link in any place at any moment. So each file is opened below its
folder, through no link, and copied to a place of our own, of which git then makes a tree.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path

from functions.agent_pod.environment import Failure, Places
from functions.kit.clients.git import git
from functions.untrusted_text import secrets_in

MAX_BYTES = 5_000_000
MAX_FILES = 1000


def store_state(places: Places) -> str | None:
    """Return the tree of the folder as it is now, in `state_objects`; None where it is empty.

    A file that has what looks like a key is left out. `Failure` where all is more than MAX_BYTES or
    MAX_FILES.
    """
    own = places.state_objects.parent
    shutil.rmtree(own, ignore_errors=True)
    places.state_objects.mkdir(parents=True)
    files, is_empty = own / "files", True
    files.mkdir()
    for name, content in _files(places.state):
        if problems := secrets_in(content.decode(errors="replace"), f"the state's {name}"):
            print(f"not kept: {problems[0]}", flush=True)
            continue
        (files / name).parent.mkdir(parents=True, exist_ok=True)
        (files / name).write_bytes(content)
        is_empty = False
    if is_empty:
        return None
    # Objects beside the repository's: they are replaced each minute, and would fill it.
    env = {
        "GIT_INDEX_FILE": str(own / "index"),
        "GIT_WORK_TREE": str(files),
        "GIT_OBJECT_DIRECTORY": str(places.state_objects),
    }
    git("add", "--all", "--force", at=places.git, env=env)
    return git("write-tree", at=places.git, env=env)


def restore_state(places: Places, commit: str) -> None:
    """Put the files of a commit into the folder."""
    env = {"GIT_INDEX_FILE": str(places.collected / "restored-index")}
    git(f"--work-tree={places.state}", "checkout", commit, "--", ".", at=places.git, env=env)


def _files(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents of all regular files; nothing of a repository, which git would read."""
    remaining, count = MAX_BYTES, 0
    try:
        top = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY)
    except OSError:
        return  # none, or a link in its place
    try:
        for at, folders, names, number in os.fwalk(".", dir_fd=top):
            folders[:] = [one for one in folders if one.lower() != ".git"]
            for name in names:
                content = _read(name, number, remaining + 1)
                if content is None or name.lower() == ".git":
                    continue
                remaining, count = remaining - len(content), count + 1
                if remaining < 0 or count > MAX_FILES:
                    limit = f"{MAX_BYTES // 10**6} MB or {MAX_FILES} files"
                    raise Failure(f"the agent's state is more than {limit}")
                yield os.path.normpath(f"{at}/{name}"), content
    finally:
        os.close(top)


def _read(name: str, folder: int, max_bytes: int) -> bytes | None:
    """Return the content of a regular file; None of all else, and of what is gone meanwhile."""
    try:
        number = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError:
        return None
    with os.fdopen(number, "rb") as file:
        return file.read(max_bytes) if stat.S_ISREG(os.fstat(number).st_mode) else None
