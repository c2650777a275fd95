"""An agent's commits with messages that do nothing on GitHub.

GitHub closes issues and notifies users by the messages of what is pushed or merged. Where one
would, its commit and those on top of it are made again, with the same files, authors and times: so
another attempt makes the same commits. Others stay as they are. A signature goes with the commit
that it was of.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from functions.kit.clients.git import git, git_bytes
from functions.untrusted_text import harmless_message

_git, _git_bytes = partial(git, limited=True), partial(git_bytes, limited=True)
_PARENT = re.compile(rb"^parent ([0-9a-f]{40})$", re.MULTILINE)
# Headers whose lines go on with a space.
_DROPPED = re.compile(rb"^(?:gpgsig|gpgsig-sha256|mergetag|encoding) .*\n(?: .*\n)*", re.MULTILINE)
_ENCODING = re.compile(rb"^encoding ", re.MULTILINE)


def without_effects(at: Path, base: str, tip: str, issue: int | None) -> str:
    """The commit to push in place of `tip`, which is itself where no message has an effect."""
    made: dict[bytes, bytes] = {}
    listed = _git("rev-list", "--reverse", "--topo-order", f"{base}..{tip}", at=at)
    for name in listed.split():
        content = _git_bytes("cat-file", "commit", name, at=at)
        changed = _changed(content, _message(content, name, at), made, issue)
        if changed != content:
            given = ("hash-object", "-t", "commit", "-w", "--stdin")
            made[name.encode()] = _git(*given, at=at, given=changed).encode()
    last = _git("rev-parse", tip, at=at)
    return made.get(last.encode(), last.encode()).decode()


def _changed(content: bytes, text: str, made: dict[bytes, bytes], issue: int | None) -> bytes:
    head, blank, _ = content.partition(b"\n\n")
    harmless = harmless_message(text, issue)
    parents = _PARENT.sub(lambda one: b"parent " + made.get(one[1], one[1]), head)
    # One in an encoding of its own is made again, so that GitHub reads what was looked at.
    if parents == head and harmless == text and not _ENCODING.search(head):
        return content
    kept = _DROPPED.sub(b"", parents + b"\n")
    return kept.rstrip(b"\n") + blank + harmless.encode()


def _message(content: bytes, name: str, at: Path) -> str:
    """As git reads it: of encodings of its own, Python has some that decode to no text."""
    head, _, message = content.partition(b"\n\n")
    if _ENCODING.search(head):
        message = _git_bytes("log", "--no-walk", "--encoding=UTF-8", "--format=%B", name, at=at)
    return message.decode(errors="replace")
