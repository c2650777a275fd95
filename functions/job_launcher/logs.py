"""`GET /jobs/{id}/logs`: what a Job says, in pages that each end soon.

No answer waits for a Job: whoever follows asks again with `after`, so that a quiet log costs a
question now and then, and no thread, no connection and no place in the queue of the Service.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from functions.job_launcher import launch
from functions.job_launcher.decide import ENDED, QUEUED
from functions.job_launcher.tables import Row
from functions.job_launcher.view import row_and_why
from functions.kit.clients.kubernetes import Forbidden
from functions.kit.context import Context, Resources
from functions.kit.contract.query import Query, number
from functions.kit.errors import Conflict, NotFound, PermanentError

PAGE_BYTES = 4 * 1024 * 1024
PAUSE_S = 0.5
# Below containerConcurrency: events find a place however many people look on.
MOST_WAITING = 3


@dataclass(frozen=True)
class Place:
    """Up to where a reader is: so many bytes into the log of a pod."""

    pod: str = ""
    offset: int = 0

    @classmethod
    def read(cls, text: str) -> Place:
        pod, _, offset = text.rpartition(":")
        return cls(pod, number(offset, "after", 0, 2**62)) if text else cls()

    def __str__(self) -> str:
        return f"{self.pod}:{self.offset}" if self.pod else ""


@dataclass(frozen=True)
class Page:
    """A piece of the log; `more` is there already. Without pods, `kept` says what outlived them."""

    data: bytes
    next: Place
    more: bool = False
    why: str = ""
    kept: bool = False


class Waiting:
    """How many readers of this process wait for something new."""

    def __init__(self, resources: Resources) -> None:
        self.count = 0


async def logs(request: Request, ctx: Context) -> Response:
    """`?tail=100`, `?after=` a page's `X-Log-Next`; `follow=true` waits for more,
    at most `wait` seconds."""
    query = Query(request)
    tail = query.number("tail", 0, 0, 100_000) if query.text("tail") else None
    after = Place.read(query.text("after") or "")
    follow = query.flag("follow")
    waiting = ctx.part(Waiting)
    wait_s = query.number("wait", 10, 0, 20) if follow else 0
    if waiting.count >= MOST_WAITING:
        wait_s = 0
    deadline = time.monotonic() + wait_s
    waiting.count += 1
    try:
        while True:
            row, why = await row_and_why(ctx, request.path_params["id"])
            page = await _page(ctx, row, why, after, tail)
            if page.data or page.more or row.state in ENDED or time.monotonic() >= deadline:
                break
            await asyncio.sleep(PAUSE_S)
    finally:
        waiting.count -= 1
    if page.why and not follow:
        raise Conflict(f"job {row.id} {page.why}")
    return _answer(row, page)


async def _page(ctx: Context, row: Row, why: str, after: Place, tail: int | None) -> Page:
    if row.state == QUEUED:
        return Page(b"", after, why=f"has not started: {why or 'it is queued'}")
    try:
        names = [str(pod["metadata"]["name"]) for pod in await launch.pods_of(ctx.cluster, row.id)]
        if names:
            return await _of_pod(ctx, names, after, tail)
    except Forbidden:
        raise
    except NotFound:
        pass  # its time to live is over: the last lines are in the row
    except PermanentError as error:
        if row.state not in ENDED:
            return Page(b"", after, why=f"says nothing yet: {error.detail}")
    if row.state not in ENDED:
        return Page(b"", after, why=f"has no pod yet: {row.reason or 'it is starting'}")
    # Who has read on until here has seen them.
    lines = [] if after.pod else row.ending.get("log") or []
    return Page("".join(f"{line}\n" for line in lines).encode(), after, kept=True)


async def _of_pod(ctx: Context, names: list[str], after: Place, tail: int | None) -> Page:
    """The page of the pod that the reader is at, or of the latest; then of the one after it."""
    place = after if after.pod in names else Place(names[-1])
    part = await ctx.cluster.log_part(
        place.pod, skip=place.offset, most_bytes=PAGE_BYTES, tail=tail
    )
    later = names[names.index(place.pod) + 1 :]
    if part.more or not later:
        return Page(part.data, Place(place.pod, part.end), part.more)
    return Page(part.data, Place(later[0]), more=True)


def _answer(row: Row, page: Page) -> Response:
    headers: dict[str, Any] = {
        "X-Job-State": row.state,
        "X-Job-Reason": page.why.encode("ascii", "replace").decode(),
        "X-Log-Next": str(page.next),
        "X-Log-More": "true" if page.more else "false",
        "X-Log": "last lines" if page.kept else "",
    }
    chosen = {name: value for name, value in headers.items() if value}
    return Response(page.data, headers=chosen, media_type="text/plain; charset=utf-8")
