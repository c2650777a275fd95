"""A delivery as GitHub's API tells it, as the request that it was.

The API has the payload as JSON, and a signature is over bytes: those that GitHub writes, without a
space, and with upper case in what it escapes. (octokit/webhooks.js signs a parsed payload by
the same rule.)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote_plus

from functions.kit.errors import NotFound, Unauthenticated
from functions.webhook_receiver.senders import github_proof

_ESCAPED = re.compile(r"(?<!\\)((?:\\\\)*)\\u([0-9a-f]{4})")
_FORM = "application/x-www-form-urlencoded"


@dataclass(frozen=True)
class Request:
    """Headers, by their names in lower case, and the body."""

    headers: Mapping[str, str]
    body: bytes


def request_of(delivery: Any, secrets: Sequence[bytes]) -> Request:
    """The request of a delivery; `Unauthenticated` where its signature does not fit a secret.

    One without a signature, or where we have no secret, is GitHub's word over TLS.
    """
    request = delivery["request"]
    if request["payload"] is None:
        raise NotFound("GitHub keeps no payload of it")
    headers = {name.lower(): str(value) for name, value in (request["headers"] or {}).items()}
    headers |= {"x-github-event": delivery["event"], "x-github-delivery": delivery["guid"]}
    is_form = headers.get("content-type", "").startswith(_FORM)
    bodies = list(_bodies(request["payload"], is_form=is_form))
    signature = headers.get(github_proof.HEADER)
    if signature is None or not secrets:
        return Request(headers, bodies[0])
    for body in bodies:
        proof = github_proof.proof(secrets, signature)
        proof.update(body)
        try:
            proof.check()
        except Unauthenticated:
            continue
        return Request(headers, body)
    raise Unauthenticated("its signature fits none of our secrets: redeliver it at GitHub")


def _bodies(payload: Any, *, is_form: bool) -> Iterator[bytes]:
    """What GitHub may have written, the likeliest first.

    >>> [body.decode() for body in _bodies({"a": ["é", "\\x1f"]}, is_form=False)]
    ['{"a":["é","\\\\u001F"]}', '{"a":["é","\\\\u001f"]}']
    """
    text = json.dumps(payload, ensure_ascii=False, separators=(",", ":"))
    capital = _ESCAPED.sub(lambda found: f"{found[1]}\\u{found[2].upper()}", text)
    for written in dict.fromkeys((capital, text)):
        body = written.encode(errors="surrogatepass")
        yield b"payload=" + quote_plus(body).encode() if is_form else body
