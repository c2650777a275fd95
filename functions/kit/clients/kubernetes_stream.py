"""Answers of Kubernetes that are read as they come: a log piece by piece, a watch line by line."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

from functions.kit.errors import TemporaryError, shortened


@dataclass(frozen=True)
class LogPart:
    """A piece of a log: it ends at byte `end`, and `more` is there already."""

    data: bytes
    end: int
    more: bool


async def lines_of(response: Any) -> AsyncIterator[bytes]:
    """The lines of a urllib3 response as they come; `TemporaryError` where it breaks off.

    The thread is of its own: a pool that waits for it could do nothing else, nor end.
    """
    import urllib3

    loop = asyncio.get_running_loop()
    lines: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()

    def put(line: bytes | Exception | None) -> None:
        with contextlib.suppress(RuntimeError):  # the loop is closed: no reader is left
            loop.call_soon_threadsafe(lines.put_nowait, line)

    def read() -> None:
        try:
            for line in response:
                put(line)
            put(None)
        except (urllib3.exceptions.HTTPError, OSError, ValueError) as error:
            put(error)
        finally:
            response.close()

    threading.Thread(target=read, name="kubernetes-watch", daemon=True).start()
    try:
        while (line := await lines.get()) is not None:
            if isinstance(line, Exception):
                detail = shortened(str(line) or type(line).__name__)
                raise TemporaryError(f"Kubernetes broke off: {detail}") from line
            yield line
    finally:
        # Ends a read that blocks; the thread then closes the response.
        with contextlib.suppress(ValueError, RuntimeError, OSError):
            response.shutdown()


def part_of(body: Any, skip: int, max_bytes: int, tail: int | None) -> LogPart:
    """Kubernetes cannot begin at a byte, so what comes before is read and dropped."""
    kept, end = bytearray(), 0
    while chunk := body.read1(65536):
        kept += chunk[max(0, skip - end) :]
        end += len(chunk)
        if len(kept) > max_bytes:
            if tail is None:
                over = len(kept) - max_bytes
                return LogPart(bytes(kept[:max_bytes]), end - over, more=True)
            del kept[:-max_bytes]
    if end < skip:
        return LogPart(b"", 0, more=end > 0)  # a log that is shorter now has begun anew
    if tail is not None:
        lines = kept.splitlines(keepends=True)
        kept = bytearray().join(lines[max(0, len(lines) - tail) :])
    return LogPart(bytes(kept), end, more=False)
