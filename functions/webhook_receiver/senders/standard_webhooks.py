"""Standard Webhooks 1.0: who sent it, when, and that it was not changed.

`webhook-id`, `webhook-timestamp` (Unix seconds) and `webhook-signature`, a list separated by
spaces of `v1,<base64 HMAC SHA-256 of id.timestamp.body>`. Source: standardwebhooks.com.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence

from functions.kit.errors import Unauthenticated
from functions.webhook_receiver.senders.grafana_proof import fresh
from functions.webhook_receiver.senders.proof import Proof

_PREFIX = "whsec_"


def key(secret: str) -> bytes:
    """The key in a secret, which is base64, with or without `whsec_`; `ValueError` otherwise."""
    try:
        found = base64.b64decode(secret.removeprefix(_PREFIX), validate=True)
    except binascii.Error:
        found = b""
    if not found:
        raise ValueError(f"a secret must be {_PREFIX} and base64")
    return found


def sign(key: bytes, id: str, timestamp: int, body: bytes) -> str:
    """One signature, as it stands in the header.

    >>> sign(key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"), "msg_p5jXN8AQM9LWM0D4loKWxJek",
    ...      1614265330, b'{"test": 2432232314}')
    'v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE='
    """
    return _written(hmac.digest(key, _before(id, timestamp) + body, "sha256"))


def headers(key: bytes, id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of a request."""
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(key, id, timestamp, body),
    }


def proof(keys: Sequence[bytes], headers: Mapping[str, str], now_s: float) -> Proof:
    """The proof of a request; `Unauthenticated` where no body could give it, or it is stale."""
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        if not headers.get(name):
            raise Unauthenticated(f"header {name} is missing: sign as standardwebhooks.com says")
    timestamp = headers["webhook-timestamp"]
    if not fresh(timestamp, now_s):
        raise Unauthenticated("header webhook-timestamp is not within five minutes of our clock")
    before = _before(headers["webhook-id"], int(timestamp))
    given = headers["webhook-signature"].split(" ")
    return Proof(keys, before, given, _written, "header webhook-signature")


def _before(id: str, timestamp: int) -> bytes:
    return f"{id}.{timestamp}.".encode("latin-1", "replace")


def _written(digest: bytes) -> str:
    return f"v1,{base64.b64encode(digest).decode()}"
