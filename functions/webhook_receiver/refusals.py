"""Why a delivery is refused, and the status that its sender gets.

PermanentError
├── Malformed      400   the body or a header is not what the source sends
└── NotConfigured  403   no secret is configured for the source

A signature that is missing, wrong or too old is the kit's `Unauthenticated`, 401.
A body over the limit is the kit's `TooLarge`, 413.
"""

from __future__ import annotations

from functions.kit.errors import PermanentError


class Malformed(PermanentError):
    """The body or a header is not what the source sends."""

    status = 400


class NotConfigured(PermanentError):
    """No secret is configured, so no sender can be authenticated."""

    status = 403
