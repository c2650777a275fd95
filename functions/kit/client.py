"""The HTTP client of a process: httpx on aiohttp's connections, and no cookies.

No service that a function calls keeps a session, and what one request was given must not travel
with the next. Looking for cookies in each answer also costs an eighth of a call's processor time.
"""

from __future__ import annotations

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


_NO_COOKIES = _NoCookies()
