"""A cluster in a process: functions and services as real ASGI applications, found by host.

The transport is the only seam: httpx clients inside the applications get it in place of the
network, and everything else is the code that runs in production.
"""

from __future__ import annotations

import asyncio
import contextvars
import dataclasses
import json
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from datetime import datetime
from typing import Any
from uuid import uuid4

import httpx
from starlette.requests import Request
from starlette.responses import Response

from functions.events.base import Event
from functions.kit import cloudevents
from functions.kit.context import Context, Resources
from functions.kit.contract import Api, envelope
from functions.kit.contract.decorator import respond
from functions.kit.contract.handle import Spec
from tests.support.waiting import eventually

Scope = MutableMapping[str, Any]
App = Callable[[Scope, Any, Any], Awaitable[None]]

SINK = "http://broker-ingress.knative-eventing.svc.cluster.local/dsm/default"
MAX_ERROR_BYTES = 512


def assert_problem(response: httpx.Response) -> None:
    """An error is a problem of RFC 9457, and no longer than a dispatcher survives."""
    assert response.headers["content-type"] == "application/problem+json"
    assert len(response.content) <= MAX_ERROR_BYTES
    found = response.json()
    assert set(found) - {"errors"} == {"type", "title", "status", "detail"}
    assert found["status"] == response.status_code
    assert found["title"]
    assert found["detail"]


class Sink:
    """A broker that keeps what it is sent; `statuses` are answered first, then 202.

    While it is not `open`, nothing is answered: so many are `waiting`.
    """

    def __init__(self) -> None:
        self.messages: list[cloudevents.Message] = []
        self.statuses: list[int] = []
        self.waiting = 0
        self.open = asyncio.Event()
        self.open.set()

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        body = await request.body()
        self.waiting += 1
        try:
            await self.open.wait()
        finally:
            self.waiting -= 1
        status = self.statuses.pop(0) if self.statuses else 202
        if status < 300:
            self.messages.append(cloudevents.decode(request.headers.raw, body))
        await Response(status_code=status)(scope, receive, send)

    def types(self) -> list[str]:
        return [m.type for m in self.messages]

    def of(self, kind: type[Event]) -> list[Any]:
        """The typed events of one class, in the order of arrival."""
        return [envelope.open_(m, (kind,)) for m in self.messages if m.type == kind.type]


