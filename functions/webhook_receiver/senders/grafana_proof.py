"""Grafana's proof: a hex HMAC SHA-256 of the body, or of `timestamp:body`, in a header.

Source: Grafana Alerting, "Configure webhook notifications", HMAC signature. Both headers' names
are options of the contact point; the timestamp's has no default there.
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from functions.kit.errors import Unauthenticated
from functions.webhook_receiver.senders.proof import Proof

TOLERANCE_S = 300


def sign(secret: bytes, body: bytes, timestamp: str | None = None) -> str:
    """The signature header's value.

    >>> sign(b"secret", b"test message")
    '3bcebf43c85d20bba6e3b6ba278af1d2ba3ab0d57de271b0ad30b833e851c5a6'
    """
    return hmac.digest(secret, _before(timestamp) + body, "sha256").hex()


def proof(
    secrets: Sequence[bytes], signature: str | None, timestamp: str | None, now_s: float
) -> Proof:
    """A notification's proof; `Unauthenticated` where no body could give it, or it is stale."""
    if signature is None:
        raise Unauthenticated("the signature header is missing: set HMAC in the contact point")
    if timestamp is not None and not fresh(timestamp, now_s):
        raise Unauthenticated("the timestamp is not within five minutes of our clock")
    return Proof(secrets, _before(timestamp), [signature], bytes.hex, "the signature")


def _before(timestamp: str | None) -> bytes:
    return b"" if timestamp is None else timestamp.encode("latin-1", "replace") + b":"


def fresh(timestamp: str, now_s: float) -> bool:
    """Is the Unix time, in seconds, at most five minutes away, in either direction?

    >>> fresh("1000", 1300), fresh("1000", 1301), fresh("1000", 699), fresh("ten", 1000)
    (True, False, False, False)
    """
    plain = timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 15
    return plain and abs(now_s - int(timestamp)) <= TOLERANCE_S
