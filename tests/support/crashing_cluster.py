"""A cluster in which a process dies at a chosen call: before it is made, or once it is answered."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

import httpx

from tests.support.cluster import Cluster

Moment = Literal["before", "after"]
Victim = Literal["everything", "caller"]


class Killed(BaseException):
    """The end of a process: nothing in it may catch this."""


class CrashingCluster(Cluster):
    """`doom(n)` kills whoever makes call n from now on, 0 being the user's own.

    Of `everything` all processes die with it and stay dead until `revive`; of the `caller` alone,
    who called that process sees a broken connection, and it is up again at once. With a process end
    the requests that it is answering, whichever of its tasks made the call.
    """

    def __init__(self) -> None:
        super().__init__()
        self._left: int | None = None
        self._moment: Moment = "before"
        self._victim: Victim = "everything"
        self._dead = False
        self._answering: dict[str, set[asyncio.Future[None]]] = {}

    def transport_of(self, name: str) -> httpx.AsyncBaseTransport:
        return _Process(self, name)

    def doom(self, call: int, moment: Moment, victim: Victim) -> None:
        self._left, self._moment, self._victim = call, moment, victim

    def revive(self) -> bool:
        """Bring everything up again; did the killing happen?"""
        happened = self._left is None
        self._left, self._dead = None, False
        return happened

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self.call(request, "")

    async def call(self, request: httpx.Request, caller: str) -> httpx.Response:
        """Answer a call of a Service's process, or the user's own."""
        if self._dead:
            raise Killed
        last = self._is_last()
        if last and self._moment == "before":
            self._kill(caller)
        try:
            response = await self._answer(request)
        except Killed:
            if self._victim == "everything":
                raise
            raise httpx.RemoteProtocolError("the server died", request=request) from None
        if last:
            self._kill(caller)
        return response

    async def _answer(self, request: httpx.Request) -> httpx.Response:
        """The answer; `Killed` as soon as the process that would give it dies."""
        name = request.url.host.split(".")[0]
        death: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._answering.setdefault(name, set()).add(death)
        answer = asyncio.create_task(super().handle_async_request(request))
        try:
            ended: set[asyncio.Future[Any]] = {answer, death}
            await asyncio.wait(ended, return_when=asyncio.FIRST_COMPLETED)
            if death.done():
                raise Killed
            return await answer
        finally:
            self._answering[name].discard(death)
            answer.cancel()

    def _kill(self, caller: str) -> None:
        for name, deaths in self._answering.items():
            if self._victim == "everything" or name == caller:
                for death in deaths:
                    death.cancel()
        raise Killed

    def _is_last(self) -> bool:
        if self._left is None:
            return False
        self._left -= 1
        if self._left >= 0:
            return False
        self._left = None
        self._dead = self._moment == "before" and self._victim == "everything"
        return True


class _Process(httpx.AsyncBaseTransport):
    """The way out of one process."""

    def __init__(self, cluster: CrashingCluster, name: str) -> None:
        self._cluster = cluster
        self._name = name

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await self._cluster.call(request, self._name)
