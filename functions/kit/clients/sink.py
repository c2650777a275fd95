"""POST to a sink: headers and a body go out, and of the answer only the status counts.

By aiohttp itself this takes a third of the processor time that it takes by httpx, which is most of
what an event costs its sender. httpx is for who has another transport, or traces its calls.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from functools import cache, cached_property
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import httpx

from functions.kit.clients import transaction_guard
from functions.kit.clients.publisher import MAX_AT_ONCE, SINK_TIMEOUT_S, trust
from functions.kit.clients.request import request
from functions.kit.clients.service_tokens import ServiceTokens
from functions.kit.errors import TemporaryError
from functions.kit.settings import ProcessSettings

CONNECT_S = 5.0
MAX_ANSWER_BYTES = 64 * 1024  # its beginning says why an event was refused
KEEP_S = 5.0  # a connection that is idle for longer is closed: the sink may have closed it
_TIMEOUT = httpx.Timeout(SINK_TIMEOUT_S, connect=CONNECT_S)
# The event's own headers are all there are: a content type that it lacks would become its own.
_NOT_ADDED = ("Accept", "Accept-Encoding", "Content-Type", "User-Agent")


class AiohttpPost:
    """Posts by a session of aiohttp, and by the proxy of the environment where there is one."""

    def __init__(self, settings: ProcessSettings, tokens: ServiceTokens | None = None) -> None:
        self._settings = settings
        self._tokens = tokens

    async def __call__(
        self, url: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> tuple[int, bytes]:
        transaction_guard.network_call(url)
        try:
            async with self._session.post(
                url,
                headers=[*headers, *self._authorization(url, headers)],
                data=body,
                allow_redirects=False,
                proxy=_proxy(url),
                ssl=self._tls if url.startswith("https:") else True,
            ) as response:
                # Read in any case, or the connection would serve no other request.
                body = await response.content.read(MAX_ANSWER_BYTES)
                while not response.content.at_eof() and len(body) < MAX_ANSWER_BYTES:
                    body += await response.content.read(MAX_ANSWER_BYTES - len(body))
                return response.status, body
        except (aiohttp.ClientError, OSError) as error:  # a timeout is an `OSError`
            raise TemporaryError(f"sink: {type(error).__name__} {error}") from error

    def _authorization(self, url: str, headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
        if self._tokens is None or any(name == "authorization" for name, _ in headers):
            return []
        token = self._tokens.of(urlsplit(url).hostname or "")
        return [("authorization", f"Bearer {token}")] if token else []

    async def close(self) -> None:
        if "_session" in self.__dict__:
            await self._session.close()

    @cached_property
    def _session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=MAX_AT_ONCE, keepalive_timeout=KEEP_S),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_NOT_ADDED,
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=CONNECT_S, sock_read=SINK_TIMEOUT_S
            ),
            auto_decompress=False,
        )

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        from functions.kit.clients.http import authorities

        return trust(self._settings) or authorities()


class HttpxPost:
    """Posts by a client of httpx."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def __call__(
        self, url: str, headers: Sequence[tuple[str, str]], body: bytes
    ) -> tuple[int, bytes]:
        raw = [(name.encode(), value.encode()) for name, value in headers]
        try:
            answer = await self._client.send(request("POST", url, raw, body, _TIMEOUT))
        except httpx.HTTPError as error:
            raise TemporaryError(f"sink: {type(error).__name__} {error}") from error
        return answer.status_code, answer.content

    async def close(self) -> None:
        await self._client.aclose()


@cache
def _proxy(url: str) -> str | None:
    """The environment's proxy for a sink, which has the same URL for the life of a process."""
    parts = urlsplit(url)
    return None if proxy_bypass(parts.netloc) else getproxies().get(parts.scheme)
