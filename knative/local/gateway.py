"""The one port: an ASGI application that routes by host, as a cluster's ingress and DNS do.

It is also the HTTP proxy of every process, so requests may come in absolute form. Services,
the broker, the Kubernetes API and the runtime's own administration are behind it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from knative.local.broker.http import Answer
from knative.local.instance import NotReadyError
from knative.local.manifests.references import BROKER_HOST
from knative.local.network import forwarded, trouble
from knative.local.revision import OverdueError, Revision

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

SMALL_BODY_BYTES = 256 * 1024  # read whole; a larger one is streamed
KEEPALIVE_S = 2.0  # below uvicorn's 5 s, so that no connection is reused while it closes
ADMIN = "/_knative"
KUBERNETES = "/kubernetes"
_OWN_HOSTS = {"127.0.0.1", "localhost", "knative.local", "::1"}
_BROKER_HOSTS = {
    BROKER_HOST,
    "broker-ingress.knative-eventing.svc",
    "broker-ingress.knative-eventing.localhost",
}
_HOP_BY_HOP = {
    b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"te", b"trailer",
    b"proxy-authorization", b"transfer-encoding", b"upgrade", b"expect",
}  # fmt: skip


class Gateway:
    """`ingress`, `kubernetes` and `admin` are ASGI applications.

    `front`: the revision that the gateway's own host leads to, but for the paths of those.
    """

    def __init__(
        self,
        revisions: Mapping[str, Revision],
        ingress: App,
        kubernetes: App,
        admin: App,
        *,
        front: Revision | None = None,
    ) -> None:
        self._front = front
        self._revisions = revisions
        self._known = sorted({revision.host for revision in revisions.values()})
        self._ingress = ingress
        self._kubernetes = kubernetes
        self._admin = admin
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("the gateway speaks HTTP only")
        headers = dict(scope["headers"])
        host = _host_name(headers.get(b"host", b""))
        if host in _BROKER_HOSTS:
            await self._ingress(scope, receive, send)
        elif host in self._revisions:
            await self._proxy(self._revisions[host], scope, receive, send, headers)
        elif host in ("kubernetes.default.svc.cluster.local", "kubernetes.default.svc"):
            await self._kubernetes(scope, receive, send)
        elif host in _OWN_HOSTS and scope["path"].startswith(KUBERNETES + "/"):
            await self._kubernetes(_below(scope, KUBERNETES), receive, send)
        elif host in _OWN_HOSTS and self._front is not None and _is_foreign(scope["path"]):
            await self._proxy(self._front, scope, receive, send, headers)
        elif host in _OWN_HOSTS:
            await self._admin(scope, receive, send)
        else:
            await _answer(send, self._unknown(host))

    def _unknown(self, host: str) -> Answer:
        if host.startswith("job-sink."):
            return trouble(404, "JobSinks are not supported by the local Knative")
        known = ", ".join([BROKER_HOST, *self._known])
        # What a proxy answers when a cluster's name has no address: it may have one later.
        status = 502 if host.endswith((".svc.cluster.local", ".svc")) else 404
        return trouble(status, f"the local Knative knows no host {host!r}; it knows {known}")

    async def _proxy(
        self,
        revision: Revision,
        scope: Message,
        receive: Receive,
        send: Send,
        headers: Mapping[bytes, bytes],
    ) -> None:
        """Until the answer has ended or the client has hung up: then nobody needs it."""
        upload = _Upload(receive)
        relaying = asyncio.create_task(self._relay(revision, scope, upload, send, headers))
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
            async with asyncio.timeout_at(start) as limit, revision.lease(start) as instance:
                target = f"http://{instance.host}:{instance.port}{_target(scope)}"
                async with self._client().request(
                    scope["method"],
                    _url(target),
                    headers=_request_headers(scope, headers),
                    data=body,
                    allow_redirects=False,
                ) as upstream:
                    kept = [(k, v) for k, v in upstream.raw_headers if k.lower() not in _HOP_BY_HOP]
                    head = {"type": "http.response.start", "status": upstream.status}
                    await send({**head, "headers": kept})
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
        await _answer(send, answer)

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


def _is_foreign(path: str) -> bool:
    """Is a path of the gateway's own host none of its own?"""
    return path != "/" and not path.startswith((ADMIN + "/", KUBERNETES + "/"))


def _host_name(header: bytes) -> str:
    text = header.decode("latin-1").lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


def _below(scope: Message, prefix: str) -> Message:
    raw = scope.get("raw_path", scope["path"].encode())
    return {
        **scope,
        "path": scope["path"].removeprefix(prefix),
        "raw_path": raw.removeprefix(prefix.encode()),
    }


def _target(scope: Message) -> str:
    raw: bytes = scope.get("raw_path") or scope["path"].encode()
    query: bytes = scope["query_string"]
    return (raw + b"?" + query if query else raw).decode("latin-1")


def _url(target: str) -> URL:
    return URL(target, encoded=True)  # as it came: nothing is quoted twice


def _request_headers(scope: Message, headers: Mapping[bytes, bytes]) -> CIMultiDict[str]:
    host = headers.get(b"host", b"")
    client = scope.get("client")
    sent = [(k, v) for k, v in scope["headers"] if k not in _HOP_BY_HOP]
    sent += forwarded(host, client[0] if client else "127.0.0.1")
    return CIMultiDict((k.decode("latin-1"), _text(v)) for k, v in sent)


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


async def _answer(send: Send, answer: Answer) -> None:
    headers = [*answer.headers, (b"content-length", b"%d" % len(answer.body))]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})
