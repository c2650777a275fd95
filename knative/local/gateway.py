"""The one port: an ASGI application that routes by host, as a cluster's ingress and DNS do.

It is also the HTTP proxy of every process, so requests may come in absolute form. Services,
the broker, the Kubernetes API and the runtime's own administration are behind it.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping

from knative.local.access import Access, check_no_other_page, check_no_page
from knative.local.broker.dispatcher import FAN_OUT_S
from knative.local.broker.http import Answer
from knative.local.faults import Faults
from knative.local.hosts import BROKER_HOST
from knative.local.kube import ApiError
from knative.local.network import trouble
from knative.local.outside import Outside, Target
from knative.local.reverse_proxy import Message, Receive, ReverseProxy, Send, reply
from knative.local.revision import Revision

App = Callable[[Message, Receive, Send], Awaitable[None]]

ADMIN = "/_knative"
KUBERNETES = "/kubernetes"
_MAX_NAMES = 10  # how many Services an error lists
_OWN_HOSTS = {"127.0.0.1", "localhost", "knative.local", "::1"}
_BROKER_HOSTS = {
    BROKER_HOST,
    "broker-ingress.knative-eventing.svc",
    "broker-ingress.knative-eventing.localhost",
}
_KUBERNETES_HOSTS = {"kubernetes.default.svc.cluster.local", "kubernetes.default.svc"}


class Gateway:
    """`ingress`, `kubernetes` and `admin` are ASGI applications; `access` guards them.

    `front`: the revision that the gateway's own host leads to, but for the paths of those.
    """

    def __init__(
        self,
        revisions: Mapping[str, Revision],
        ingress: App,
        kubernetes: App,
        admin: App,
        access: Access,
        outside: Outside,
        faults: Faults,
        *,
        front: Revision | None = None,
    ) -> None:
        self._front = front
        self._faults = faults
        self._revisions = revisions
        self._outside = outside
        self._access = access
        self._ingress = ingress
        self._kubernetes = kubernetes
        self._admin = admin
        self._proxy = ReverseProxy(access)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("the gateway serves HTTP only")
        headers = dict(scope["headers"])
        host = _host_name(headers.get(b"host", b""))
        if host in self._revisions:
            host = self._revisions[host].host

        async def route(send: Send) -> None:
            try:
                await self._route(scope, receive, send, headers)
            except ApiError as error:
                await reply(send, _refusal(error))

        if self._faults.concern(host):
            await reply(send, await self._with_faults(host, route))
        else:
            await route(send)

    async def _with_faults(self, host: str, route: Callable[[Send], Awaitable[None]]) -> Answer:
        """The whole answer to a request, after the faults of its host."""

        async def make() -> Answer:
            messages: list[Message] = []

            async def keep(message: Message) -> None:
                messages.append(message)

            await route(keep)
            start, *parts = messages
            body = b"".join(part.get("body", b"") for part in parts)
            kept = [pair for pair in start["headers"] if pair[0].lower() != b"content-length"]
            return Answer(start["status"], kept, body)

        answer, _, _ = await self._faults.call("", f"http://{host}", make, FAN_OUT_S, repeated=True)
        return answer if isinstance(answer, Answer) else trouble(502, f"EOF: {answer}")

    async def _route(
        self, scope: Message, receive: Receive, send: Send, headers: Mapping[bytes, bytes]
    ) -> None:
        host, path = _host_name(headers.get(b"host", b"")), scope["path"]
        self._access.check_caller(host, headers, scope)
        is_own = host in _OWN_HOSTS
        if is_own and self._is_beside(scope, headers):
            beside = Target(f"http://{headers[b'host'].decode('latin-1')}")
            await self._proxy.forward(beside, scope, receive, send, headers)
        elif host in _BROKER_HOSTS:
            check_no_page(headers)
            await self._ingress(scope, receive, send)
        elif target := self._outside.mapped(host):
            check_no_other_page(headers)
            await self._proxy.forward(target, scope, receive, send, headers)
        elif host in self._revisions:
            await self._proxy(self._revisions[host], scope, receive, send, headers)
        elif host in _KUBERNETES_HOSTS or (is_own and path.startswith(KUBERNETES + "/")):
            self._access.check_control(scope["method"], headers)
            await self._kubernetes(_below(scope, KUBERNETES) if is_own else scope, receive, send)
        elif is_own and path.startswith(ADMIN + "/"):
            self._access.check_control(scope["method"], headers)
            await self._admin(scope, receive, send)
        elif is_own and self._front is not None and path != "/":
            await self._proxy(self._front, scope, receive, send, headers)
        elif is_own:
            await self._admin(scope, receive, send)
        elif target := self._outside.target(host, _port(headers.get(b"host", b""))):
            check_no_other_page(headers)
            await self._proxy.forward(target, scope, receive, send, headers)
        else:
            await reply(send, self._unknown(host))

    def _is_beside(self, scope: Message, headers: Mapping[bytes, bytes]) -> bool:
        """Is it of a process inside that asks, through us as its proxy, another port of this
        machine? That is no name of the cluster, and not every client passes by a proxy for it."""
        return (
            self._access.is_token(headers.get(b"proxy-authorization", b""))
            and b":" in headers[b"host"].rpartition(b"]")[2]
            and _port(headers[b"host"]) != (scope.get("server") or ("", 0))[1]
        )

    def _unknown(self, host: str) -> Answer:
        if host.startswith("job-sink."):
            return trouble(404, "JobSinks are not supported by the local Knative")
        services = [one.service for one in self._revisions.values()]
        names = sorted({f"{one.name}.{one.namespace}" for one in services})
        more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
        # What a proxy answers when a cluster's name has no address: it may have one later.
        status = 502 if host.endswith((".svc.cluster.local", ".svc")) else 404
        return trouble(
            status,
            f"no Service has the host name {host[:100]!r}. Services are reached as "
            f"NAME.NAMESPACE.localhost: {', '.join(names[:_MAX_NAMES])}{more}",
        )

    async def close(self) -> None:
        await self._proxy.close()


def _refusal(error: ApiError) -> Answer:
    """As kube-apiserver says it."""
    headers = [(b"content-type", b"application/json")]
    if error.code == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    return Answer(error.code, headers, json.dumps(error.body()).encode())


def _host_name(header: bytes) -> str:
    text = header.decode("latin-1").lower()
    if text.startswith("["):
        return text[1:].partition("]")[0]
    return text.partition(":")[0]


def _port(header: bytes) -> int:
    text = header.decode("latin-1").rpartition("]")[2].rpartition(":")[2]
    if not (text.isascii() and text.isdecimal()):
        return 80
    if len(text) > 5 or int(text) > 65535:
        raise ApiError(400, "BadRequest", f"port {text[:20]} is none: 65535 is the last")
    return int(text)


def _below(scope: Message, prefix: str) -> Message:
    raw = scope.get("raw_path", scope["path"].encode())
    return {
        **scope,
        "path": scope["path"].removeprefix(prefix),
        "raw_path": raw.removeprefix(prefix.encode()),
    }
