"""@function: a typed message comes in, a decision is made, messages go out.

The decorator keeps the contract of every function: decode, claim, call, settle (a function without
a database replies or publishes), map errors to the status that a broker understands. This is the
only place that knows functions-framework, whose own CloudEvents decorator answers `200 OK` as text,
which a broker reads as a broken reply: it would retry and dead-letter every event that was handled.
"""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import BaseRoute

from functions.events.base import AnyEvent, Event
from functions.events.schedule import ScheduleDue
from functions.kit import cloudevents
from functions.kit.clients.off_loop import off_loop
from functions.kit.context import Context, process_context
from functions.kit.contract import callers, envelope
from functions.kit.contract.ad_hoc import answer_ad_hoc
from functions.kit.contract.body import read
from functions.kit.contract.cross_origin import is_hidden
from functions.kit.contract.framework import Target, known_to_framework
from functions.kit.contract.handle import (
    WORK,
    Gauges,
    Handler,
    Health,
    Ignores,
    Render,
    Rules,
    Spec,
    Start,
    handle,
)
from functions.kit.contract.problem import failure, refusal
from functions.kit.contract.routes import route as route  # functions know one module
from functions.kit.contract.runs import runs
from functions.kit.errors import PermanentError


def function(
    *,
    emits: Sequence[type[Event]] = (),
    schedules: Sequence[str] = (),
    inbox: bool | Literal["transaction"] = False,
    recorded: bool = False,
    renders: Mapping[str, Render] | None = None,
    routes: Sequence[BaseRoute] = (),
    start: Start | None = None,
    health: Health | None = None,
    gauges: Gauges | None = None,
    ad_hoc: bool = True,
    public: Sequence[str] = (),
    proven: Sequence[str] = (),
    ignores: Ignores | None = None,
    retention: Rules | None = None,
    ordered: bool = True,
) -> Callable[[Handler], Target]:
    """Make a deployable of `async def name(event: A | B, ctx) -> Event | list[Event] | None`.

    `schedules`: whose ticks a taker of ScheduleDue takes; `*` at the end stands for anything.
    `inbox`: the function writes; its answer to an event is recorded and given again. Its events
    are committed with the answer and leave afterwards. It writes with `ctx.settle`; "transaction"
    is for functions whose whole effect is in their own tables: they work inside `ctx.tx`, which
    claims and settles, and call no service meanwhile. Where events depend on the writes, the
    handler calls the services and returns a function of the transaction, which writes and returns
    the events.
    `recorded`: it has no inbox and tables of its own, but its runs are on record all the same.
    `renders`: media type -> how the result of an ad-hoc request may be rendered.
    `routes`: further HTTP routes, made with `route`.
    `start`: called when a process begins to serve. `health`: what `GET /health` reports besides.
    `gauges`: what `GET /metrics` reports besides.
    `public`: what the paths begin with that a request from outside the cluster reaches, where there
    are such; the rest, events and ticks too, is for the cluster.
    `proven`: what the paths begin with whose callers prove themselves by a signature or the like;
    others show a token, where OIDC_AUDIENCE is set.
    `ignores`: does an event not concern the function? Then it is accepted without a claim or a
    record; it may get all events of a sender.
    `ad_hoc`: plain JSON at `POST /` is read as the data of the request event. A function that
    is public takes CloudEvents only.
    `retention`: what is deleted from its tables, and when; its inbox and runs are anyway.
    `ordered`: its events of one partition key leave in the order of their commits; False, with
    "transaction" only, where whoever consumes them knows by itself which is late.
    """

    def decorate(handler: Handler) -> Target:
        inputs = _inputs(handler)
        if (ScheduleDue in inputs) != bool(schedules):
            raise TypeError(f"{handler.__name__}: `schedules` and ScheduleDue go together")
        if schedules and not (inbox or recorded):
            raise TypeError(f"{handler.__name__}: what a schedule starts is recorded: inbox=True")
        if not ordered and inbox != "transaction":
            raise TypeError(f'{handler.__name__}: `ordered=False` needs inbox="transaction"')
        spec = Spec(
            handler.__name__,
            handler,
            inputs,
            tuple(emits),
            tuple(schedules),
            bool(inbox),
            inbox == "transaction",
            recorded,
            dict(renders or {}),
            (*routes, *((route("/runs", runs),) if inbox or recorded else ())),
            start,
            health,
            gauges,
            ad_hoc,
            tuple(public),
            tuple(proven),
            ignores,
            retention,
            ordered,
        )

        @functools.wraps(handler)
        async def target(request: HttpRequest) -> Response:
            return await respond(spec, request, process_context(spec.name))

        # Not `wraps`' annotations: those are the event's, and the framework reads them.
        target.__annotations__ = {"request": HttpRequest, "return": Response}
        target.__dict__["spec"] = spec
        return known_to_framework(target)

    return decorate


def spec_of(target: object) -> Spec:
    """What a target declared."""
    spec = getattr(target, "spec", None)
    if not isinstance(spec, Spec):
        raise TypeError(f"{target!r} was not made with @function")
    return spec


async def respond(spec: Spec, request: HttpRequest, ctx: Context) -> Response:
    """Answer one HTTP request by the contract."""
    if is_hidden(request.scope, spec.public, ctx.resources.process.cluster_domain):
        return refusal(404, f"no such path: {request.scope['path']}")
    if (answer := await callers.refused(request.scope, ctx, spec.proven)) is not None:
        return answer
    if request.method != "POST" or request.scope["path"] != "/":
        request.scope["context"] = ctx
        # What a target returns is called as ASGI: a router will do.
        return typing.cast(Response, spec.router)
    try:
        process = ctx.resources.process
        timeout_s = process.timeout_seconds * WORK
        body = await read(request, process.max_event_bytes, timeout_s, setting="MAX_EVENT_BYTES")
    except PermanentError as error:
        return failure(error, api=True)
    headers = request.scope["headers"]
    if cloudevents.is_event(headers):
        return await _from_broker(spec, ctx, headers, body)
    return await answer_ad_hoc(spec, ctx, request, body)


async def _from_broker(
    spec: Spec, ctx: Context, headers: cloudevents.Headers, body: bytes
) -> Response:
    try:
        message, event = await off_loop(len(body), _opened, spec, headers, body)
        envelope.check_time(event, ctx.now())
        if spec.ignores is not None and await spec.ignores(event, ctx):
            return Response(status_code=202)
        sent = await handle(spec, ctx, message, event)
        if spec.inbox or not sent:
            return Response(status_code=202)
        if len(sent) == 1:
            reply_headers, reply_body = cloudevents.encode(sent[0])
            return Response(reply_body, 200, dict(reply_headers))
        await ctx.publisher.publish(sent)
        return Response(status_code=202)
    except Exception as error:
        return failure(error)


def _opened(
    spec: Spec, headers: cloudevents.Headers, body: bytes
) -> tuple[cloudevents.Message, Event]:
    read_event = cloudevents.received if AnyEvent in spec.inputs else cloudevents.decode
    message = read_event(headers, body)
    return message, envelope.open_(message, spec.inputs, spec.schedules)


def _inputs(handler: Handler) -> tuple[type[Event], ...]:
    hint = typing.get_type_hints(handler).get("event")
    kinds = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    if not all(isinstance(kind, type) and issubclass(kind, Event) for kind in kinds):
        raise TypeError(f"{handler.__name__}: annotate `event` with its event classes")
    return kinds
