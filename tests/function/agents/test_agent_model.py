"""An agent reaches its model by a sidecar that has the key; it never has it itself."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from functions.agent_pod.model import MAX_BODY_BYTES, model_app
from knative.demo.sample_agent import why_not_claude
from knative.local.instance import free_port
from tests.support import eventually
from tests.support.listening import listening

ROOT = Path(__file__).resolve().parents[3]
KEY = "sk-ant-of-ours"
AGENT_KEY = "the-sidecar-has-it"


class Model:
    """The API of a model: what it was asked, and with which headers."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str], bytes]] = []
        self.app = Starlette(routes=[Route("/{at:path}", self.answer, methods=["GET", "POST"])])

    async def answer(self, request: Request) -> Response:
        at = f"{request.url.path}?{request.url.query}".rstrip("?")
        self.asked.append((at, dict(request.headers), await request.body()))
        if b"stream" in self.asked[-1][2]:

            async def parts() -> AsyncIterator[bytes]:
                yield b"event: a\n\n"
                yield b"event: b\n\n"

            return StreamingResponse(parts(), media_type="text/event-stream")
        if b"busy" in self.asked[-1][2]:
            busy = {"retry-after": "7", "anthropic-ratelimit-requests-remaining": "0"}
            busy["anthropic-organization-id"] = "0b7f"
            return JSONResponse({"type": "error"}, 429, headers={**busy, "set-cookie": "a=b"})
        return JSONResponse({"id": "msg_1"})


@pytest.fixture
def model() -> Model:
    return Model()


async def ask(
    model: Model, at: str, body: str, *, key: str = KEY, **headers: str
) -> httpx.Response:
    async with listening(model.app) as upstream:
        return await through(upstream, at, body, key=key, **headers)


async def through(
    upstream: str, at: str, body: str, *, key: str = KEY, **headers: str
) -> httpx.Response:
    async with httpx.AsyncClient(base_url=upstream) as client:
        app = model_app(client, key, AGENT_KEY)
        async with listening(app) as url, httpx.AsyncClient(base_url=url) as agent:
            shown = {"x-api-key": AGENT_KEY} | headers
            return await agent.post(at, content=body, headers=shown)


async def test_the_key_is_added_where_the_agent_has_none(model: Model) -> None:
    headers = {
        "authorization": "Bearer mine",
        "anthropic-version": "2023-06-01",
        "content-type": "application/json",
        "cookie": "a=b",
    }
    answer = await ask(model, "/v1/messages?beta=true", '{"a": 1}', **headers)
    assert (answer.status_code, answer.json()) == (200, {"id": "msg_1"})
    [(at, sent, body)] = model.asked
    assert (at, body) == ("/v1/messages?beta=true", b'{"a": 1}')
    assert (sent["x-api-key"], sent["anthropic-version"]) == (KEY, "2023-06-01")
    assert not {"authorization", "cookie"} & set(sent)
    assert KEY not in str(answer.headers) + answer.text


async def test_what_is_streamed_and_what_is_refused_arrives_as_it_is(model: Model) -> None:
    streamed = await ask(model, "/v1/messages", "stream")
    assert streamed.text == "event: a\n\nevent: b\n\n"
    assert streamed.headers["content-type"].startswith("text/event-stream")
    busy = await ask(model, "/v1/messages", "busy")
    assert (busy.status_code, busy.headers["retry-after"]) == (429, "7")
    assert busy.headers["anthropic-ratelimit-requests-remaining"] == "0"
    assert not {"set-cookie", "anthropic-organization-id"} & set(busy.headers)


@pytest.mark.parametrize(
    "at", ["/v1/files", "/v1/organizations/users", "/v1/messages/batches", "/v1/models/../files"]
)
async def test_nothing_but_a_conversation_is_passed_on(model: Model, at: str) -> None:
    answer = await ask(model, at, "{}")
    assert answer.status_code == 403
    assert answer.json()["error"]["type"] == "permission_error"
    assert model.asked == []


@pytest.mark.parametrize(
    "shown", [{"x-api-key": ""}, {"host": "evil.example"}, {"x-api-key": KEY}], ids=str
)
async def test_a_page_of_this_machine_gets_nothing(model: Model, shown: dict[str, str]) -> None:
    async with listening(model.app) as upstream:
        answer = await through(upstream, "/v1/messages", "{}", **shown)
    assert (answer.status_code, model.asked) == (403, [])


async def test_a_body_is_no_larger_than_the_api_takes(model: Model) -> None:
    answer = await ask(model, "/v1/messages", "x" * (MAX_BODY_BYTES + 1))
    assert (answer.status_code, model.asked) == (413, [])


async def test_without_a_key_or_a_model_the_answer_says_so(model: Model) -> None:
    answer = await ask(model, "/v1/messages", "{}", key="")
    assert (answer.status_code, model.asked) == (401, [])
    assert "has no key" in answer.json()["error"]["message"]
    away = await through("http://127.0.0.1:9", "/v1/messages", "{}")
    assert (away.status_code, KEY in away.text) == (502, False)


async def test_the_sidecar_of_a_pod_serves_until_it_is_stopped(model: Model) -> None:
    port = free_port()
    async with listening(model.app) as upstream:
        environ = {
            "PATH": os.environ["PATH"],
            "MODEL_URL": upstream,
            "MODEL_PORT": str(port),
            "MODEL_KEY": KEY,
            "MODEL_AGENT_KEY": AGENT_KEY,
        }
        command = [sys.executable, "-m", "functions.agent_pod", "model"]
        sidecar = await asyncio.create_subprocess_exec(*command, env=environ, cwd=ROOT)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as agent:

            async def answers() -> bool:
                try:
                    answer = await agent.post(
                        "/v1/messages", content="{}", headers={"x-api-key": AGENT_KEY}
                    )
                except httpx.ConnectError:
                    return False
                return bool(answer.json() == {"id": "msg_1"})

            await eventually(answers)
        sidecar.terminate()
        await asyncio.wait_for(sidecar.wait(), 20)
    assert model.asked[0][1]["x-api-key"] == KEY


async def test_the_sample_works_where_the_sidecar_has_no_key(model: Model, tmp_path: Path) -> None:
    (tmp_path / "claude").touch(0o755)
    environ = {"PATH": str(tmp_path), "ANTHROPIC_API_KEY": AGENT_KEY}
    async with httpx.AsyncClient() as client, listening(model_app(client, "", AGENT_KEY)) as url:
        reason = await asyncio.to_thread(why_not_claude, environ | {"ANTHROPIC_BASE_URL": url})
    assert reason == "the model's sidecar has no key"
    assert why_not_claude(environ) == ""
