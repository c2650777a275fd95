"""The process entry point: `FUNCTION_TARGET=sprint_report python -m functions.kit.process.serve`.

It serves a target of functions-framework, and does not load the framework: that brings Flask, and
its server ends a request 30 s after SIGTERM whatever `timeoutSeconds` is; here draining lasts as
long as a request may.
"""

from __future__ import annotations

import asyncio
import gc
import hmac
import importlib.util
import logging
import sys
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response

from functions.kit import cloudevents
from functions.kit.context import process_context
from functions.kit.contract import callers
from functions.kit.contract.cross_origin import host_of, is_cross_origin
from functions.kit.contract.handle import Gauges
from functions.kit.contract.problem import refusal
from functions.kit.durable.migrate import owner_of
from functions.kit.durable.retention import keep_small
from functions.kit.errors import FunctionError
from functions.kit.process import metrics_page
from functions.kit.process.bounded_head import BoundedHead
from functions.kit.process.health import problems
from functions.kit.settings import BadSetting, DatabaseSettings, ProcessSettings
from functions.kit.telemetry import log, trace
from functions.kit.telemetry.trace import TraceSettings

logger = logging.getLogger(__name__)

# A request by way of Knative's queue-proxy, as from the internet, has the first of these; one to
# the pod's own port has none.
_FORWARDED = frozenset((b"x-forwarded-for", b"forwarded", b"k-proxy-request"))

FUNCTIONS = Path(__file__).resolve().parents[2]


# Objects made until the collector looks for cycles. The default of 700 is a few requests: that took
# a fifteenth of the processor time of a saga's step.
_COLLECT_AFTER = 10_000


def settle_memory() -> None:
    """Spare the collector what is loaded by now, which stays, and looks that find nothing."""
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER)


def source_of(target: str) -> Path:
    """The main.py of a target; `LookupError` names the targets that exist."""
    found = {p.parent.name: p for d in (FUNCTIONS, FUNCTIONS / "dsm") for p in d.glob("*/main.py")}
    if target not in found:
        raise LookupError(
            f"setting FUNCTION_TARGET: {target!r} is none of {', '.join(sorted(found))}"
        )
    return found[target]


def load(target: str, source: Path) -> Any:
    """The target in a source, which becomes a module under its file's name, as functions-framework
    has it; `LookupError` where it is not there."""
    found = importlib.util.spec_from_file_location(source.stem, source)
    if found is None or found.loader is None:
        raise LookupError(f"setting FUNCTION_SOURCE: {source} is no Python file")
    module = importlib.util.module_from_spec(found)
    sys.modules[source.stem] = module
    found.loader.exec_module(module)
    if not hasattr(module, target):
        raise LookupError(f"setting FUNCTION_TARGET: {source} has no function {target!r}")
    return getattr(module, target)


