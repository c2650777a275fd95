"""A Job's commits, as they came in its bundle: what they change, and the push of their branch.

Blocking: call it in a thread. Everything happens in a repository of our own, in a temporary folder.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from functions.agent_outputs.decide import Change, Work, shown
from functions.agent_outputs.messages import without_effects
from functions.events.approval import ChangedFile
from functions.kit.clients.git import (
    MAX_HELD_BYTES,
    GitError,
    authorization,
    configured,
    git,
    git_bytes,
)
from functions.kit.errors import PermanentError, TemporaryError, shortened
from functions.untrusted_text import secrets_in

BASE, WORK, UNCOMMITTED = (f"refs/heads/{name}" for name in ("base", "work", "uncommitted"))
_PREREQUISITE = re.compile(rb"-([0-9a-f]{40})\b")
_GONE = "0" * 40
# From the bundle on, what git reads is an agent's.
_git, _git_bytes = partial(git, limited=True), partial(git_bytes, limited=True)
# As far as git says why: the rest may pass.
_REFUSED = (
    "returned error: 40",
    "protected branch",
    "hook declined",
    "Authentication failed",
    "could not read Username",
    "not found",
)


class BranchMoved(PermanentError):
    """The branch has other commits; they are not overwritten."""


class Refused(PermanentError):
    """GitHub does not take the commits."""


class BadBundle(PermanentError):
    """It is no bundle of commits on top of one base."""


@dataclass(frozen=True)
class Checkout:
    """A bare repository with `base` and `work`; `url` and `token` are of the remote one."""

    at: Path
    url: str
    token: str

    def work(self, max_bytes: int) -> Work:
        """What the commits change, each for itself: what one adds and another removes counts.

        Where it is more than `max_bytes`, no file is read: neither secrets nor a diffstat.
        `BadBundle` where git cannot say.
        """
        try:
            return self._work(max_bytes)
        except GitError as error:
            raise BadBundle(shortened(f"the commits cannot be read: {error.detail}")) from None

    def _work(self, max_bytes: int) -> Work:
        span = f"{BASE}..{WORK}"
        commits = int(_git("rev-list", "--count", span, at=self.at))
        entries = _git(
            *("log", "-m", "--raw", "-z", "--no-renames", "--no-abbrev", "--format=", span),
            at=self.at,
        )
        found = list(_entries(entries))
        blobs = sorted({sha for _, _, sha in found if sha != _GONE})
        sizes = self._sizes(blobs)
        changes = [Change(path, mode, sizes.get(sha, 0)) for path, mode, sha in found]
        if sum(change.size for change in changes) > max_bytes:
            return Work(commits, changes, [])
        numbers = _git("diff", "--numstat", "-z", "--no-renames", BASE, WORK, at=self.at)
        stat = sorted(map(_changed_file, filter(None, numbers.split("\0"))), key=lambda f: f.path)
        names = [one.path for one in stat]
        return Work(commits, changes, names, shown(self._secrets(found, sizes, span)), stat)

    def push(self, branch: str, issue: int | None) -> None:
        """Push to `branch`, on top of what is there or not at all; messages close and mention
        nothing but `issue`."""
        try:
            tip = without_effects(self.at, BASE, WORK, issue)
        except GitError as error:
            raise BadBundle(shortened(f"the messages cannot be read: {error.detail}")) from None
        try:
            _git(
                *("push", "--porcelain", self.url, f"{tip}:refs/heads/{branch}"),
                at=self.at,
                env=configured(authorization(self.token)),
            )
        except GitError as error:
            if "[rejected]" in error.detail:
                raise BranchMoved(f"{branch} has commits that the agent did not see") from None
            raise _failure(error) from None

    def _sizes(self, blobs: list[str]) -> dict[str, int]:
        lines = _git(
            *("cat-file", "--batch-check=%(objectname) %(objecttype) %(objectsize)"),
            at=self.at,
            given="".join(f"{sha}\n" for sha in blobs).encode(),
        )
        rows = (line.split() for line in lines.splitlines())
        return {row[0]: int(row[2]) for row in rows if len(row) == 3 and row[1] == "blob"}

    def _secrets(
        self, entries: list[tuple[str, str, str]], sizes: dict[str, int], span: str
    ) -> list[str]:
        names = _git("log", "--format=%an %ae%n%cn %ce", span, at=self.at)
        found = secrets_in(git("log", "--format=%B", span, at=self.at), "a commit message")
        found += secrets_in(names, "an author or committer")
        paths = {sha: path for path, _, sha in entries}
        found += secrets_in("\n".join(path for path, _, _ in entries), "the name of a file")
        for sha, size in sizes.items():
            if size <= MAX_HELD_BYTES:
                content = _git_bytes("cat-file", "blob", sha, at=self.at)
                found += secrets_in(content.decode(errors="replace"), paths[sha])
        return found


@contextmanager
def checked_out(url: str, token: str, bundle: bytes) -> Iterator[Checkout]:
    """Fetch the base of a bundle, and the bundle on top of it; `BadBundle`, or `TemporaryError`
    while GitHub is away."""
    base = base_of(bundle)
    with tempfile.TemporaryDirectory(prefix="outputs-") as folder:
        at, file = Path(folder) / "git", Path(folder) / "work.bundle"
        file.write_bytes(bundle)
        git("init", "--quiet", "--bare", str(at))
        try:
            git(
                *("fetch", "--quiet", "--depth=1", "--no-tags", url, f"{base}:{BASE}"),
                at=at,
                env=configured(authorization(token)),
            )
        except GitError as error:
            raise _failure(error) from None
        try:
            # The objects are an agent's: names and modes that git itself would never write.
            strict = ("-c", "fetch.fsckObjects=true")
            _git(*strict, "fetch", "--quiet", str(file), f"{WORK}:{WORK}", at=at)
        except GitError as error:
            raise BadBundle(shortened(error.detail)) from None
        yield Checkout(at, url, token)


def base_of(bundle: bytes) -> str:
    """The commit on which a bundle stands; `BadBundle` where it is not one.

    >>> base_of(b"# v2 git bundle\\n-" + b"a" * 40 + b" Begin\\n" + b"b" * 40 + b" x\\n\\nPACK")[:4]
    'aaaa'
    """
    head, blank, _ = bundle[:10_000].partition(b"\n\n")
    found = {match.group(1) for line in head.split(b"\n") if (match := _PREREQUISITE.match(line))}
    if not bundle.startswith(b"# v") or not blank or len(found) != 1:
        raise BadBundle("the bundle does not stand on one commit")
    return found.pop().decode()


def has_commits(bundle: bytes) -> bool:
    """Are there commits in it, or only changes that were not committed?"""
    return WORK in _names(bundle)


def has_work(bundle: bytes) -> bool:
    """Are there commits or changes in it, or only the agent's state?"""
    return not {WORK, UNCOMMITTED}.isdisjoint(_names(bundle))


def _names(bundle: bytes) -> set[str]:
    head = bundle[:10_000].partition(b"\n\n")[0]
    return {line.rpartition(b" ")[2].decode(errors="replace") for line in head.split(b"\n")}


def _entries(raw: str) -> Iterator[tuple[str, str, str]]:
    """Path, new mode and new object of `git log --raw -z`."""
    parts = iter(raw.split("\0"))
    for head in filter(None, parts):  # between two commits is nothing
        _, mode, _, sha, _ = head.removeprefix(":").split(" ")
        yield next(parts), mode, sha


def _changed_file(line: str) -> ChangedFile:
    """A line of `git diff --numstat -z`, which has a dash for the lines of a binary file."""
    added, deleted, path = line.split("\t", 2)
    lines = [int(one) if one.isdecimal() else None for one in (added, deleted)]
    return ChangedFile(path=path, additions=lines[0], deletions=lines[1])


def _failure(error: GitError) -> PermanentError | TemporaryError:
    text = shortened(error.detail)
    if any(part in text for part in _REFUSED):
        return Refused(text)
    return TemporaryError(text, delay_s=30)
