"""GitHub's proof: `X-Hub-Signature-256: sha256=<hex>`, an HMAC SHA-256 over the raw body.

Source: docs.github.com, "Validating webhook deliveries".
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence

from functions.kit.errors import Unauthenticated
from functions.webhook_receiver.senders.proof import Proof

HEADER = "x-hub-signature-256"


def sign(secret: bytes, body: bytes) -> str:
    """The header's value.

    >>> sign(b"It's a Secret to Everybody", b"Hello, World!")
    'sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17'
    """
    return _written(hmac.digest(secret, body, "sha256"))


def proof(secrets: Sequence[bytes], signature: str | None) -> Proof:
    """The proof of a delivery; `Unauthenticated` where no body could give it."""
    if signature is None:
        raise Unauthenticated("header X-Hub-Signature-256 is missing: set a secret in the webhook")
    return Proof(secrets, b"", [signature], _written, "header X-Hub-Signature-256")


def _written(digest: bytes) -> str:
    return f"sha256={digest.hex()}"
