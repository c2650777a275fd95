"""A subscriber on a real socket: records every request, answers as configured."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from aiohttp import web


@dataclass(frozen=True)
class Seen:
    """A request as it came over the wire; header names in lower case."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    at: float = field(default_factory=time.monotonic)


@dataclass(frozen=True)
class Say:
    """An answer. `hold_s` delays it; `hang_up` closes the connection instead."""

    status: int = 202
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    hold_s: float = 0.0
    hang_up: bool = False


class Receiver:
    """Answers an event by path and id: its answers in order, the last one for ever, else 202."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self._answers: dict[tuple[str, str], list[Say]] = defaultdict(list)
        self._runner: web.AppRunner | None = None
        self.port = 0
        self.busy = 0  # requests being answered now

    def will_say(self, path: str, event_id: str, *answers: Say) -> None:
        self._answers[path, event_id].extend(answers)

    def requests(self, path: str, event_id: str | None = None) -> list[Seen]:
        return [
            s
            for s in self.seen
            if s.path == path and event_id in (None, s.headers.get("ce-id"), "*")
        ]

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        app = web.Application(client_max_size=2**30)
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, host, port).start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        headers = {k.lower(): v for k, v in request.headers.items()}
        seen = Seen(request.method, request.path, headers, await request.read())
        self.seen.append(seen)
        answers = self._answers.get((seen.path, headers.get("ce-id", "")), [])
        say = Say() if not answers else answers.pop(0) if len(answers) > 1 else answers[0]
        if say.hang_up and request.transport:
            request.transport.abort()
        self.busy += 1
        try:
            await asyncio.sleep(say.hold_s)
        finally:
            self.busy -= 1
        response = web.Response(status=say.status, headers=dict(say.headers), body=say.body)
        if "Content-Type" not in say.headers:
            response.headers.popall("Content-Type", None)
        return response
