"""The smoke test of a cluster says at once what would otherwise be a long silence."""

from __future__ import annotations

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from knative.smoke import Failure, Smoke, report


async def unheard(request: Request) -> Response:
    return JSONResponse({"events": [{"type": "io.dsm.sprint.completed.v1"}], "published": False})


async def test_a_function_without_a_sink_fails_at_once() -> None:
    smoke = Smoke("http://gateway", "dsm", timeout_s=60)
    app = Starlette(routes=[Route("/", unheard, methods=["POST"])])
    smoke.http = httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://gateway")
    with pytest.raises(Failure, match="sprint-report has no K_SINK"):
        await report(smoke)
    await smoke.http.aclose()
