"""The seam to the network: what a broker sends with, and what comes back.

Header names may come in any case; header lists keep their order and their bytes.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

Headers = Sequence[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Answer:
    """An HTTP response: its status, its headers, and its whole body, decompressed."""

    status: int
    headers: Headers = ()
    body: bytes = b""


Outcome = Answer | OSError  # of a call: its answer, or why there is none


class Send(Protocol):
    """One HTTP request, redirects not followed.

    Raises `TimeoutError` when no whole answer came within `timeout_s` seconds, any other
    `OSError` when the connection failed.
    """

    async def __call__(
        self, method: str, url: str, headers: Headers, body: bytes, timeout_s: float | None
    ) -> Answer: ...


class Around(Protocol):
    """What stands around each call of the Broker: faults on demand."""

    async def __call__(
        self,
        trigger: str,
        url: str,
        make: Callable[[], Awaitable[Outcome]],
        timeout_s: float,
        *,
        repeated: bool,
    ) -> tuple[Outcome, str | None, bool]:
        """What the Broker sees of the call, what was done to it, and is it made twice?"""


def header(headers: Headers, name: bytes) -> bytes | None:
    """The first value of header `name` (lower case), or None."""
    for key, value in headers:
        if key.lower() == name:
            return value
    return None
