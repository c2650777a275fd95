"""Sending events to the sink. A sink that is down is a `TemporaryError`: the caller comes again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING

from functions.kit import wire
from functions.kit.errors import PermanentError, TemporaryError
from functions.kit.settings import ProcessSettings

if TYPE_CHECKING:
    import httpx


class Publisher:
    """Posts events to K_SINK, a few at a time."""

    def __init__(self, settings: ProcessSettings, http: httpx.AsyncClient) -> None:
        self._settings = settings
        self._http = http
        self._turns = asyncio.Semaphore(16)

    async def publish(self, messages: Sequence[wire.Message]) -> None:
        """Send all; raise the first failure once all have ended."""
        if messages and not self._settings.k_sink:
            raise TemporaryError("setting K_SINK is missing: events have nowhere to go")
        outcomes = await asyncio.gather(*map(self._send, messages), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, BaseException):
                raise outcome

    async def _send(self, message: wire.Message) -> None:
        import httpx

        headers, body = wire.encode(message)
        try:
            async with self._turns:
                response = await self._http.post(
                    self._settings.k_sink,
                    headers=headers,
                    content=body,
                    timeout=self._settings.publish_timeout_s,
                )
        except httpx.HTTPError as error:
            raise TemporaryError(f"sink: {type(error).__name__} {error}") from error
        if response.is_success:
            return
        if response.status_code in (404, 408, 409, 429) or response.status_code >= 500:
            raise TemporaryError(f"sink answered {response.status_code} to {message.type}")
        raise PermanentError(f"sink refused {message.type} with {response.status_code}")
