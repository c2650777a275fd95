"""An agent reaches its model by a sidecar that has the key; it never has it itself."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from functions.agent_pod.metering import Meter
from functions.agent_pod.model import MAX_BODY_BYTES, model_app
from knative.demo.sample_agent import why_not_claude
from knative.local.instance import free_port
from tests.support import eventually
from tests.support.listening import listening

ROOT = Path(__file__).resolve().parents[3]
KEY = "sk-ant-of-ours"
AGENT_KEY = "the-sidecar-has-it"


MESSAGE = {
    "id": "msg_1",
    "content": [{"type": "text", "text": '{"usage": {"output_tokens": 900}}'}],
    "usage": {
        "input_tokens": 10,
        "cache_creation_input_tokens": None,
        "cache_read_input_tokens": 200,
        "output_tokens": 30,
        "service_tier": "standard",
    },
}
EVENTS: list[dict[str, Any]] = [
    {
        "type": "message_start",
        "message": {"id": "msg_2", "usage": {"input_tokens": 25, "output_tokens": 1}},
    },
    {"type": "ping"},
    {
        "type": "content_block_delta",
        "index": 0,
        "delta": {"type": "text_delta", "text": 'data: {"usage": {"output_tokens": 900}}\n'},
        "usage": {"output_tokens": 900},
    },
    {
        "type": "message_delta",
        "delta": {"stop_reason": "end_turn"},
        "usage": {"input_tokens": 25, "output_tokens": 15},
    },
    {"type": "message_stop"},
]
STREAM = "".join(f"event: {one['type']}\ndata: {json.dumps(one)}\n\n" for one in EVENTS).encode()


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
                for start in range(0, len(STREAM), 50):
                    yield STREAM[start : start + 50]
                if b"halts" in self.asked[-1][2]:
                    await asyncio.Event().wait()

            return StreamingResponse(parts(), media_type="text/event-stream")
        if b"busy" in self.asked[-1][2]:
            busy = {"retry-after": "7", "anthropic-ratelimit-requests-remaining": "0"}
            busy["anthropic-organization-id"] = "0b7f"
            return JSONResponse({"type": "error"}, 429, headers={**busy, "set-cookie": "a=b"})
        if b"count" in self.asked[-1][2]:
            return JSONResponse({"input_tokens": 2095})
        return JSONResponse(MESSAGE)


@pytest.fixture
def model() -> Model:
    return Model()


@asynccontextmanager
async def sidecar(
    upstream: str, *, key: str = KEY, file: Path | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an agent's sidecar, with the key that the agent has for it."""
    with TemporaryDirectory() as folder:
        meter = Meter(file or Path(folder) / "model-usage.json")
        client = httpx.AsyncClient(base_url=upstream)
        app = model_app(client, key, AGENT_KEY, meter)
        async with client, listening(app) as url, httpx.AsyncClient(base_url=url) as agent:
            agent.headers["x-api-key"] = AGENT_KEY
            yield agent


async def ask(
    model: Model, at: str, body: str, *, key: str = KEY, **headers: str
) -> httpx.Response:
    async with listening(model.app) as upstream:
        return await through(upstream, at, body, key=key, **headers)


async def through(
    upstream: str, at: str, body: str, *, key: str = KEY, **headers: str
) -> httpx.Response:
    async with sidecar(upstream, key=key) as agent:
        return await agent.post(at, content=body, headers=headers)


async def test_the_key_is_added_where_the_agent_has_none(model: Model) -> None:
    headers = {
        "authorization": "Bearer mine",
        "anthropic-version": "2023-06-01",
        "content-type": "application/json",
        "cookie": "a=b",
    }
    answer = await ask(model, "/v1/messages?beta=true", '{"a": 1}', **headers)
    assert (answer.status_code, answer.json()) == (200, MESSAGE)
    [(at, sent, body)] = model.asked
    assert (at, body) == ("/v1/messages?beta=true", b'{"a": 1}')
    assert (sent["x-api-key"], sent["anthropic-version"]) == (KEY, "2023-06-01")
    assert not {"authorization", "cookie"} & set(sent)
    assert KEY not in str(answer.headers) + answer.text


async def test_what_is_streamed_and_what_is_refused_arrives_as_it_is(model: Model) -> None:
    streamed = await ask(model, "/v1/messages", "stream")
    assert streamed.content == b"event: a\n\nevent: b\n\n" + STREAM
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


async def test_what_answers_report_is_counted(model: Model, tmp_path: Path) -> None:
    """Of a stream the last count of each kind, once; a container that starts again goes on."""
    file = tmp_path / "model-usage.json"
    answers = [
        ("/v1/messages", "{}", (210, 30)),
        ("/v1/messages", "stream", (235, 45)),
        ("/v1/messages", "busy", (235, 45)),
        ("/v1/messages/count_tokens", "count", (235, 45)),
        ("/v1/messages", "{}", (445, 75)),
    ]
    async with listening(model.app) as upstream:
        for at, body, expected in answers:
            async with sidecar(upstream, file=file) as agent:
                await agent.post(at, content=body, headers={"accept-encoding": "gzip"})
            counted = json.loads(file.read_text())
            assert (counted["input_tokens"], counted["output_tokens"]) == expected, body
    assert {headers["accept-encoding"] for _, headers, _ in model.asked} == {"identity"}


async def test_a_stream_is_counted_while_it_passes(model: Model, tmp_path: Path) -> None:
    """Also of an agent that does not wait for its end."""
    file = tmp_path / "model-usage.json"
    async with listening(model.app) as upstream, sidecar(upstream, file=file) as agent:
        async with agent.stream("POST", "/v1/messages", content="stream, halts") as answer:
            got = b""
            async for part in answer.aiter_raw():
                got += part
                if got.endswith(STREAM):
                    break
        assert json.loads(file.read_text()) == {"input_tokens": 25, "output_tokens": 15}


async def test_the_sidecar_of_a_pod_serves_until_it_is_stopped(
    model: Model, tmp_path: Path
) -> None:
    port = free_port()
    async with listening(model.app) as upstream:
        environ = {
            "PATH": os.environ["PATH"],
            "MODEL_URL": upstream,
            "MODEL_PORT": str(port),
            "MODEL_KEY": KEY,
            "MODEL_AGENT_KEY": AGENT_KEY,
            "MODEL_USAGE_FILE": str(tmp_path / "model-usage.json"),
        }
        command = [sys.executable, "-m", "functions.agent_pod", "model"]
        process = await asyncio.create_subprocess_exec(*command, env=environ, cwd=ROOT)
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as agent:

            async def answers() -> bool:
                try:
                    answer = await agent.post(
                        "/v1/messages", content="{}", headers={"x-api-key": AGENT_KEY}
                    )
                except httpx.ConnectError:
                    return False
                return bool(answer.json() == MESSAGE)

            await eventually(answers)
        process.terminate()
        await asyncio.wait_for(process.wait(), 20)
    assert (tmp_path / "model-usage.json").exists()
    assert model.asked[0][1]["x-api-key"] == KEY


async def test_the_sample_works_where_the_sidecar_has_no_key(model: Model, tmp_path: Path) -> None:
    (tmp_path / "claude").touch(0o755)
    environ = {"PATH": str(tmp_path), "ANTHROPIC_API_KEY": AGENT_KEY}
    async with listening(model.app) as upstream, sidecar(upstream, key="") as agent:
        at = {"ANTHROPIC_BASE_URL": str(agent.base_url).rstrip("/")}
        reason = await asyncio.to_thread(why_not_claude, environ | at)
    assert reason == "the model's sidecar has no key"
    assert why_not_claude(environ) == ""