class Cluster(httpx.AsyncBaseTransport):
    """Applications by host name. A host in `down` refuses connections."""

    def __init__(self) -> None:
        self.apps: dict[str, App] = {}
        self.down: set[str] = set()
        self.requests: list[httpx.Request] = []
        self.sink = Sink()
        self.waits = True  # does a client get its answer once all events of it have left?
        self._resources: list[Resources] = []
        self._served: dict[str, Resources] = {}
        self.add("broker-ingress", self.sink)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        name = request.url.host.split(".")[0]
        self.requests.append(request)
        if name in self.down or name not in self.apps:
            raise httpx.ConnectError(f"connection refused: {name}", request=request)
        # As in another process: nothing of the caller's context is known there.
        answer = httpx.ASGITransport(self.apps[name]).handle_async_request(request)
        return await asyncio.create_task(answer, context=contextvars.Context())

    def transport_of(self, name: str) -> httpx.AsyncBaseTransport:
        """The way out of a Service's process."""
        return self

    def add(self, name: str, app: App) -> None:
        self.apps[name] = app

    def deploy(
        self,
        target: object,
        environ: Mapping[str, str] | None = None,
        now: Callable[[], datetime] | None = None,
    ) -> Context:
        """Serve a target, function or API, under its Service's name."""
        spec, api = getattr(target, "spec", None), getattr(target, "api", None)
        assert isinstance(spec, Spec) or isinstance(api, Api), f"{target!r} is no target"
        name = spec.name if isinstance(spec, Spec) else api.name  # type: ignore[union-attr]
        transport = self.transport_of(name.replace("_", "-"))
        resources = Resources({"K_SINK": SINK, **(environ or {})}, transport=transport)
        self._resources.append(resources)
        ctx = Context(resources, name)
        if now is not None:
            ctx = dataclasses.replace(ctx, now=now)
        fastapi = api.build() if isinstance(api, Api) else None

        async def app(scope: Scope, receive: Any, send: Any) -> None:
            if fastapi is not None:
                await fastapi({**scope, "context": ctx}, receive, send)
                return
            assert isinstance(spec, Spec)
            response = await respond(spec, Request(scope, receive), ctx)
            await response(scope, receive, send)

        self.add(name.replace("_", "-"), app)
        self._served[name.replace("_", "-")] = resources
        return ctx

    def client(self, name: str) -> httpx.AsyncClient:
        """An HTTP client of one Service, outside of the cluster."""
        url = f"http://{name}.dsm.svc.cluster.local"
        return httpx.AsyncClient(transport=_Outside(self), base_url=url)

    async def relayed(self) -> None:
        """Return when the work after commits is done, and each event was sent, or could not be."""
        for resources in self._resources:
            for part in list(resources._parts.values()):
                if idle := getattr(part, "idle", None):
                    await idle()
            if "durable" in resources.__dict__:
                await resources.durable.relay.idle()

    async def crash(self, name: str) -> None:
        """Have the process of a Service do nothing more of what it does after its commits."""
        for part in list(self._served[name]._parts.values()):
            for task in getattr(part, "running", list)():
                task.cancel()
        for task in self._served[name].durable.relay._tasks:
            task.cancel()

    async def tell(self, name: str, event: Event | cloudevents.Message) -> httpx.Response:
        """Deliver an event as a broker does: binary mode, asking for a reply."""
        message = event if isinstance(event, cloudevents.Message) else message_of(event)
        headers, body = cloudevents.encode(message)
        async with self.client(name) as client:
            return await client.post("/", headers=[*headers, ("Prefer", "reply")], content=body)

    async def ask(self, name: str, event: Event | cloudevents.Message) -> cloudevents.Message:
        """The one event that a function emits for another: its reply, or what it sent."""
        before = len(self.sink.messages)
        response = await self.tell(name, event)
        if response.status_code == 200:
            return reply_of(response)
        assert response.status_code == 202, response.text
        (sent,) = self.sink.messages[before:]
        return sent

    async def answer_to(self, message: cloudevents.Message) -> cloudevents.Message:
        """The one event that was sent because of another."""

        async def sent() -> list[cloudevents.Message]:
            sent = self.sink.messages
            return [m for m in sent if m.extensions.get("causationid") == message.id]

        (answer,) = await eventually(sent)
        return answer

    async def close(self) -> None:
        for resources in self._resources:
            await resources.close()


class _Outside(httpx.AsyncBaseTransport):
    """Gives an answer once its events have left, so that a test may look at them.

    No function waits for that, nor do calls between them.
    """

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._cluster.handle_async_request(request)
        if self._cluster.waits:
            await self._cluster.relayed()
        return response


def message_of(
    event: Event, *, id: str | None = None, source: str = "/tests"
) -> cloudevents.Message:
    """An event on the wire, as another function would have sent it."""
    document = event.model_dump(mode="json")
    marked = type(event).attributes()
    own = {name: document.pop(field) for field, name in marked.items()}
    carried = {name: str(value) for name, value in own.items() if value}
    time = carried.pop("time", None)
    return cloudevents.Message(
        id=id or str(uuid4()),
        source=source,
        type=event.type,
        data=json.dumps(document).encode(),
        subject=event.subject(),
        time=time.replace("+00:00", "Z") if time else None,
        datacontenttype="application/json",
        extensions=carried,
    )


def reply_of(response: httpx.Response) -> cloudevents.Message:
    """The event that a function replied with."""
    assert response.status_code == 200, response.text
    return cloudevents.decode(response.headers.raw, response.content)
