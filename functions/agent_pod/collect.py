"""Collect what an agent has left, once it has ended: commits, changes, and what it says of them.

All of it is untrusted. Git runs on a repository of our own, which borrows the agent's objects:
nothing that the agent may have configured (hooks, filters, monitors) is read.
"""

from __future__ import annotations

import os
import re
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any

from functions.agent_pod.environment import Failure, Places, post
from functions.agent_pod.prepare import BASE
from functions.kit.clients.git import GitError, git

MAX_BUNDLE_BYTES = 20 * 1024 * 1024
MAX_OUTPUTS_BYTES = 256 * 1024
# Of the pod's 600 s after SIGTERM: what cannot be posted in this time is lost with the pod.
POST_S = 540.0
GIT_S = 30.0
WORK, UNCOMMITTED = "refs/heads/work", "refs/heads/uncommitted"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_WHO = {
    f"GIT_{who}_{what}": "dsm-agent"
    for who in ("AUTHOR", "COMMITTER")
    for what in ("NAME", "EMAIL")
}


def collect(places: Places) -> None:
    """Post the outputs file and a bundle of what is new since the base."""
    found: dict[str, Any] = {"outputs": None, "bundle": None, "problems": []}
    for name, take in (("outputs", read_outputs), ("bundle", make_bundle)):
        try:
            found[name] = take(places)
        except (Failure, GitError) as failure:
            found["problems"].append(str(failure))
    post(places, "outputs", found, POST_S)
    print("posted", "no commits" if found["bundle"] is None else "commits", *found["problems"])


def read_outputs(places: Places) -> str | None:
    """The text of the outputs file; None without one."""
    try:
        text = _read(places.outputs, MAX_OUTPUTS_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Failure(f"the outputs file: {error.strerror}") from None
    if len(text) > MAX_OUTPUTS_BYTES:
        raise Failure(f"the outputs file has more than {MAX_OUTPUTS_BYTES} bytes")
    return text.decode(errors="replace")


def make_bundle(places: Places) -> str | None:
    """What is new as a bundle in base64: `work`, and `uncommitted` on top of it."""
    tip = head(places.repository / ".git") if places.git.exists() else None
    if tip is None:
        return None  # no repository was cloned for it, or none is left
    borrowed = places.git / "objects" / "info" / "alternates"
    borrowed.write_text(f"{places.repository / '.git' / 'objects'}\n")
    base = git("rev-parse", BASE, at=places.git)
    git("update-ref", WORK, tip, at=places.git, timeout_s=GIT_S)
    names = [WORK] if tip != base else []
    with suppress(GitError):  # what is committed is worth more than what is not
        if _commit_changes(places, tip):
            names.append(UNCOMMITTED)
    if not names:
        return None
    file = places.collected / "work.bundle"
    git("bundle", "create", "--quiet", str(file), *names, f"^{base}", at=places.git)
    if file.stat().st_size > MAX_BUNDLE_BYTES:
        size = file.stat().st_size // 1_000_000
        raise Failure(f"the commits are {size} MB, {MAX_BUNDLE_BYTES // 1_000_000} at most")
    return b64encode(file.read_bytes()).decode()


def head(folder: Path) -> str | None:
    """The commit that the agent's repository is at, read without running git there."""
    name = _line(folder / "HEAD")
    if name.startswith("ref: "):
        name = name.removeprefix("ref: ").strip()
        if not re.fullmatch(r"refs/heads/[\w./-]{1,200}", name) or ".." in name:
            return None
        found = _line(folder / name)
        if not found:
            packed = _text(folder / "packed-refs").splitlines()
            found = next((line[:40] for line in packed if line[41:] == name), "")
        name = found
    return name if _COMMIT.fullmatch(name) else None


def _commit_changes(places: Places, tip: str) -> bool:
    """Commit what is changed and not committed, on top of the agent's last commit."""
    tree_env = {
        **_WHO,
        "GIT_INDEX_FILE": str(places.collected / "index"),
        "GIT_WORK_TREE": str(places.repository),
    }

    def run(*arguments: str) -> str:
        return git(*arguments, at=places.git, env=tree_env, timeout_s=GIT_S)

    run("read-tree", tip)
    run("add", "--all")
    tree = run("write-tree")
    if tree == run("rev-parse", f"{tip}^{{tree}}"):
        return False
    run("update-ref", UNCOMMITTED, run("commit-tree", tree, "-p", tip, "-m", "Uncommitted changes"))
    return True


def _line(file: Path) -> str:
    return _text(file).partition("\n")[0].strip()


def _text(file: Path) -> str:
    try:
        return _read(file, MAX_OUTPUTS_BYTES).decode(errors="replace")
    except OSError:
        return ""


def _read(file: Path, max_bytes: int) -> bytes:
    # No link, as what the agent cannot read must not be read for it; no waiting for a pipe.
    number = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(number, "rb") as opened:
        return opened.read(max_bytes)
