"""Why a delivery is refused, and the status that its sender gets.

PermanentError
├── Malformed      400   the body or a header is not what the source sends
├── Unauthorised   401   the signature is missing, wrong or too old
└── Unarmed        403   no secret is configured for the source

A body over the limit is the kit's `TooLarge`, 413.
"""

from __future__ import annotations

from functions.kit.errors import PermanentError


class Malformed(PermanentError):
    """The body or a header is not what the source sends."""

    status = 400


class Unauthorised(PermanentError):
    """The signature is missing, wrong or too old."""

    status = 401


class Unarmed(PermanentError):
    """No secret is configured, so no sender can be authenticated."""

    status = 403
