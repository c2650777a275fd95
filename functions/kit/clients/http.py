"""The HTTP client of a process: httpx on aiohttp's connections, and no cookies.

No service that a function calls keeps a session, and what one request was given must not travel
with the next. Looking for cookies in each answer also costs an eighth of a call's processor time.
"""

from __future__ import annotations

import os
from typing import Any

import aiohttp
import httpx
from httpx_aiohttp import HttpxAiohttpClient


class _NoCookies(httpx.Cookies):
    def extract_cookies(self, response: httpx.Response) -> None:
        """Leave them where they are."""


class Client(HttpxAiohttpClient):
    @property
    def cookies(self) -> httpx.Cookies:
        return _NO_COOKIES

    @cookies.setter
    def cookies(self, cookies: object) -> None:
        raise TypeError("this client keeps no cookies")

    async def send(self, request: httpx.Request, **options: Any) -> httpx.Response:
        try:
            return await super().send(request, **options)
        except httpx.ConnectTimeout as error:
            raise _named(error) from error.__cause__


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
