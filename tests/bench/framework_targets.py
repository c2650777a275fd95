"""The framework's own functions, which ours are measured against."""

from __future__ import annotations

import cloudevents.http
import functions_framework.aio
from starlette.requests import Request as HttpRequest
from starlette.responses import Response


@functions_framework.aio.cloud_event
async def framework_event(event: cloudevents.http.CloudEvent) -> None:
    return None


@functions_framework.aio.http
async def framework_http(request: HttpRequest) -> Response:
    await request.body()
    return Response()
