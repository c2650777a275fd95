"""sprint-report over many projects: against one request at a time, and its memory."""

from __future__ import annotations

import statistics
import time
from contextlib import AbstractAsyncContextManager

import httpx

from tests.bench.processes import Measured, running
from tests.bench.report import Row

LATENCY_MS = "5"
PROJECTS = 1000


async def run() -> list[Row]:
    counted, together, alone, memory = [], [], [], []
    async with (
        peers(PROJECTS, overview=True) as services,
        sprint_report(services, concurrency=32) as ours,
    ):
        for _ in range(5):
            counted.append(await seconds(ours))
    async with peers(PROJECTS) as services:
        async with sprint_report(services, concurrency=32) as ours:
            for _ in range(5):
                together.append(await seconds(ours))
            memory.append(ours.resident_mb)
        async with sprint_report(services, concurrency=1) as ours:
            alone.append(await seconds(ours))
    async with peers(100) as services, sprint_report(services, concurrency=32) as ours:
        for _ in range(5):
            await seconds(ours)
        memory.append(ours.resident_mb)
    at_once, rate = (PROJECTS / statistics.median(took) for took in (counted, together))
    slow = PROJECTS / alone[0]
    return [
        Row("report of 1,000 projects", at_once, "projects/s", "one at a time", slow, 25.0),
        Row("report, project by project", rate, "projects/s", "one at a time", slow, 20.0),
        Row("its memory", memory[0], "MB", "100 projects", memory[1], 1.1, minimum=False),
    ]


def peers(projects: int, *, overview: bool = False) -> AbstractAsyncContextManager[Measured]:
    arguments = ("{port}", LATENCY_MS, str(projects), str(int(overview)))
    return running("-m", "tests.bench.peers", *arguments)


def sprint_report(services: Measured, *, concurrency: int) -> AbstractAsyncContextManager[Measured]:
    return running(
        *("-m", "functions.kit.process.serve"),
        FUNCTION_TARGET="sprint_report",
        REPORT_CONCURRENCY=str(concurrency),
        PROJECT_SERVICE_URL=services.url,
        SPRINT_SERVICE_URL=services.url,
    )


async def seconds(process: Measured) -> float:
    """One report, as a user asks for it."""
    async with httpx.AsyncClient(timeout=120) as client:
        began = time.perf_counter()
        response = await client.get(process.url)
        took = time.perf_counter() - began
    assert response.json()["failed"] == 0, response.text[:300]
    assert all(one["sprint_id"] for one in response.json()["sprints"]), response.text[:300]
    return took
