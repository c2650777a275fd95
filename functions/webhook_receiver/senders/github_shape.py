"""Does a payload look like the event that the header names? GitHub signs the body, not the header.

Source: docs.github.com, "Webhook events and payloads": each event has an object of its own, and
those that are about a part of another (a comment of an issue) have both.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# What is in the payload of one event and not in that of another with the same objects, most
# telling first.
_TELLING = ("comment", "review", "thread", "pull_request", "issue", "discussion")
_OWN: Mapping[str, frozenset[str]] = {
    "check_run": frozenset(),
    "commit_comment": frozenset(("comment",)),
    "discussion": frozenset(("discussion",)),
    "discussion_comment": frozenset(("discussion", "comment")),
    "issue_comment": frozenset(("issue", "comment")),
    "issues": frozenset(("issue",)),
    "label": frozenset(),
    "milestone": frozenset(),
    "pull_request": frozenset(("pull_request",)),
    "pull_request_review": frozenset(("pull_request", "review")),
    "pull_request_review_comment": frozenset(("pull_request", "comment")),
    "pull_request_review_thread": frozenset(("pull_request", "thread")),
    "pull_request_target": frozenset(("pull_request",)),
    "push": frozenset(),
    "release": frozenset(),
    "repository": frozenset(),
}


def check(event: str, payload: Mapping[str, Any]) -> None:
    """`ValueError` where the payload is another event's; what GitHub adds one day may be anything.

    >>> check("issues", {"issue": {}, "label": {}})
    >>> check("issues", {"issue": {}, "comment": {}})
    Traceback (most recent call last):
    ...
    ValueError: a payload with comment and issue is not of issues
    """
    own = _OWN.get(event)
    found = frozenset(name for name in _TELLING if isinstance(payload.get(name), Mapping))
    if own is not None and found != own:
        named = " and ".join(sorted(found)) or "none of its objects"
        raise ValueError(f"a payload with {named} is not of {event}")
