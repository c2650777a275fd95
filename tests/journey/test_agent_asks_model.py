"""An agent's pod with a model: the key is with the sidecar, and what the model counts is known."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.journey.test_agent_retried import overlay
from tests.support import eventually
from tests.support.agent_story import story_of
from tests.support.listening import listening
from tests.support.warm_data import WarmData

pytestmark = [pytest.mark.slow]

KEY = "sk-ant-of-ours-0123456789"
ANSWER = "The basket keeps its last item already."
USAGE = {"input_tokens": 1200, "cache_read_input_tokens": 300, "output_tokens": 45}


class Model:
    """The API of a model: the keys that it was shown, and what it was asked."""

    def __init__(self) -> None:
        self.keys: list[str] = []
        self.asked: list[Any] = []
        self.app = Starlette(routes=[Route("/v1/messages", self.answer, methods=["POST"])])

    async def answer(self, request: Request) -> Response:
        self.keys.append(request.headers["x-api-key"])
        self.asked.append(await request.json())
        return JSONResponse({"content": [{"type": "text", "text": ANSWER}], "usage": USAGE})


def with_model(folder: Path) -> Path:
    """The laptop's, with a model and its key, and an agent that asks it."""
    path = "/spec/template/spec/containers/0/env/-"
    variable = {"name": "MODEL_URL", "value": "http://model.dsm.svc.cluster.local"}
    patch = {
        "target": {"kind": "Service", "name": "job-launcher"},
        "patch": yaml.safe_dump([{"op": "add", "path": path, "value": variable}]),
    }
    overlay(folder, patch, agent="tests.support.asking_agent")
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "agent-credentials", "namespace": "agents"},
        "stringData": {"anthropic-api-key": KEY},
    }
    (folder / "secret.yaml").write_text(yaml.safe_dump(secret))
    file = folder / "kustomization.yaml"
    kustomization = yaml.safe_load(file.read_text())
    kustomization["resources"].append("secret.yaml")
    file.write_text(yaml.safe_dump(kustomization))
    return folder


async def test_an_agent_asks_its_model_without_the_key(
    tmp_path_factory: pytest.TempPathFactory, warm_data: WarmData
) -> None:
    folder, model = tmp_path_factory.mktemp("k"), Model()
    data = warm_data.copy_to(folder / "d")
    async with listening(model.app) as url:
        at, model_at = with_model(folder / "o"), ("--map", f"model.dsm={url}")
        async with story_of(data, folder / "github", at, *model_at) as story:
            number, _ = await story.labelled()
            await story.says(number, ANSWER)
            [job] = await story.jobs(number)
            async with story.knative.client("job-launcher") as client:
                log = (await client.get(f"/jobs/{job['job_id']}/logs")).text

            async def is_counted() -> dict[str, Any] | None:
                [found] = await story.jobs(number)
                return (found["result"] or {}).get("usage")

            usage = await eventually(is_counted)
    assert model.keys == [KEY], "the sidecar's, not what the agent shows it"
    [environment] = model.asked
    assert environment["ANTHROPIC_API_KEY"] not in ("", KEY)
    assert KEY not in json.dumps(environment) + log
    assert usage is not None, "the agent reports none"
    assert (usage["input_tokens"], usage["output_tokens"]) == (1500, 45)
