"""GitHub's proof: `X-Hub-Signature-256: sha256=<hex>`, an HMAC SHA-256 over the raw body.

Source: docs.github.com, "Validating webhook deliveries".
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from functions.webhook_receiver.refusals import Unauthorised

HEADER = "x-hub-signature-256"


def sign(secret: bytes, body: bytes) -> str:
    """The header's value.

    >>> sign(b"It's a Secret to Everybody", b"Hello, World!")
    'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17'
    """
    return f"sha256={hmac.digest(secret, body, 'sha256').hex()}"


def verify(secrets: Sequence[bytes], signature: str | None, body: bytes) -> None:
    """Return when any secret made the signature; else raise `Unauthorised`."""
    if signature is None:
        raise Unauthorised("header X-Hub-Signature-256 is missing: set a secret in the webhook")
    # Bytes: comparing text in constant time takes ASCII only.
    given = signature.encode("latin-1", "replace")
    matches = [hmac.compare_digest(given, sign(secret, body).encode()) for secret in secrets]
    if not any(matches):
        raise Unauthorised("header X-Hub-Signature-256 does not match the body and our secret")
