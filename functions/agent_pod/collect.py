"""Collect what an agent has left, once it has ended: commits, changes, and what it says of them.

All of it is untrusted. Git runs on a repository of our own, which borrows the agent's objects:
nothing that the agent may have configured (hooks, filters, monitors) is read. Nor does it
look into a repository within the agent's folder: it would read that one's configuration.
"""

from __future__ import annotations

import errno
import os
import re
import stat
from base64 import b64encode
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from functions.agent_pod.environment import Failure, Places, post
from functions.agent_pod.prepare import BASE, STATE, UNCOMMITTED, WORK
from functions.agent_pod.state import store_state
from functions.kit.clients.git import GitError, git, git_bytes
from functions.kit.errors import shortened
from functions.untrusted_text import redacted

MAX_BUNDLE_BYTES = 20 * 1024 * 1024
# Of a file that is not committed, such as one of Git LFS by another name: larger ones would cost
# all that is smaller.
MAX_FILE_BYTES = 5_000_000
MAX_OUTPUTS_BYTES = 256 * 1024
MAX_USAGE_BYTES = 10_000
# Of the pod's six hours after the agent's end: what cannot be posted in this time is lost with it.
POST_S = 6 * 3600.0 - 120.0
GIT_S = 30.0
MAX_NAMED = 20
MAX_PROBLEM = 2000  # characters
# A session's files grow with each message: where nothing else is new, the bundle is posted at every
# so many checkpoints.
STATE_EVERY = 5
_COMMIT = re.compile(r"[0-9a-f]{40}")
_WHO = {
    f"GIT_{who}_{what}": "dsm-agent"
    for who in ("AUTHOR", "COMMITTER")
    for what in ("NAME", "EMAIL")
}


class Sidecar:
    """Posts what the agent has done and used so far, where that is new, and all at its end."""

    def __init__(self, places: Places) -> None:
        self.places = places
        self._kept: tuple[Work | None, str, str] = (None, "", "")
        self._since_bundle = STATE_EVERY
        self._named: set[tuple[str, str]] = set()

    def checkpoint(self) -> None:
        """Post once; what fails is tried with the next one, as it may be the last."""
        session, usage = read_session(self.places), read_usage(self.places)
        body: dict[str, Any] = {"session": session, "usage": usage}
        work = self._kept[0]
        self._since_bundle += 1
        try:
            found = self._find()
            if found != work and (_own(found) != _own(work) or self._since_bundle >= STATE_EVERY):
                body["bundle"] = make_bundle(self.places, found) if found else None
                work = found
        except Exception as failure:
            # Whatever the agent has broken, and with what, hides nothing of what it uses.
            print(f"its work is not kept yet: {failure}", flush=True)
        kept = (work, session, usage)
        if kept == self._kept:
            return
        try:
            post(self.places, "checkpoint", body, 0.0)
        except (Failure, OSError) as failure:
            print(f"nothing is kept yet: {failure}", flush=True)
        else:
            self._kept = kept
            if "bundle" in body:
                self._since_bundle = 0

    def collect(self) -> None:
        """Post the outputs file, and a bundle of what is new since the base."""
        places = self.places
        found: dict[str, Any] = {"outputs": None, "bundle": None, "problems": []}
        for name, take in (("outputs", partial(read_outputs, places)), ("bundle", self._bundle)):
            try:
                found[name] = take()
            except Exception as failure:  # the other is posted all the same
                # Cut, as agent-outputs refuses what is longer, and with it all that was done.
                problem = str(failure) or type(failure).__name__
                found["problems"].append(shortened(problem, MAX_PROBLEM))
        found |= {"session": read_session(places), "usage": read_usage(places)}
        post(places, "outputs", found, POST_S)
        print("posted", "no commits" if found["bundle"] is None else "commits", *found["problems"])

    def _bundle(self) -> str | None:
        found = self._find()
        return make_bundle(self.places, found) if found else None

    def _find(self) -> Work | None:
        """Return what the agent has done, None where that is nothing; say once of each file of its
        state that it is not kept."""
        left_out: dict[str, str] = {}
        found = find_work(self.places, left_out)
        if found is None:
            return None
        self._name("its work", left_out)
        try:
            state, left_out = store_state(self.places)
            self._name("its state", left_out)
            found = replace(found, state=state)
        except (GitError, OSError) as failure:  # work is worth more
            print(f"its state is not kept: {failure}", flush=True)
        return found if found.own or found.state else None

    def _name(self, what: str, left_out: Mapping[str, str]) -> None:
        new = [name for name in left_out if (what, name) not in self._named]
        for name in new[:MAX_NAMED]:
            self._named.add((what, name))
            # Quoted: it may be no UTF-8, which standard output would refuse, and have line ends.
            print(f"not kept of {what}: {redacted(name)!a} {left_out[name]}", flush=True)


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


def read_session(places: Places) -> str:
    """The id of the agent's session, as far as it has left one; one line."""
    return _line(places.session)[:200]


def read_usage(places: Places) -> str:
    """The usage file of the agent, as far as it has left one of a plausible size; its tokens are
    those that the model's sidecar has counted, where these are more."""
    text = _text(places.usage)
    text = text if len(text) <= MAX_USAGE_BYTES else ""
    counted = _text(places.model_usage) if places.model_usage else ""
    if not counted:
        return text
    from functions.events.agent import AgentUsage  # after the start, which is to be quick

    try:
        reported = AgentUsage.model_validate_json(text or "{}")
    except ValueError:
        reported = AgentUsage()
    return reported.max_with(AgentUsage.model_validate_json(counted)).model_dump_json()


def _own(work: Work | None) -> tuple[str, str | None] | None:
    return work.own if work else None


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


def _line(file: Path) -> str:
    return _text(file).partition("\n")[0].strip()


def _text(file: Path) -> str:
    try:
        return _read(file, MAX_OUTPUTS_BYTES).decode(errors="replace")
    except OSError:
        return ""


def _read(file: Path, max_bytes: int) -> bytes:
    # No link, as what the agent cannot read must not be read for it; no pipe, nor waiting for one.
    number = os.open(file, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    with os.fdopen(number, "rb") as opened:
        if not stat.S_ISREG(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, "it is no regular file")
        return opened.read(max_bytes)
