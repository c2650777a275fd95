"""The process's HTTP client carries nothing from one request into the next."""

from __future__ import annotations

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from functions.kit.clients.http import Client


async def echo(request: Request) -> Response:
    answer = JSONResponse(dict(request.cookies))
    answer.set_cookie("session", "somebody's")
    return answer


async def test_a_cookie_of_one_answer_is_not_sent_with_the_next_request() -> None:
    peer = httpx.ASGITransport(Starlette(routes=[Route("/", echo)]))
    async with Client(transport=peer) as client:
        await client.get("http://service/")
        assert (await client.get("http://service/")).json() == {}


async def test_cookies_cannot_be_set_by_mistake() -> None:
    async with Client() as client:
        with pytest.raises(TypeError, match="keeps no cookies"):
            client.cookies = {"a": "b"}
