"""Further HTTP routes of a function, beside the events that are POSTed to `/`."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from functions.kit.context import Context
from functions.kit.contract.body import BodyLimit
from functions.kit.contract.head import HeadAsGet
from functions.kit.contract.problem import failure, refusal

Endpoint = Callable[[HttpRequest, Context], Awaitable[Response]]


def route(
    path: str,
    endpoint: Endpoint,
    methods: Sequence[str] = ("GET",),
    *,
    bounds_body: bool = False,
) -> Route:
    """A further HTTP route of a function, whose endpoint also gets the context.

    A body is limited as those of APIs are (`ApiSettings`), unless the endpoint `bounds_body`: it
    has a limit and a deadline of its own.
    """
    served: ASGIApp = _Served(endpoint, sorted(methods))
    if not bounds_body:
        served = BodyLimit(served)
    if "GET" in methods:
        served = HeadAsGet(served)
    return Route(path, served, methods=None)


@dataclass(frozen=True)
class _Served:
    """An endpoint as ASGI: without Starlette's handling of errors, as it has our own."""

    endpoint: Endpoint
    methods: list[str]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] in self.methods:
            request = HttpRequest(scope, receive, send)
            try:
                answer = await self.endpoint(request, scope["context"])
            except Exception as error:
                answer = failure(error, api=True)
        else:
            allowed = ["HEAD", *self.methods] if "GET" in self.methods else self.methods
            detail = f"{scope['method']} is not allowed here"
            answer = refusal(405, detail, {"Allow": ", ".join(sorted(allowed))})
        await answer(scope, receive, send)


async def nothing_here(scope: Scope, receive: Receive, send: Send) -> None:
    """The answer to what no route takes."""
    if scope["path"] == "/":
        answer = refusal(405, "POST a CloudEvent or JSON", {"Allow": "POST"})
    else:
        answer = refusal(404, f"no such path: {scope['path']}")
    await answer(scope, receive, send)
