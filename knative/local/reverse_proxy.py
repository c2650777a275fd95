"""The way from the gateway to a Service's process: one HTTP request, streamed both ways."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Mapping,
    MutableMapping,
)
from typing import Any

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from knative.local.access import Access
from knative.local.broker.http import Answer
from knative.local.instance import GATEWAY_HEADER, NotReadyError
from knative.local.network import forwarded, trouble
from knative.local.outside import Target
from knative.local.revision import OverdueError, Revision

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

SMALL_BODY_BYTES = 256 * 1024  # read whole; a larger one is streamed
KEEPALIVE_S = 2.0  # below uvicorn's 5 s, so that no connection is reused while it closes
_HOP_BY_HOP = {
    b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"te", b"trailer",
    b"proxy-authorization", b"transfer-encoding", b"upgrade", b"expect",
}  # fmt: skip


class ReverseProxy:
    """Sends requests to a revision's process; the token of the run is not passed on."""

    def __init__(self, access: Access) -> None:
        self._access = access
        self._session: aiohttp.ClientSession | None = None

    async def __call__(
        self,
        revision: Revision,
        scope: Message,
        receive: Receive,
        send: Send,
        headers: Mapping[bytes, bytes],
    ) -> None:
        """Until the answer has ended or the client has hung up: then it is not needed."""
        upload = _Upload(receive)
        await self._attended(upload, self._relay(revision, scope, upload, send, headers))

    async def forward(
        self,
        target: Target,
        scope: Message,
        receive: Receive,
        send: Send,
        headers: Mapping[bytes, bytes],
    ) -> None:
        """The same to a place outside, which is no business of the activator's."""
        upload = _Upload(receive)
        await self._attended(upload, self._pass_on(target, scope, upload, send, headers))

    async def _attended(self, upload: _Upload, work: Coroutine[Any, Any, None]) -> None:
        relaying = asyncio.create_task(work)
        gone = asyncio.create_task(upload.hung_up())
        try:
            await asyncio.wait({relaying, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            relaying.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await relaying

    async def _relay(
        self,
        revision: Revision,
        scope: Message,
        upload: _Upload,
        send: Send,
        headers: Mapping[bytes, bytes],
    ) -> None:
        clock = asyncio.get_running_loop().time
        start, end = clock() + revision.response_start_s, clock() + revision.timeout_s
        started = False
        try:
            async with asyncio.timeout_at(start):
                body = await upload.body(headers)
            async with (
                asyncio.timeout_at(start) as limit,
                self._answered(revision, start, scope, headers, body) as upstream,
            ):
                await send(_head(upstream))
                started = True
                limit.reschedule(min(end, clock() + revision.idle_s))
                async for chunk in upstream.content.iter_any():
                    limit.reschedule(min(end, clock() + revision.idle_s))
                    part = {"type": "http.response.body", "body": chunk, "more_body": True}
                    await send(part)
                await send({"type": "http.response.body", "body": b""})
        except NotReadyError as error:
            answer = trouble(503, str(error))
        except (OverdueError, TimeoutError):
            answer = trouble(504, "activator request timeout")
        except (aiohttp.ClientError, OSError) as error:
            answer = trouble(502, f"EOF: {error}")
        else:
            return
        if started:
            raise ConnectionAbortedError("the answer ended early")  # uvicorn cuts the connection
        await reply(send, answer)

    @contextlib.asynccontextmanager
    async def _answered(
        self,
        revision: Revision,
        deadline: float,
        scope: Message,
        headers: Mapping[bytes, bytes],
        body: Any,
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The answer of a process; of the next one to a POST that this one did not take."""
        while True:
            async with revision.lease(deadline) as instance:
                target = f"http://{instance.host}:{instance.port}{_target(scope)}"
                try:
                    upstream = await self._client().request(
                        scope["method"],
                        _url(target),
                        headers=self._request_headers(scope, headers, instance.gateway_token),
                        data=body,
                        allow_redirects=False,
                    )
                except aiohttp.ClientConnectorError:
                    # Of what is idempotent aiohttp itself may have sent it, and again.
                    if scope["method"] != "POST" or not await instance.has_ended():
                        raise
                    continue
                async with upstream:
                    yield upstream
                return

    async def _pass_on(
        self,
        target: Target,
        scope: Message,
        upload: _Upload,
        send: Send,
        headers: Mapping[bytes, bytes],
    ) -> None:
        sent = self._request_headers(scope, headers)
        if target.host is not None:
            sent["host"] = target.host
        started = False
        try:
            async with self._client().request(
                scope["method"],
                _url(target.url + _target(scope)),
                headers=sent,
                data=await upload.body(headers),
                allow_redirects=False,
            ) as upstream:
                await send(_head(upstream))
                started = True
                async for chunk in upstream.content.iter_any():
                    await send({"type": "http.response.body", "body": chunk, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
        except (aiohttp.ClientError, OSError) as error:
            if started:
                raise ConnectionAbortedError("the answer ended early") from error
            await reply(send, trouble(502, f"{target.url} does not answer: {error}"))

    def _request_headers(
        self, scope: Message, headers: Mapping[bytes, bytes], gateway_token: str = ""
    ) -> CIMultiDict[str]:
        client = scope.get("client")
        sent = [
            (name, value)
            for name, value in scope["headers"]
            if name not in _HOP_BY_HOP
            and not (name == b"authorization" and self._access.is_token(value))
        ]
        sent += forwarded(headers.get(b"host", b""), client[0] if client else "127.0.0.1")
        made = CIMultiDict((k.decode("latin-1"), _text(v)) for k, v in sent)
        if gateway_token:
            made[GATEWAY_HEADER] = gateway_token
        return made

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_S),
                timeout=aiohttp.ClientTimeout(),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            )
        return self._session

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


async def reply(send: Send, answer: Answer) -> None:
    """Send a whole answer."""
    headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def _head(upstream: aiohttp.ClientResponse) -> Message:
    kept = [(k, v) for k, v in upstream.raw_headers if k.lower() not in _HOP_BY_HOP]
    return {"type": "http.response.start", "status": upstream.status, "headers": kept}


def _target(scope: Message) -> str:
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    return (raw + b"?" + query if query else raw).decode("latin-1")


def _url(target: str) -> URL:
    return URL(target, encoded=True)  # as it came: nothing is quoted twice


def _text(value: bytes) -> str:
    """A header's value such that aiohttp, which writes UTF-8, sends the same bytes."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")


class _Upload:
    """The request's body, and after it the news that the client has hung up."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._read = asyncio.Event()

    async def body(self, headers: Mapping[bytes, bytes]) -> Any:
        """Bytes when it is small, a stream otherwise, None when there is none."""
        length = headers.get(b"content-length")
        if length is None and b"transfer-encoding" not in headers:
            self._read.set()
            return None
        if length is not None and int(length) <= SMALL_BODY_BYTES:
            return b"".join([chunk async for chunk in self._chunks()])
        return self._chunks()

    async def _chunks(self) -> AsyncIterator[bytes]:
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ConnectionResetError("the client hung up")
            if message.get("body"):
                yield message["body"]
            if not message.get("more_body"):
                self._read.set()
                return

    async def hung_up(self) -> None:
        """Return when the client has; not before its whole body has come."""
        await self._read.wait()
        while (await self._receive())["type"] != "http.disconnect":
            pass
