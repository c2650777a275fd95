"""Which of an agent's outputs are refused. Pure.

All of it is what an untrusted text may have led a model to write.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase

from functions.events.approval import ChangedFile

# Whoever writes these has the rights of the repository's own automation, or decides who reviews.
FORBIDDEN = (
    ".github/workflows/*",
    ".github/actions/*",
    "action.y*ml",
    "*/action.y*ml",
    "codeowners",
    "*/codeowners",
    ".gitmodules",
    ".github/dependabot.y*ml",
)
_FILE, _PROGRAM = "100644", "100755"
_GONE = "000000"
_MODES = {"120000": "a symbolic link", "160000": "a submodule"}
_SHOWN = 10


@dataclass(frozen=True)
class Change:
    """A file that a commit changes; `size` in bytes, 0 where it is deleted."""

    path: str
    mode: str
    size: int = 0


@dataclass(frozen=True)
class Work:
    """The commits of an agent. `changes` are of all commits, `files` what differs in the end."""

    commits: int
    changes: Sequence[Change]
    files: Sequence[str]
    secrets: Sequence[str] = ()
    diffstat: Sequence[ChangedFile] = ()


@dataclass(frozen=True)
class Limits:
    """Of one pull request."""

    forbidden: Sequence[str]
    max_files: int
    max_bytes: int
    max_commits: int


def refusals(work: Work, limits: Limits) -> list[str]:
    """Return why the commits are not pushed; empty where they may be.

    >>> limits = Limits(["secrets/*"], max_files=2, max_bytes=100, max_commits=1)
    >>> refusals(Work(1, [Change("src/a.py", "100644", 99)], ["src/a.py"]), limits)
    []
    >>> refusals(Work(1, [Change(".github/workflows/x.yml", "100644", 9)], ["x"]), limits)
    ['.github/workflows/x.yml: agents may not change this path']
    """
    found = []
    for change in work.changes:
        if is_forbidden(change.path, limits.forbidden):
            found.append(f"{change.path}: agents may not change this path")
        if change.mode not in (_FILE, _PROGRAM, _GONE):
            found.append(f"{change.path}: is {_MODES.get(change.mode, 'no plain file')}")
    size = sum(change.size for change in work.changes)
    for value, limit, unit in (
        (work.commits, limits.max_commits, "commits"),
        (len(work.files), limits.max_files, "files"),
        (size, limits.max_bytes, "bytes in new and changed files"),
    ):
        if value > limit:
            found.append(f"{value} {unit}, {limit} at most")
    found += work.secrets
    return shown(dict.fromkeys(found))


def shown(lines: Iterable[str]) -> list[str]:
    """At most ten lines, the last one about those that are left out."""
    found = list(lines)
    more = len(found) - _SHOWN
    return found if more <= 0 else [*found[:_SHOWN], f"and {more} more"]


def is_forbidden(path: str, patterns: Sequence[str]) -> bool:
    """Does a pattern match the path, whatever its case?

    >>> is_forbidden("docs/CODEOWNERS", []), is_forbidden("docs/owners.md", [])
    (True, False)
    """
    name = path.lower()
    return any(fnmatchcase(name, pattern.lower()) for pattern in (*FORBIDDEN, *patterns))


def refused_labels(wanted: Sequence[str], allowed: Sequence[str]) -> list[str]:
    """Return those that the route does not list, whatever their case."""
    known = {name.casefold() for name in allowed}
    return [name for name in wanted if name.casefold() not in known]
