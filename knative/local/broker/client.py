"""The default `Send`: a pooled aiohttp session. The only import of aiohttp in the broker.

A pool of our own on httptools was not worth its code: aiohttp costs about 75 microseconds of
processor time per request, a quarter of what the broker spends on an event.
"""

from __future__ import annotations

import aiohttp

from knative.local.broker.http import Answer, Headers

# Below the 5 s after which uvicorn closes an idle connection, so that none is reused as it closes.
KEEPALIVE_S = 2.0


class AiohttpSend:
    """Sends over aiohttp; `await close()` when done."""

    def __init__(self) -> None:
        self._session: aiohttp.ClientSession | None = None

    async def __call__(
        self, method: str, url: str, headers: Headers, body: bytes, timeout_s: float | None
    ) -> Answer:
        try:
            async with self._opened().request(
                method,
                url,
                headers=[(k.decode("ascii"), v.decode()) for k, v in headers],
                data=body,
                timeout=aiohttp.ClientTimeout(total=timeout_s),
                allow_redirects=False,
            ) as response:
                return Answer(response.status, response.raw_headers, await response.read())
        except OSError:
            raise  # TimeoutError among them
        except (aiohttp.ClientError, ValueError) as error:
            raise ConnectionError(f"{type(error).__name__}: {error}") from error

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S),
                cookie_jar=aiohttp.DummyCookieJar(),
                skip_auto_headers=("Content-Type", "Accept", "User-Agent"),
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None
