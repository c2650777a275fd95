"""The files that a repository has in Git LFS, in the workspace: on request, for reading.

The agent's image needs no git-lfs: its git takes the files for what is committed, their pointers,
whatever becomes of them. So what an agent changes of them is not kept.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path

from functions.agent_pod.environment import Failure, Places
from functions.kit.clients.git import GitError, authorization, configured, git, git_bytes

MAX_BYTES = 500_000_000
_POINTER_BYTES = 1024
_SIZE = re.compile(rb"^size (\d{1,18})$", re.MULTILINE)
_FILTER = {
    "filter.lfs.clean": "git-lfs clean -- %f",
    "filter.lfs.smudge": "git-lfs smudge -- %f",
    "filter.lfs.process": "git-lfs filter-process",
}


def pull_lfs(places: Places, url: str, token: str) -> None:
    """Put the files of the commit at HEAD in their pointers' place, and have git and the sidecar
    pass over them.

    `Failure` where they have more than MAX_BYTES, or the image has no git-lfs; `GitError`, with the
    server's reason, where they cannot be had.
    """
    at = places.repository
    try:
        git("lfs", "version")
    except GitError:
        raise Failure(
            "the route asks for LFS, and there is no git-lfs: give WORKSPACE_IMAGE one"
        ) from None
    listed = git_bytes("lfs", "ls-files", "--name-only", within=at)
    names = [os.fsdecode(one) for one in listed.split(b"\n") if one]
    if not names:
        return
    # Of one that is larger than its pointer claims, git-lfs leaves the pointer.
    size = sum(_claimed(at / name) for name in names)
    if size > MAX_BYTES:
        raise Failure(f"the files in LFS have {size // 10**6} MB, {MAX_BYTES // 10**6} MB at most")
    storage = places.collected / "lfs"
    # The repository's own word for the server does not count: the token goes to `url` alone.
    settings = {**_FILTER, "lfs.url": f"{url}/info/lfs", "lfs.storage": str(storage)}
    git("lfs", "pull", within=at, env=configured({**settings, **authorization(token, url)}))
    shutil.rmtree(storage, ignore_errors=True)
    passed_over = b"".join(os.fsencode(name) + b"\0" for name in names)
    git("update-index", "--skip-worktree", "-z", "--stdin", within=at, given=passed_over)
    places.lfs_names.write_bytes(passed_over)


def _claimed(file: Path) -> int:
    """Return the size of what is behind a pointer, 0 of what is none: it was changed."""
    if file.is_symlink() or not file.is_file() or file.stat().st_size > _POINTER_BYTES:
        return 0
    found = _SIZE.search(file.read_bytes())
    return int(found[1]) if found else 0
