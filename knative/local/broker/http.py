"""The seam to the network: what a broker sends with, and what comes back.

Header names may come in any case; header lists keep their order and their bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response: its status, its headers, and its whole body, decompressed."""

    status: int
    headers: Headers = ()
    body: bytes = b""


class Send(Protocol):
    """One HTTP request, redirects not followed.

    Raises `TimeoutError` when no whole answer came within `timeout_s` seconds, any other
    `OSError` when the connection failed.
    """

    async def __call__(
        self, method: str, url: str, headers: Headers, body: bytes, timeout_s: float | None
    ) -> Answer: ...


def header(headers: Headers, name: bytes) -> bytes | None:
    """The first value of header `name` (lower case), or None."""
    for key, value in headers:
        if key.lower() == name:
            return value
    return None
