"""The Broker's ingress as an ASGI application: addresses are `/<namespace>/<broker>`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from knative.local.broker.broker import LocalBroker
from knative.local.broker.http import Answer

Message = MutableMapping[str, Any]
App = Callable[
    [Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]],
    Awaitable[None],
]

BODY_WITHIN_S = 10.0  # as in Knative; a body that comes more slowly is answered 500

_ALLOW = (b"Allow", b"POST, OPTIONS")


def ingress_app(broker: LocalBroker) -> App:
    """Serves `broker` as Knative's ingress does; lifespan messages are ignored."""

    async def app(
        scope: Message,
        receive: Callable[[], Awaitable[Message]],
        send: Callable[[Message], Awaitable[None]],
    ) -> None:
        if scope["type"] != "http":
            raise RuntimeError("the broker serves HTTP only")
        answer = await _answer(broker, scope, receive)
        if answer is None:
            return  # the producer hung up before its event was whole
        await send(
            {
                "type": "http.response.start",
                "status": answer.status,
                "headers": [*answer.headers, (b"Content-Length", b"%d" % len(answer.body))],
            }
        )
        await send({"type": "http.response.body", "body": answer.body})

    return app


async def _answer(
    broker: LocalBroker, scope: Message, receive: Callable[[], Awaitable[Message]]
) -> Answer | None:
    if scope["method"] != "POST":
        return await broker.ingress("", "", scope["method"], scope["headers"], b"")
    path = split_path(scope["path"])
    if path is None:
        return Answer(404 if scope["path"] == "/" else 400, (_ALLOW,))
    chunks: list[bytes] = []
    try:
        async with asyncio.timeout(BODY_WITHIN_S):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    return None
                chunks.append(message.get("body", b""))
                if not message.get("more_body"):
                    break
    except TimeoutError:
        return Answer(500, (_ALLOW,))
    query = scope["query_string"].decode("latin-1")
    return await broker.ingress(*path, scope["method"], scope["headers"], b"".join(chunks), query)


def split_path(path: str) -> tuple[str, str] | None:
    """Namespace and broker of an ingress path, with or without a slash at its end.

    >>> split_path("/dsm/default/"), split_path("/dsm")
    (('dsm', 'default'), None)
    """
    parts = path.removesuffix("/").split("/")
    return (parts[1], parts[2]) if len(parts) == 3 and parts[1] and parts[2] else None
