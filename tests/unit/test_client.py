"""The process's HTTP client: no cookies, and no answer that is too large."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import tracemalloc

import certifi
import httpx
import pytest
from httpx_aiohttp.transport import AiohttpTransport
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from functions.kit.clients.http import Client, authorities
from functions.kit.clients.service import ServiceClient
from functions.kit.clients.sink import MAX_ANSWER_BYTES, AiohttpPost
from functions.kit.context import Resources
from functions.kit.errors import BadAnswer, TemporaryError
from functions.kit.settings import ProcessSettings
from tests.support.listening import listening


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


LIMIT = 2048
BOMB = gzip.compress(bytes(64_000_000))


async def answer(request: Request) -> Response:
    """More than a client may read, but for one answer that fits."""
    match request.path_params["kind"]:
        case "fits":
            return Response(b'"' + b"x" * (LIMIT - 2) + b'"')
        case "packed":
            packed = gzip.compress(b"[" + b"1," * LIMIT + b"1]")
            return Response(packed, headers={"content-encoding": "gzip"})
        case "bomb":
            return Response(BOMB, headers={"content-encoding": "gzip"})
        case "chained":
            twice = {"content-encoding": "gzip, gzip"}
            return Response(gzip.compress(BOMB), headers=twice)
        case "packed-fits":
            return Response(gzip.compress(b"[1]"), headers={"content-encoding": "gzip"})
        case "broken":
            return Response(b"[1]", headers={"content-encoding": "gzip"})
        case "away-in-br":
            return Response(b"x", 503, headers={"content-encoding": "br"})
        case "away":
            return Response(b"x" * 1_000_000, 503)
        case _:
            return Response(b"x" * 1_000_000)


PEER = Starlette(routes=[Route("/{kind}", answer, methods=["GET", "POST"])])


def a_service(url: str) -> tuple[Resources, ServiceClient]:
    resources = Resources({"SERVICE_MAX_ANSWER_BYTES": str(LIMIT)})
    return resources, ServiceClient("sprint-service", url, resources.http)


@pytest.mark.parametrize("kind", ["huge", "packed"])
async def test_a_larger_answer_is_refused_by_service_url_and_limit(kind: str) -> None:
    async with listening(PEER) as url:
        resources, service = a_service(url)
        with pytest.raises(BadAnswer) as refused:
            await service.get(f"/{kind}", object)
        for part in ("sprint-service", f"GET {url}/{kind}", "2048 bytes", "SERVICE_MAX_ANSWER_BY"):
            assert part in refused.value.detail
        with pytest.raises(BadAnswer, match=f"POST {url}/huge"):
            await service.post("/huge", object, key="k")
        assert await service.get("/fits", str) == "x" * (LIMIT - 2)
        await resources.close()


@pytest.mark.parametrize(
    ("kind", "reason"), [("bomb", "more than 2048 bytes"), ("chained", "the encoding gzip, gzip")]
)
async def test_no_packed_answer_fills_the_memory(kind: str, reason: str) -> None:
    async with listening(PEER) as url:
        resources, service = a_service(url)
        assert await service.get("/packed-fits", list[int]) == [1]
        tracemalloc.start()
        try:
            with pytest.raises(BadAnswer, match=f"GET {url}/{kind} answered .*{reason}"):
                await service.get(f"/{kind}", object)
            assert tracemalloc.get_traced_memory()[1] < 2_000_000
        finally:
            tracemalloc.stop()
        await resources.close()


@pytest.mark.parametrize("kind", ["broken", "away-in-br"])
async def test_an_answer_that_cannot_be_unpacked_is_tried_again(kind: str) -> None:
    async with listening(PEER) as url:
        resources, service = a_service(url)
        with pytest.raises(TemporaryError, match="sprint-service"):
            await service.get(f"/{kind}", object)
        await resources.close()


async def test_the_limit_that_was_reached_is_named() -> None:
    async with listening(PEER) as url:
        resources, _ = a_service(url)
        with pytest.raises(BadAnswer, match="2048 bytes: set SERVICE_MAX_ANSWER_BYTES"):
            await resources.trusting(certifi.where()).get(f"{url}/huge")
        with pytest.raises(BadAnswer, match="1000 bytes, a fixed limit"):
            await resources.http.get(f"{url}/huge", extensions={"max_answer_bytes": 1000})
        await resources.close()


async def test_reading_stops_at_the_limit() -> None:
    sent = 0
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while sent < 100_000_000:
                writer.write(b"x" * 1024)
                sent += 1024
                await writer.drain()
        ended.set()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        resources, service = a_service(f"http://127.0.0.1:{port}")
        with pytest.raises(BadAnswer):
            await service.get("/", object)
        await asyncio.wait_for(ended.wait(), 30)
        await resources.close()
    assert sent < 100_000_000, "the rest was not taken"


async def test_the_beginning_of_an_error_is_read() -> None:
    async with listening(PEER) as url:
        resources, service = a_service(url)
        with pytest.raises(TemporaryError, match="answered 503: xxx"):
            await service.get("/away", object)
        await resources.close()


async def test_of_a_sinks_answer_the_beginning_is_read() -> None:
    async with listening(PEER) as url:
        post = AiohttpPost(ProcessSettings())
        assert await post(f"{url}/huge", [], b"") == (200, b"x" * MAX_ANSWER_BYTES)
        assert (await post(f"{url}/fits", [], b""))[0] == 200
        await post.close()


def test_authorities_are_read_once_for_all_clients_and_proxies(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    clients = [Client(), Client()]
    transports = [
        one for client in clients for one in (client._transport, *client._mounts.values())
    ]
    contexts = {id(one.ssl_context) for one in transports if isinstance(one, AiohttpTransport)}
    assert len(transports) > 2
    assert contexts == {id(authorities())}
