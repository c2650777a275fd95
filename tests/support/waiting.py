"""What several tests need: waiting for a condition, and a database named in the other way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar
from urllib.parse import urlsplit

T = TypeVar("T")

# What a dead process has left is done by others within 70 s. A machine that does much else has as
# long again and more: it costs nothing where the condition comes.
TIMEOUT_S = 180.0


async def eventually(
    probe: Callable[[], Awaitable[T]], *, timeout_s: float = TIMEOUT_S, every_s: float = 0.02
) -> T:
    """Call `probe` until it returns a truth; fail after `timeout_s` with its last answer.

    One that takes longer than `every_s` is called half of the time, as others are at work.
    """
    deadline = time.monotonic() + timeout_s
    while True:
        began = time.monotonic()
        answer = await probe()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"not true within {timeout_s} s; last answer: {answer!r}")
        await asyncio.sleep(max(every_s, time.monotonic() - began))


def named_by_parts(url: str) -> dict[str, str]:
    """The settings that name the embedded server's database as the six services know theirs."""
    parts = urlsplit(url)
    return {
        "POSTGRES_HOST": parts.query.removeprefix("host="),
        "POSTGRES_USER": "postgres",
        "POSTGRES_DB": parts.path.strip("/"),
    }
