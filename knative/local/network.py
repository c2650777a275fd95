"""The cluster's network seen from inside: a request to a cluster host, answered.

The broker and the clock send through here, straight to the process without the gateway's port.
Status codes are those of Knative's activator: 503 cannot start, 504 its time has passed,
502 the process died in the middle. Error bodies stay at or below 512 bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from urllib.parse import urlsplit

from knative.local.broker.broker import LocalBroker
from knative.local.broker.client import AiohttpSend
from knative.local.broker.http import Answer, Headers
from knative.local.hosts import BROKER_HOST
from knative.local.instance import GATEWAY_HEADER, NotReadyError
from knative.local.outside import Outside
from knative.local.revision import OverdueError, Revision

ERROR_BODY_BYTES = 512
_TEXT = ((b"content-type", b"text/plain; charset=utf-8"),)


def trouble(status: int, message: str) -> Answer:
    """A plain text error that no dispatcher stumbles over."""
    return Answer(status, _TEXT, message.encode()[:ERROR_BODY_BYTES])


def forwarded(host: bytes, client: str = "127.0.0.1") -> list[tuple[bytes, bytes]]:
    """The headers that a process sees behind Knative's activator."""
    peer = client.encode()
    return [
        (b"forwarded", b"for=%b;proto=http" % peer),
        (b"x-forwarded-for", peer),
        (b"x-forwarded-host", host),
        (b"x-forwarded-proto", b"http"),
        (b"k-proxy-request", b"activator"),
    ]


class Network:
    """`Send` of the broker: cluster hosts go to their process, others to the outside world."""

    def __init__(self, revisions: Mapping[str, Revision], outside: Outside) -> None:
        self._outside = outside
        self._revisions = revisions
        self._client = AiohttpSend()
        self.broker: LocalBroker | None = None

    async def __call__(
        self, method: str, url: str, headers: Headers, body: bytes, timeout_s: float | None
    ) -> Answer:
        parts = urlsplit(url)
        host = parts.hostname or ""
        path = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        revision = self._revisions.get(host)
        if revision is not None and not self._outside.mapped(host):
            return await self._to_process(revision, method, path, headers, body, timeout_s)
        if host == BROKER_HOST and self.broker is not None:
            namespace, _, name = parts.path.strip("/").partition("/")
            answer = self.broker.ingress(namespace, name, method, headers, body, parts.query)
            return await asyncio.wait_for(answer, timeout_s)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        target = self._outside.target(host, port)
        if target is None and host.endswith((".svc.cluster.local", ".svc")):
            raise OSError(f'Post "{url}": dial tcp: lookup {host}: no such host')
        if target is not None and parts.scheme == "http":
            url, host = f"{target.url}{path}", target.host or parts.netloc
            headers = [*headers, (b"host", host.encode())]
        return await self._client(method, url, headers, body, timeout_s)

    async def _to_process(
        self,
        revision: Revision,
        method: str,
        path: str,
        headers: Headers,
        body: bytes,
        timeout_s: float | None,
    ) -> Answer:
        loop = asyncio.get_running_loop()
        # An answer to an event comes in one piece: its first byte is as good as its last.
        max_s = revision.response_start_s
        deadline = loop.time() + (max_s if timeout_s is None else min(timeout_s, max_s))
        host = revision.host.encode()
        try:
            async with revision.lease(deadline) as instance:
                url = f"http://{instance.host}:{instance.port}{path}"
                shown = (GATEWAY_HEADER.encode(), instance.gateway_token.encode())
                sent = [*headers, (b"host", host), *forwarded(host), shown]
                remaining_s = max(deadline - loop.time(), 0.001)
                return await self._client(method, url, sent, body, remaining_s)
        except NotReadyError as error:
            return trouble(503, str(error))
        except (OverdueError, TimeoutError) as error:
            if timeout_s is not None and timeout_s <= max_s:
                raise TimeoutError(f"no answer within {timeout_s:g} s") from error
            return trouble(504, "activator request timeout")
        except OSError as error:
            return trouble(502, f"EOF: {error}")

    async def close(self) -> None:
        await self._client.close()
