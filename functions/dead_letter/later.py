"""Work that may take longer than the client wants to wait (RFC 7240: `Prefer`)."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Coroutine
from typing import Any

from starlette.requests import Request

from functions.kit.context import Resources

logger = logging.getLogger(__name__)


class Later:
    """Work of this process that goes on behind an answer; its end waits for it."""

    def __init__(self, resources: Resources) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    async def done_within(
        self, work: Coroutine[Any, Any, Any], wait_s: float | None
    ) -> asyncio.Task[Any] | None:
        """The work, once it is done; None where that takes longer than `wait_s` seconds."""
        task = asyncio.create_task(work)
        self._tasks.add(task)
        done, _ = await asyncio.wait([task], timeout=wait_s)
        if done:
            self._tasks.discard(task)
            return task
        task.add_done_callback(self._ended)
        return None

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            logger.warning("a redrive behind its answer", exc_info=task.exception())

    async def close(self) -> None:
        await asyncio.gather(*self._tasks, return_exceptions=True)


def max_wait_s(request: Request) -> float | None:
    """How long to wait before 202 will do: `Prefer: respond-async, wait=3`; None is for ever."""
    preferences = request.headers.get("prefer", "")
    if "respond-async" not in preferences:
        return None
    found = re.search(r"wait=(\d{1,3})\b", preferences)
    return float(found[1]) if found else 0.0
