"""`GET /jobs/{id}/logs`: a Job's log, by long polling.

A client that follows a log polls with `after`: no request stays open until the Job ends.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from functions.job_launcher.decide.job_status import ENDED, QUEUED
from functions.job_launcher.kubernetes import job_calls
from functions.job_launcher.tables import JobRow
from functions.job_launcher.view import row_and_reason
from functions.kit.clients.kubernetes import Forbidden
from functions.kit.context import Context, Resources
from functions.kit.contract import Query, number
from functions.kit.errors import Conflict, NotFound, PermanentError

PAGE_BYTES = 4 * 1024 * 1024
PAUSE_S = 0.5
# Below containerConcurrency, so that events are served too.
MAX_FOLLOWERS = 3


@dataclass(frozen=True)
class LogPosition:
    """A byte offset in the log of a pod."""

    pod: str = ""
    offset: int = 0

    @classmethod
    def read(cls, text: str) -> LogPosition:
        pod, _, offset = text.rpartition(":")
        return cls(pod, number(offset, "after", 0, 2**62)) if text else cls()

    def __str__(self) -> str:
        return f"{self.pod}:{self.offset}" if self.pod else ""


@dataclass(frozen=True)
class LogPage:
    """A part of the log; `more` follows already. `stored`: the last lines, from the table."""

    data: bytes
    next: LogPosition
    more: bool = False
    reason: str = ""
    stored: bool = False


class LogFollowers:
    """The number of this process's requests that wait for new lines."""

    def __init__(self, resources: Resources) -> None:
        self.count = 0


async def logs(request: Request, ctx: Context) -> Response:
    """`?tail=100`, `?after=` a page's `X-Log-Next`; `follow=true` waits up to `wait` seconds."""
    query = Query(request)
    tail = query.number("tail", 0, 0, 100_000) if query.text("tail") else None
    after = LogPosition.read(query.text("after") or "")
    follow = query.flag("follow")
    followers = ctx.part(LogFollowers)
    wait_s = query.number("wait", 10, 0, 20) if follow else 0
    if followers.count >= MAX_FOLLOWERS:
        wait_s = 0
    deadline = time.monotonic() + wait_s
    followers.count += 1
    try:
        while True:
            row, reason = await row_and_reason(ctx, request.path_params["id"])
            page = await _page(ctx, row, reason, after, tail)
            if page.data or page.more or row.state in ENDED or time.monotonic() >= deadline:
                break
            await asyncio.sleep(PAUSE_S)
    finally:
        followers.count -= 1
    if page.reason and not follow:
        raise Conflict(f"job {row.id} {page.reason}")
    return _response(row, page)


async def _page(
    ctx: Context, row: JobRow, reason: str, after: LogPosition, tail: int | None
) -> LogPage:
    if row.state == QUEUED:
        return LogPage(b"", after, reason=f"has not started: {reason or 'it is queued'}")
    try:
        names = [
            str(pod["metadata"]["name"]) for pod in await job_calls.pods_of(ctx.cluster, row.id)
        ]
        if names:
            return await _of_pod(ctx, names, after, tail)
    except Forbidden:
        raise
    except NotFound:
        pass  # its time to live has ended: the last lines are in the table
    except PermanentError as error:
        if row.state not in ENDED:
            return LogPage(b"", after, reason=f"has no log yet: {error.detail}")
    if row.state not in ENDED:
        return LogPage(b"", after, reason=f"has no pod yet: {row.reason or 'it is starting'}")
    # A client with a position has read them.
    lines = [] if after.pod else row.ending.get("log") or []
    return LogPage("".join(f"{line}\n" for line in lines).encode(), after, stored=True)


async def _of_pod(ctx: Context, names: list[str], after: LogPosition, tail: int | None) -> LogPage:
    """Return the next page of the pod at `after`, or of the newest pod."""
    at = after if after.pod in names else LogPosition(names[-1])
    part = await ctx.cluster.log_part(at.pod, skip=at.offset, max_bytes=PAGE_BYTES, tail=tail)
    later = names[names.index(at.pod) + 1 :]
    if part.more or not later:
        return LogPage(part.data, LogPosition(at.pod, part.end), part.more)
    return LogPage(part.data, LogPosition(later[0]), more=True)


def _response(row: JobRow, page: LogPage) -> Response:
    headers: dict[str, Any] = {
        "X-Job-State": row.state,
        "X-Job-Reason": page.reason.encode("ascii", "replace").decode(),
        "X-Log-Next": str(page.next),
        "X-Log-More": "true" if page.more else "false",
        "X-Log": "last lines" if page.stored else "",
    }
    present = {name: value for name, value in headers.items() if value}
    return Response(page.data, headers=present, media_type="text/plain; charset=utf-8")
