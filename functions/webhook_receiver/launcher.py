"""Asking job-launcher, for a PM agent or a person, what it knows of tasks and Jobs."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
from starlette.responses import JSONResponse, Response, StreamingResponse

from functions.kit.errors import TemporaryError
from functions.kit.services import ServiceClient
from functions.webhook_receiver.decide import Question

NAME = "job-launcher"


async def ask(http: httpx.AsyncClient, url: str, question: Question) -> Response:
    """Its answer as ours; a log is handed on line by line, as long as it lasts."""
    if not question.stream:
        client = ServiceClient(NAME, url, http)
        return JSONResponse(await client.get(question.path, object, **question.query))
    request = http.build_request(
        "GET",
        f"{url.rstrip('/')}{question.path}",
        params=question.query,
        timeout=httpx.Timeout(10.0, read=None),
    )
    try:
        answer = await http.send(request, stream=True)
    except httpx.HTTPError as error:
        raise TemporaryError(f"{NAME}: {type(error).__name__}") from error
    media_type = answer.headers.get("content-type", "text/plain")
    return StreamingResponse(_lines(answer), answer.status_code, media_type=media_type)


async def _lines(answer: httpx.Response) -> AsyncIterator[bytes]:
    try:
        async for chunk in answer.aiter_bytes():
            yield chunk
    finally:
        await answer.aclose()
