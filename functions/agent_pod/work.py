"""What an agent has done in its repository, as commits and as a bundle of them.

All of it is untrusted. Git runs on a repository of our own, which borrows the agent's objects:
nothing that the agent may have configured (hooks, filters, monitors) is read. Nor does it
look into a repository within the agent's folder: it would read that one's configuration.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from functions.agent_pod.environment import Failure, Places
from functions.agent_pod.prepare import BASE, STATE, UNCOMMITTED, WORK
from functions.agent_pod.untrusted_files import read_line, read_text
from functions.kit.clients.git import GitError, git, git_bytes

MAX_BUNDLE_BYTES = 20 * 1024 * 1024
# Of a file that is not committed, such as one of Git LFS by another name: larger ones would cost
# all that is smaller.
MAX_FILE_BYTES = 5_000_000
GIT_S = 30.0
_COMMIT = re.compile(r"[0-9a-f]{40}")
_WHO = {
    f"GIT_{who}_{what}": "dsm-agent"
    for who in ("AUTHOR", "COMMITTER")
    for what in ("NAME", "EMAIL")
}


@dataclass(frozen=True)
class Work:
    """What is new since `base`: the commit `tip`, `tree` where there is more than is in it, and
    the agent's `state`."""

    base: str
    tip: str
    tree: str | None
    state: str | None = None

    @property
    def own(self) -> tuple[str, str | None] | None:
        """What is new of the repository, whatever the state; None where nothing is."""
        return (self.tip, self.tree) if self.tip != self.base or self.tree else None


def find_work(places: Places, left_out: dict[str, str]) -> Work | None:
    """What the agent has done in its repository, None without one. Adds the names of files that are
    left out, each with the reason."""
    tip = head(places.repository / ".git") if places.git.exists() else None
    if tip is None:
        return None  # no repository was cloned for it, or none is left
    borrowed = places.git / "objects" / "info" / "alternates"
    borrowed.write_text(f"{places.repository / '.git' / 'objects'}\n{places.state_objects}\n")
    base = git("rev-parse", BASE, at=places.git)
    git("update-ref", WORK, tip, at=places.git, timeout_s=GIT_S)
    tree = None
    with suppress(GitError):  # what is committed is worth more than what is not
        tree = _changed_tree(places, tip, left_out)
    return Work(base, tip, tree)


def make_bundle(places: Places, found: Work) -> str:
    """It as a bundle in base64: `work`, `uncommitted` on top of it, and the agent's `state`."""
    names = [WORK] if found.tip != found.base else []
    if found.tree:
        more = ("commit-tree", found.tree, "-p", found.tip, "-m", "Uncommitted changes")
        git("update-ref", UNCOMMITTED, git(*more, at=places.git, env=_WHO), at=places.git)
        names.append(UNCOMMITTED)
    if found.state:
        # On the base as well: a bundle stands on one commit.
        state = ("commit-tree", found.state, "-p", found.base, "-m", "The agent's state")
        git("update-ref", STATE, git(*state, at=places.git, env=_WHO), at=places.git)
        names.append(STATE)
    file = places.collected / "work.bundle"
    git("bundle", "create", "--quiet", str(file), *names, f"^{found.base}", at=places.git)
    if file.stat().st_size > MAX_BUNDLE_BYTES:
        if found.state:
            print("its state is not kept: the commits leave it no room", flush=True)
            return make_bundle(places, replace(found, state=None))
        if found.tree and found.tip != found.base:
            print("what is not committed is not kept: the commits leave it no room", flush=True)
            return make_bundle(places, replace(found, tree=None))
        size = file.stat().st_size // 1_000_000
        raise Failure(f"the commits are {size} MB, {MAX_BUNDLE_BYTES // 1_000_000} at most")
    return b64encode(file.read_bytes()).decode()


def head(folder: Path) -> str | None:
    """The commit that the agent's repository is at, read without running git there."""
    name = read_line(folder / "HEAD")
    if name.startswith("ref: "):
        name = name.removeprefix("ref: ").strip()
        if not re.fullmatch(r"refs/heads/[\w./-]{1,200}", name) or ".." in name:
            return None
        found = read_line(folder / name)
        if not found:
            packed = read_text(folder / "packed-refs").splitlines()
            found = next((line[:40] for line in packed if line[41:] == name), "")
        name = found
    return name if _COMMIT.fullmatch(name) else None


def _changed_tree(places: Places, tip: str, left_out: dict[str, str]) -> str | None:
    """The tree of the agent's folder, None where all of it is in the commit."""
    tree_env = {
        "GIT_INDEX_FILE": str(places.collected / "index"),
        "GIT_WORK_TREE": str(places.repository),
    }

    def run(*arguments: str, given: bytes = b"") -> bytes:
        return git_bytes(*arguments, at=places.git, env=tree_env, given=given, timeout_s=GIT_S)

    # The index of the last time knows which files are as they were; `-i` looks at no file.
    run("read-tree", "-i", "-m", tip)
    # `git add`, and whatever else looks at a submodule, runs git inside of it. So they are taken
    # out meanwhile, and other repositories, whose names end with a slash here, are not added.
    entries = run("ls-files", "--stage", "-z").split(b"\0")
    links = [entry for entry in entries if entry.startswith(b"160000 ")]
    gone = [b"0 " + b"0" * 40 + b"\t" + entry.partition(b"\t")[2] for entry in links]
    run("update-index", "-z", "--index-info", given=_lines(gone))
    paths = run("ls-files", "--cached", "--others", "--exclude-standard", "-z").split(b"\0")
    new = run("ls-files", "--modified", "--others", "--exclude-standard", "-z").split(b"\0")
    lfs = places.lfs_names
    passed_over = set(lfs.read_bytes().split(b"\0")) if lfs.exists() else set()
    files = [one for one in paths if one and not one.endswith(b"/") and one not in passed_over]
    large = {
        one: size for one in {*files} & {*new} if (size := _size(places, one)) > MAX_FILE_BYTES
    }
    left_out |= {os.fsdecode(one): f"has {size} bytes" for one, size in large.items()}
    files = [one for one in files if one not in large]
    run("update-index", "--add", "--remove", "-z", "--stdin", given=_lines(files))
    run("update-index", "--replace", "-z", "--index-info", given=_lines(links))
    tree = run("write-tree").decode().strip()
    return None if tree == git("rev-parse", f"{tip}^{{tree}}", at=places.git) else tree


def _size(places: Places, path: bytes) -> int:
    try:
        return (places.repository / os.fsdecode(path)).lstat().st_size
    except OSError:  # it is deleted
        return 0


def _lines(given: list[bytes]) -> bytes:
    return b"".join(line + b"\0" for line in given)