class Application:
    """A target with health and `GET /metrics` in front and clean-up behind.

    `/health/live` depends on no other: a restart does not bring back a database, it only ends
    the work in progress. `/health` reports whether the process can work.
    """

    def __init__(
        self, target: str, source: Path, allowed_hosts: str = "", gateway_token: str = ""
    ) -> None:
        self._function = load(target, source)
        self._target = target
        self._allowed_hosts = frozenset(filter(None, allowed_hosts.lower().split(",")))
        self._gateway_token = gateway_token.encode()
        self._folder = source.parent
        self._spec = getattr(self._function, "spec", None)
        declared = self._spec or getattr(self._function, "api", None)

        # An API with tables has an inbox for its Idempotency-Keys.
        self._needs_database = getattr(declared, "needs_database", True)
        tables = (self._folder / "migrations").is_dir() and self._needs_database
        self._inbox = self._spec.inbox or self._spec.recorded if self._spec else tables
        owns = owner_of(self._folder) is not None and self._needs_database
        has_tables = self._inbox or owns
        readers: list[Gauges] = [metrics_page.database, metrics_page.outbox] if has_tables else []
        if self._spec and has_tables:
            readers.append(metrics_page.runs)
        if declared and declared.gauges:
            readers.append(declared.gauges)
        self._tables = metrics_page.Tables(readers)
        self._start = declared.start if declared else None
        self._retention = declared.retention if declared else None
        self._checks_origin = getattr(declared, "checks_origin", False)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if not self._is_addressed(scope):
            await refusal(421, "this function has no such host name")(scope, receive, send)
        elif not self._is_from_gateway(scope):
            await refusal(403, "ask the local Knative's gateway")(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == "/health":
            await (await self._health())(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == "/health/live":
            await JSONResponse({"status": "ok"})(scope, receive, send)
        elif scope["type"] == "http" and scope["path"] == "/metrics":
            await (await self._metrics(scope["headers"]))(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif not self._checks_origin and is_cross_origin(scope):
            await refusal(403, "a page of another site may not do this")(scope, receive, send)
        else:
            meter = process_context(self._target).resources.meter
            await meter.measured(self._call, scope, receive, send)

    async def _call(self, scope: Any, receive: Any, send: Any) -> None:
        answer = await self._function(HttpRequest(scope, receive, send))
        await answer(scope, receive, send)

    def _is_addressed(self, scope: Any) -> bool:
        """Is the host name one of ours? A page that resolves its own name to us has another."""
        known = self._allowed_hosts
        return not known or scope["type"] != "http" or host_of(scope) in known

    def _is_from_gateway(self, scope: Any) -> bool:
        """Does the request come as it should, where other accounts reach this port as well?"""
        if not self._gateway_token or scope["type"] != "http":
            return True
        shown = dict(scope["headers"]).get(b"x-gateway-token", b"")
        return hmac.compare_digest(shown, self._gateway_token)

    async def _metrics(self, headers: cloudevents.Headers) -> Response:
        """The numbers of all functions, for who reads the pod itself and not over a route."""
        if any(name in _FORWARDED for name, _ in headers):
            return refusal(404, "not found")
        text = await metrics_page.page(process_context(self._target), self._tables)
        return Response(text, media_type=metrics_page.CONTENT_TYPE)

    async def _health(self) -> JSONResponse:
        ctx = process_context(self._target)
        found = []
        if self._needs_database:
            found = await problems(ctx, self._folder, inbox=self._inbox)
        if found:
            return JSONResponse({"status": "unavailable", "detail": "; ".join(found)}, 503)
        more = self._spec.health(ctx) if self._spec and self._spec.health else {}
        return JSONResponse({"status": "ok", **more})

    async def _lifespan(self, receive: Any, send: Any) -> None:
        await receive()
        ctx = process_context(self._target)
        try:
            callers.prepare(ctx)
            if self._start:
                await self._start(ctx)
        except (BadSetting, FunctionError) as error:
            print(f"cannot start: {error}", file=sys.stderr)
            await send({"type": "lifespan.startup.failed"})
            return
        settle_memory()
        await send({"type": "lifespan.startup.complete"})
        tidying: asyncio.Task[None] | None = None
        # Retention goes by the database's clock: beside a virtual one it would delete new rows.
        has_real_time = not ctx.resources.process.clock_file
        has_store = self._needs_database or bool(ctx.settings(DatabaseSettings).url)
        if (self._inbox or self._retention) and has_real_time and has_store:
            rules = self._retention(ctx) if self._retention else ()
            tidying = asyncio.create_task(keep_small(ctx.store, ctx.function, rules))
        if self._inbox and ctx.resources.process.k_sink:
            ctx.resources.durable.relay.start()  # what a dead process left is anybody's
        await receive()
        if tidying:
            tidying.cancel()
        await ctx.resources.close()
        await send({"type": "lifespan.shutdown.complete"})


def main() -> int:
    """Serve until SIGTERM; 1 and one line on standard error where the function cannot start."""
    try:
        settings = ProcessSettings.read()
        log.configure(settings.log_level)
        source = Path(settings.function_source) if settings.function_source else None
        target = settings.function_target
        trace.start(TraceSettings.read(), settings)
        found = source or source_of(target)
        app = trace.served(
            Application(target, found, settings.allowed_hosts, settings.gateway_token)
        )
    except (BadSetting, LookupError, FunctionError) as error:
        print(f"cannot start: {error}", file=sys.stderr)
        return 1
    except Exception as error:
        logger.debug("cannot import the function", exc_info=error)
        print(
            f"cannot start: {settings.function_target} does not import: "
            f"{type(error).__name__}: {error}",
            file=sys.stderr,
        )
        return 1
    config = uvicorn.Config(
        app,
        http=partial(BoundedHead, head_timeout_s=settings.head_timeout_s),  # type: ignore[arg-type]
        host=settings.server_host,
        port=settings.port,
        log_config=None,
        access_log=False,
        server_header=False,
        lifespan="on",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(settings.timeout_seconds),
    )
    uvicorn.Server(config).run()  # exits with 3 where `start` fails
    return 0


if __name__ == "__main__":
    sys.exit(main())
