"""Run sagas: register orchestrations and workers, command steps, compensate failed runs.

in      RegistrationRequested, ExecutionRequested, StepAnswered, ScheduleDue(schedule="saga-sweep");
        the same as Kafka records in YAML or JSON; and the REST API
out     StepCommanded, RegistrationDecided, RunEnded
fails   503 while the database is unavailable: nothing was accepted, a retry is safe
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fastapi_offline
from fastapi import FastAPI, Request
from fastapi.openapi.docs import get_swagger_ui_html
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from functions.events.saga import (
    ExecutionRequested,
    RegistrationDecided,
    RegistrationRequested,
    RunEnded,
    StepAnswered,
    StepCommanded,
)
from functions.events.schedule import ScheduleDue
from functions.kit import cloudevents
from functions.kit.clients.off_loop import off_loop
from functions.kit.context import Context
from functions.kit.contract import Ctx, api, new_app, run_tick
from functions.kit.contract.callers import CallerSettings
from functions.kit.contract.problem import ProblemDetails
from functions.kit.contract.runs import runs
from functions.orchestrator.api import command_routes, problems, query_routes
from functions.orchestrator.engine.deduplication import Claim
from functions.orchestrator.gauges import gauges
from functions.orchestrator.intake import (
    INPUTS,
    KAFKA,
    SCHEDULES,
    Registration,
    answer_of,
    event_in,
    start_of,
)
from functions.orchestrator.orchestrator import Orchestrator
from functions.orchestrator.retention import retention

EMITS = (StepCommanded, RegistrationDecided, RunEnded)


async def consume(message: cloudevents.Message, ctx: Context) -> None:
    """Handle an event; return after its commit."""
    saga = ctx.part(Orchestrator)
    proven = bool(ctx.settings(CallerSettings).oidc_audience)
    event = await off_loop(len(message.data), event_in, message, proven=proven)
    claim = Claim(message.source, message.id, message.type)
    match event:
        case StepAnswered():
            named = saga.require_worker_names or message.type != KAFKA
            flow_id, answered = answer_of(event, named=named)
            await saga.apply(flow_id, answered, claim)
        case ExecutionRequested():
            await saga.start(start_of(event, message.source), claim)
        case Registration():
            cause = f"{message.source}#{message.id}"
            await saga.register(event.document, event.service, cause, claim)
        case ScheduleDue():
            await run_tick(message, event, ctx, saga.timer_loop.sweep)


async def list_runs(request: Request, ctx: Ctx) -> Response:
    """`GET /runs`: the sweeps, as every function lists its runs."""
    return await runs(request, ctx)


def build() -> FastAPI:
    """Return the application: the REST API, `POST /` for events, the OpenAPI document."""
    app = new_app(
        "Orchestrator",
        answer=problems.answer,
        version="1.0.0",
        summary="Durable sagas over CloudEvents",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.include_router(command_routes.router)
    app.include_router(query_routes.router)
    app.add_api_route("/runs", list_runs, methods=["GET"], include_in_schema=False)
    static = Path(fastapi_offline.__file__).parent / "static"
    app.mount("/swagger-ui", StaticFiles(directory=static))

    @app.get("/swagger-ui.html", include_in_schema=False)
    async def swagger_ui() -> HTMLResponse:
        return get_swagger_ui_html(
            openapi_url="/openapi.json",
            title="Orchestrator",
            swagger_js_url="/swagger-ui/swagger-ui-bundle.js",
            swagger_css_url="/swagger-ui/swagger-ui.css",
            swagger_favicon_url="/swagger-ui/favicon.png",
        )

    describe = app.openapi

    def openapi() -> dict[str, Any]:
        """Return the document with bodies and errors that FastAPI does not know."""
        if app.openapi_schema is None:
            document = describe()
            schemas = document["components"]["schemas"]
            for kind in (ProblemDetails, RegistrationRequested):
                schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
                schemas.update(schema.pop("$defs", {}))
                schemas[kind.__name__] = schema
            for unused in ("HTTPValidationError", "ValidationError"):
                schemas.pop(unused, None)
            for path in document["paths"].values():
                for operation in path.values():
                    if "application/json" in operation["responses"].get("422", {}).get(
                        "content", ()
                    ):
                        del operation["responses"]["422"]  # FastAPI's own, which is never sent
        return app.openapi_schema or document

    app.openapi = openapi  # type: ignore[method-assign]  # the way that FastAPI documents
    return app


orchestrator = api(
    "orchestrator",
    build,
    gauges,
    inputs=INPUTS,
    emits=EMITS,
    schedules=SCHEDULES,
    public=["/api/", "/swagger-ui", "/openapi.json"],
    consume=consume,
    retention=retention,
)
