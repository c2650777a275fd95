"""Standard Webhooks 1.0: who asked, when, and that nobody changed it.

`webhook-id`, `webhook-timestamp` (Unix seconds) and `webhook-signature`, a list separated by
spaces of `v1,<base64 HMAC SHA-256 of id.timestamp.body>`. Source: standardwebhooks.com.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Mapping, Sequence

from functions.webhook_receiver.grafana import fresh
from functions.webhook_receiver.refusals import Unauthorised

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
    signed = f"{id}.{timestamp}.".encode("latin-1", "replace") + body
    return f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}"


def headers(key: bytes, id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """The three headers of a request."""
    return {
        "webhook-id": id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": sign(key, id, timestamp, body),
    }


def verify(keys: Sequence[bytes], headers: Mapping[str, str], body: bytes, now_s: float) -> None:
    """Return when any key made any of the signatures and it is fresh; else `Unauthorised`."""
    for name in ("webhook-id", "webhook-timestamp", "webhook-signature"):
        if not headers.get(name):
            raise Unauthorised(f"header {name} is missing: sign as standardwebhooks.com says")
    timestamp = headers["webhook-timestamp"]
    if not fresh(timestamp, now_s):
        raise Unauthorised("header webhook-timestamp is not within five minutes of our clock")
    given = [s.encode("latin-1", "replace") for s in headers["webhook-signature"].split(" ")]
    right = [sign(k, headers["webhook-id"], int(timestamp), body).encode() for k in keys]
    # Bounded: nobody rotates through more, and each is compared with each.
    if not any(hmac.compare_digest(one, other) for one in given[:16] for other in right):
        raise Unauthorised("header webhook-signature does not match the body and our secret")
