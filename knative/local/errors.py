"""Why the runtime cannot start or answer: errors whose text is meant for a user."""

from __future__ import annotations


class StartError(Exception):
    """`up` cannot go on; the text is the line to show, and the exit code is 1."""


class UsageError(StartError):
    """A command asks for what cannot be; the exit code is 2."""
