"""Publishing to a sink that demands a token and uses TLS under an authority of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest
import trustme
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from functions.kit.clients import transaction_guard
from functions.kit.clients.publisher import trust
from functions.kit.context import Resources
from functions.kit.errors import TemporaryError
from functions.kit.settings import BadSetting, ProcessSettings
from tests.support import eventually
from tests.support.cluster import message_of
from tests.support.slow_target import NapAsked

MESSAGE = message_of(NapAsked(seconds=0))


class Guarded:
    """A Broker's ingress that lets in who shows the token of the day."""

    def __init__(self) -> None:
        self.token = "first"
        self.taken: list[str] = []
        self.status = 202

    async def take(self, request: Request) -> Response:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return Response(status_code=401)
        self.taken.append(request.headers["ce-id"])
        return Response(status_code=self.status)


@asynccontextmanager
async def listening(sink: Guarded, authority: trustme.CA, folder: Path) -> AsyncIterator[str]:
    identity = authority.issue_cert("localhost")
    identity.private_key_and_cert_chain_pem.write_to_path(folder / "server.pem")
    app = Starlette(routes=[Route("/", sink.take, methods=["POST"])])
    config = uvicorn.Config(
        app, port=0, lifespan="off", log_config=None, ssl_certfile=str(folder / "server.pem")
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve())

    async def started() -> bool:
        return server.started

    assert await eventually(started)
    yield f"https://localhost:{server.servers[0].sockets[0].getsockname()[1]}/"
    server.should_exit = True
    with suppress(asyncio.CancelledError):
        await serving


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@asynccontextmanager
async def producer(url: str, folder: Path, ca: str) -> AsyncIterator[Resources]:
    environ = {"K_SINK": url, "OIDC_TOKEN_FILE": str(folder / "token"), "K_CA_CERTS": ca}
    resources = Resources(environ)
    yield resources
    await resources.close()


async def test_a_sink_gets_the_token_under_the_authority_that_the_binding_names(
    authority: trustme.CA, tmp_path: Path
) -> None:
    sink, ca = Guarded(), authority.cert_pem.bytes().decode()
    (tmp_path / "token").write_text("first\n")
    async with (
        listening(sink, authority, tmp_path) as url,
        producer(url, tmp_path, ca) as resources,
    ):
        await resources.publisher.publish([MESSAGE])
        assert sink.taken == [MESSAGE.id]
        # The controller replaces the token; until the file follows, sends fail for now.
        sink.token = "second"
        with pytest.raises(TemporaryError, match="sink answered 401"):
            await resources.publisher.publish([MESSAGE])
        (tmp_path / "token").write_text("second")
        await resources.publisher.publish([MESSAGE])
        assert len(sink.taken) == 2
        sink.status = 403  # a right that is not there yet is no fault of the event
        with pytest.raises(TemporaryError, match="sink answered 403"):
            await resources.publisher.publish([MESSAGE])


async def test_a_sink_of_an_unknown_authority_gets_no_token(
    authority: trustme.CA, tmp_path: Path
) -> None:
    sink = Guarded()
    (tmp_path / "token").write_text("first")
    async with listening(sink, authority, tmp_path) as url:
        for ca in ("", trustme.CA().cert_pem.bytes().decode()):
            async with producer(url, tmp_path, ca) as resources:
                with pytest.raises(TemporaryError, match=r"(?i)certificate"):
                    await resources.publisher.publish([MESSAGE])
    assert sink.taken == []


async def test_a_send_inside_a_transaction_is_found(authority: trustme.CA, tmp_path: Path) -> None:
    sink, ca = Guarded(), authority.cert_pem.bytes().decode()
    (tmp_path / "token").write_text("first")
    async with (
        listening(sink, authority, tmp_path) as url,
        producer(url, tmp_path, ca) as resources,
    ):
        with transaction_guard.transaction_open():
            await resources.publisher.publish([MESSAGE])
        assert transaction_guard.violations == [f"a call to {url} while a transaction is open"]
        transaction_guard.violations.clear()


async def test_without_a_token_none_is_sent(authority: trustme.CA, tmp_path: Path) -> None:
    sink, ca = Guarded(), authority.cert_pem.bytes().decode()
    async with (
        listening(sink, authority, tmp_path) as url,
        producer(url, tmp_path, ca) as resources,
    ):
        with pytest.raises(TemporaryError, match="401"):
            await resources.publisher.publish([MESSAGE])


async def test_an_event_goes_by_the_proxy_with_the_token_of_the_service_and_no_header_more(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heads: list[list[str]] = []

    async def proxy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := (await reader.readuntil(b"\r\n\r\n")).decode():
            heads.append(head.lower().split("\r\n"))
            await reader.readexactly(len(MESSAGE.data))
            writer.write(b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")

    server = await asyncio.start_server(proxy, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, f"http://local:secret@127.0.0.1:{port}")
    (tmp_path / "sink.shop").write_text("shown")
    environ = {"K_SINK": "http://sink.shop.svc/", "SERVICE_TOKENS": str(tmp_path)}
    resources = Resources({**environ, "OIDC_TOKEN_FILE": str(tmp_path / "none")})
    await resources.publisher.publish([MESSAGE])
    await resources.publisher.publish([replace(MESSAGE, datacontenttype=None)])
    await resources.close()
    server.close()
    assert len(heads) == 2
    for head in heads:  # the second goes over the connection of the first
        assert head[0] == "post http://sink.shop.svc/ http/1.1"
        assert "authorization: bearer shown" in head
        assert any(line.startswith("proxy-authorization: basic ") for line in head)
    names = {line.partition(":")[0] for line in heads[1][1:] if line}
    assert {n for n in names if not n.startswith("ce-")} == {
        *("host", "content-length", "authorization", "proxy-authorization")
    }


def test_what_is_no_certificate_is_reported_by_its_setting() -> None:
    with pytest.raises(BadSetting, match="K_CA_CERTS"):
        trust(ProcessSettings(k_ca_certs="nonsense"))
