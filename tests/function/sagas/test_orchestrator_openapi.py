"""Every answer of the API is one that its OpenAPI document names, whatever is asked."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.generation import GenerationMode

from functions.kit.durable import migrate
from tests.conftest import MakeMigrated
from tests.support.saga_world import TENANT

ROOT = Path(__file__).resolve().parents[3]
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


@pytest.fixture(scope="module")
async def orchestrator_url(make_migrated: MakeMigrated) -> Any:
    """A real process with a registered orchestration and a run."""
    database = await make_migrated(*migrate.owners())
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    environ = {"PATH": os.environ["PATH"], "FUNCTION_TARGET": "orchestrator"}
    environ |= {"PORT": str(port), "DATABASE_URL": database, "LOG_LEVEL": "ERROR"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "functions.kit.process.serve"), cwd=ROOT, env=environ
    )
    url = f"http://127.0.0.1:{port}"
    try:
        await asyncio.to_thread(_prepare, url)
        yield url
    finally:
        process.terminate()
        await process.wait()


def _prepare(url: str) -> None:
    transport = httpx.HTTPTransport(retries=10)
    with httpx.Client(base_url=url, transport=transport) as client:
        path = "/api/orchestration"
        assert client.post(f"{path}/register", json=TENANT).status_code == 200
        assert client.post(f"{path}/execute/tenantCreation", json={}).status_code == 200


@pytest.mark.parametrize(
    ("name", "status"),
    [("a%0Ab", 422), ("%0D%0A", 422), ("a%00", 422), ("%20", 422), ("%C3%28", 422), ("a%2Fb", 404)],
    ids=["line break", "only line breaks", "zero", "space", "no UTF-8", "slash"],
)
def test_a_path_with_odd_characters_is_refused_with_a_reason(
    orchestrator_url: str, name: str, status: int
) -> None:
    answer = httpx.get(f"{orchestrator_url}/api/orchestrations/{name}", timeout=60)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["detail"]


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: mode.value)
def test_every_answer_is_documented(orchestrator_url: str, mode: GenerationMode) -> None:
    schema: Any = schemathesis.openapi.from_url(f"{orchestrator_url}/openapi.json")
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
        @given(case=operation.as_strategy(generation_mode=mode))
        def every_answer(case: Any) -> None:
            if case.query:
                case.query.pop("wait", None)  # up to a minute each
            case.call_and_validate(checks=CHECKS)

        with contextlib.suppress(Unsatisfiable):  # nothing can be wrong with a health check
            every_answer()
        tried += 1
    assert tried > 15
