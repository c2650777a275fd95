"""The path of a URL, of parts that a user may have named."""

from __future__ import annotations

from urllib.parse import quote

from functions.events.base import no_dot_segment
from functions.kit.errors import PermanentError


def path(*segments: str) -> str:
    """A path of quoted segments: an id may hold anything.

    >>> path("projects", "a/b")
    '/projects/a%2Fb'
    >>> path("projects", "..", "team-members")
    Traceback (most recent call last):
    functions.kit.errors.PermanentError: projects: '..' is no id: a URL loses it
    """
    for before, segment in zip(("path", *segments), segments, strict=False):
        try:
            no_dot_segment(segment)
        except ValueError as error:
            raise PermanentError(f"{before}: {error}") from None
    return "".join(f"/{quote(segment, safe='')}" for segment in segments)
