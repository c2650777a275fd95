"""Proof of who sent a body: an HMAC SHA-256, computed while the body arrives."""

from __future__ import annotations

import hmac
from collections.abc import Callable, Sequence

from functions.kit.errors import Unauthenticated

_MAX_GIVEN = 16  # signatures of one request: no rotation has more


class Proof:
    """The signatures that a body would have, under each of a source's keys.

    `before` is signed in front of the body; `written` makes of a digest what stands in the header;
    `given` is what does stand there; `otherwise` says in what header that is.
    """

    def __init__(
        self,
        keys: Sequence[bytes],
        before: bytes,
        given: Sequence[str],
        written: Callable[[bytes], str],
        otherwise: str,
    ) -> None:
        self._macs = [hmac.new(key, before, "sha256") for key in keys]
        # Bytes: comparing text in constant time takes ASCII only.
        self._given = [text.encode("latin-1", "replace") for text in given[:_MAX_GIVEN]]
        self._written = written
        self._otherwise = otherwise

    def update(self, chunk: bytes) -> None:
        """More of the body."""
        for mac in self._macs:
            mac.update(chunk)

    def check(self) -> None:
        """Return when any key made any of the signatures; else raise `Unauthenticated`."""
        right = [self._written(mac.digest()).encode() for mac in self._macs]
        matches = [hmac.compare_digest(one, other) for one in self._given for other in right]
        if not any(matches):
            raise Unauthenticated(f"{self._otherwise} does not match the body and our secret")
