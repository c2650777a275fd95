"""Pass an agent's requests on to its model's API, with the key, which the agent does not have.

What reads untrusted text runs in another container: it reaches the model, for as long as the pod is
there, and no key that it could tell. What its model reports as used is counted (`metering`).
"""

from __future__ import annotations

import os
import re
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from functions.agent_pod.environment import Failure
from functions.agent_pod.metering import AnswerMeter, Meter

# What a conversation needs: no files, no batches, nothing of an organisation.
_PATHS = re.compile(r"v1/(messages(/count_tokens)?|models(/[\w.-]+)?)")
_REQUEST = ("accept", "content-type", "user-agent")
_REQUEST_BEGINS = "anthropic-"
_ANSWER = ("content-type", "content-encoding", "retry-after", "request-id", "x-should-retry")
_ANSWER_BEGINS = "anthropic-ratelimit-"  # not the organisation's id
MAX_BODY_BYTES = 32 * 1024 * 1024  # as the API has it
CONNECT_S, SILENT_S = 30.0, 600.0


def model_app(client: httpx.AsyncClient, key: str, agent_key: str, meter: Meter) -> Starlette:
    """Return the server for an agent: the client is the API's, the key the route's, or empty.

    `agent_key` is what the agent shows as its key. A page in a browser of this machine cannot show
    it, nor does it ask for this host.
    """

    async def pass_on(request: Request) -> Response:
        at = request.path_params["at"]
        if request.url.hostname != "127.0.0.1" or request.headers.get("x-api-key") != agent_key:
            return _error(403, "permission_error", "this is the agent's own way to its model")
        if not _PATHS.fullmatch(at):
            return _error(403, "permission_error", f"an agent may not ask for {at[:100]}")
        if not key:
            return _error(401, "authentication_error", "the Secret of the route has no key")
        body = bytearray()
        async for part in request.stream():
            body += part
            if len(body) > MAX_BODY_BYTES:
                message = f"a request may have {MAX_BODY_BYTES} bytes"
                return _error(413, "request_too_large", message)
        # Uncompressed: what passes is read.
        ours = {"x-api-key": key, "accept-encoding": "identity"}
        headers = _kept(request.headers, _REQUEST, _REQUEST_BEGINS) | ours
        asked = client.build_request(
            request.method,
            f"/{at}",
            params=request.url.query or None,
            headers=headers,
            content=bytes(body),
        )
        try:
            answer = await client.send(asked, stream=True)
        except httpx.HTTPError as error:
            return _error(502, "api_error", f"the model cannot be reached: {type(error).__name__}")
        return StreamingResponse(
            _metered(answer, meter),
            answer.status_code,
            headers=_kept(answer.headers, _ANSWER, _ANSWER_BEGINS),
            background=BackgroundTask(answer.aclose),
        )

    return Starlette(routes=[Route("/{at:path}", pass_on, methods=["GET", "POST"])])


async def _metered(answer: httpx.Response, meter: Meter) -> AsyncIterator[bytes]:
    """Pass an answer on, part by part, and count what it reports."""
    counts = AnswerMeter(meter, answer.headers.get("content-type", ""))
    async for part in answer.aiter_raw():
        if answer.is_success:
            counts.take(part)
        yield part
    counts.end()


def serve(environ: Mapping[str, str] = os.environ) -> None:
    """Serve within the pod until its end; `Failure` names a variable that is missing."""
    try:
        names = ("URL", "PORT", "AGENT_KEY", "USAGE_FILE")
        url, port, agent_key, file = (environ[f"MODEL_{name}"] for name in names)
    except KeyError as error:
        raise Failure(f"the variable {error.args[0]} is missing") from None
    timeout = httpx.Timeout(SILENT_S, connect=CONNECT_S)
    client = httpx.AsyncClient(base_url=url, timeout=timeout)
    app = model_app(client, environ.get("MODEL_KEY", ""), agent_key, Meter(Path(file)))
    uvicorn.run(app, host="127.0.0.1", port=int(port), log_level="warning", access_log=False)


def _kept(headers: Mapping[str, str], names: tuple[str, ...], begins: str) -> dict[str, str]:
    return {
        name: value
        for name, value in headers.items()
        if name.lower() in names or name.lower().startswith(begins)
    }


def _error(status: int, kind: str, message: str) -> Response:
    """In the API's own form."""
    return JSONResponse({"type": "error", "error": {"type": kind, "message": message}}, status)
