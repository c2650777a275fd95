"""A cluster in which a process dies at a chosen call: before it is made, or once it is answered."""

from __future__ import annotations

from typing import Literal

import httpx

from tests.support.cluster import Cluster

Moment = Literal["before", "after"]
Victim = Literal["everything", "caller"]


class Killed(BaseException):
    """The end of a process: nothing in it may catch this."""


class MortalCluster(Cluster):
    """`doom(n)` kills whoever makes call n from now on, 0 being the person's own.

    Of `everything` all processes die with it and stay dead until `revive`; of the `caller` alone,
    who called that process sees a broken connection, and it is up again at once.
    """

    def __init__(self) -> None:
        super().__init__()
        self._left: int | None = None
        self._moment: Moment = "before"
        self._victim: Victim = "everything"
        self._dead = False

    def doom(self, call: int, moment: Moment, victim: Victim) -> None:
        self._left, self._moment, self._victim = call, moment, victim

    def revive(self) -> bool:
        """Bring everything up again; did the killing happen?"""
        happened = self._left is None
        self._left, self._dead = None, False
        return happened

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._dead:
            raise Killed
        last = self._is_last()
        if last and self._moment == "before":
            raise Killed
        try:
            response = await super().handle_async_request(request)
        except Killed:
            if self._victim == "everything":
                raise
            raise httpx.RemoteProtocolError("the server died", request=request) from None
        if last:
            raise Killed
        return response

    def _is_last(self) -> bool:
        if self._left is None:
            return False
        self._left -= 1
        if self._left >= 0:
            return False
        self._left = None
        self._dead = self._moment == "before" and self._victim == "everything"
        return True
