"""The HTTP client of a process: httpx on aiohttp's connections, with a limit and no cookies.

No service that a function calls keeps a session, and what one request was given must not travel
with the next. Looking for cookies in each answer also costs an eighth of a call's processor time.
"""

from __future__ import annotations

import os
import ssl
import zlib
from functools import cache
from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import HttpxAiohttpClient

from functions.kit.errors import BadAnswer, shortened

# Reading so much JSON holds the interpreter's lock for 50 ms, in a thread as well.
MAX_ANSWER_BYTES = 8 * 1024 * 1024


@cache
def authorities() -> ssl.SSLContext:
    """Whom this process trusts. Reading them holds the loop for 25 ms: once, where httpx would do
    so for each client and each proxy."""
    return httpx.create_ssl_context()


class _NoCookies(httpx.Cookies):
    def extract_cookies(self, response: httpx.Response) -> None:
        """Leave them where they are."""


class Client(HttpxAiohttpClient):
    """`max_answer_bytes`: SERVICE_MAX_ANSWER_BYTES, of a body, unpacked; a request's extension of
    that name, which no setting changes, wins.
    """

    def __init__(
        self,
        *,
        max_answer_bytes: int = MAX_ANSWER_BYTES,
        verify: ssl.SSLContext | None = None,
        **options: Any,
    ) -> None:
        super().__init__(verify=verify or authorities(), **options)
        self._max_answer_bytes = max_answer_bytes

    @property
    def cookies(self) -> httpx.Cookies:
        return _NO_COOKIES

    @cookies.setter
    def cookies(self, cookies: object) -> None:
        raise TypeError("this client keeps no cookies")

    async def send(
        self, request: httpx.Request, *, stream: bool = False, **options: Any
    ) -> httpx.Response:
        """`BadAnswer` where the body is over the limit; an error's body is cut there."""
        request.headers["Accept-Encoding"] = "gzip"
        try:
            response = await super().send(request, stream=True, **options)
        except httpx.ConnectTimeout as error:
            raise _named(error) from error.__cause__
        if not stream:
            try:
                response._content = await self._body_of(response)  # as `aread` does
            finally:
                await response.aclose()
        return response

    async def _body_of(self, response: httpx.Response) -> bytes:
        """The body, unpacked here: httpx unpacks all of a chunk, as often as its head lists an
        encoding, before anyone can count the bytes."""
        fixed = response.request.extensions.get("max_answer_bytes")
        limit = self._max_answer_bytes if fixed is None else fixed
        encoding = response.headers.get("Content-Encoding", "identity").strip().lower()
        if encoding not in ("", "identity", "gzip"):
            return _refused(response, f"in the encoding {shortened(encoding, 50)}, not gzip")
        gzip = zlib.decompressobj(zlib.MAX_WBITS | 16) if encoding == "gzip" else None
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk if gzip is None else _unpacked(gzip, chunk, limit + 1 - len(body))
            if len(body) > limit:
                setting = ": set SERVICE_MAX_ANSWER_BYTES" if fixed is None else ", a fixed limit"
                _refused(response, f"more than {limit} bytes{setting}")
                break
        return bytes(body[:limit])


def _unpacked(gzip: Any, chunk: bytes, max_bytes: int) -> bytes:
    try:
        found: bytes = gzip.decompress(chunk, max_bytes)
    except zlib.error as error:
        raise httpx.DecodingError(str(error)) from error
    return found


def _refused(response: httpx.Response, what: str) -> bytes:
    """`BadAnswer`; of an error the status is enough, whatever its body is."""
    if response.is_success:
        request = response.request
        raise BadAnswer(f"{request.method} {shortened(str(request.url), 150)} answered {what}")
    return b""


def _named(error: httpx.ConnectTimeout) -> httpx.TransportError:
    """The error by its right name: httpx_aiohttp takes whatever befell a connection for this one.

    It matters which: after a `ConnectError` the request was not sent, so it may be sent again.
    """
    match error.__cause__:
        case aiohttp.ClientSSLError() as refused:
            return httpx.ConnectError(str(refused), request=error.request)
        case aiohttp.ClientConnectorError(os_error=reason):
            number = reason.errno or 0  # below 0: of the resolver, whose messages are its own
            text = os.strerror(number) if number > 0 else reason.strerror
            return httpx.ConnectError((text or "no connection").lower(), request=error.request)
        case aiohttp.ServerTimeoutError():
            return error
        case _:
            return httpx.RemoteProtocolError("the connection broke off", request=error.request)


_NO_COOKIES = _NoCookies()
