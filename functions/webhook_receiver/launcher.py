"""Asking job-launcher, for a PM agent or a person, what it knows of tasks and Jobs."""

from __future__ import annotations

from urllib.parse import urlencode

import httpx
from starlette.responses import JSONResponse, Response

from functions.kit.errors import TemporaryError
from functions.kit.services import ServiceClient
from functions.webhook_receiver.decide import Question

NAME = "job-launcher"
# What a reader of a log needs to ask for what comes after.
_HANDED_ON = ("content-type", "x-job-state", "x-job-reason", "x-log-next", "x-log-more", "x-log")


async def ask(http: httpx.AsyncClient, url: str, question: Question) -> Response:
    """Its answer as ours; of a log the page as it is."""
    at = question.path + (f"?{urlencode(question.query)}" if question.query else "")
    if not question.is_log:
        return JSONResponse(await ServiceClient(NAME, url, http).get(at, object))
    try:
        answer = await http.get(f"{url.rstrip('/')}{at}", timeout=30.0)
    except httpx.HTTPError as error:
        raise TemporaryError(f"{NAME}: {type(error).__name__}") from error
    headers = {name: answer.headers[name] for name in _HANDED_ON if name in answer.headers}
    return Response(answer.content, answer.status_code, headers)
