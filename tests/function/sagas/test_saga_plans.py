"""Runs are found by index, also by a process that began when there were none.

A process keeps the plan of each statement, and one that is made over an empty table scans it.
"""

from __future__ import annotations

from datetime import UTC, datetime

from functions.kit.durable import Store
from functions.kit.settings import DatabaseSettings
from functions.orchestrator.decide.inputs import (
    Input,
    PauseRequested,
    ResumeRequested,
    UndoRequested,
)
from functions.orchestrator.engine.batch import Batch, Item, Start
from functions.orchestrator.orchestrator import new_flow_id
from functions.orchestrator.registration import registration
from functions.orchestrator.registration.registration_request import read

NOW = datetime.now(UTC)
# A server makes a plan for all parameters when a statement comes for the sixth time.
UNTIL_PLANNED = 8
STORED = """
    INSERT INTO orchestration_run (flow_id, template_id, orch_name, status, since, payload_encoding,
        correlation_id, started_at, completed_at)
    SELECT gen_random_uuid(), 1, 'o', 'COMPLETED', now(), 'json', 'c', now(), now()
    FROM generate_series(1, 5000);
    INSERT INTO orchestration_step_run (flow_id, step_name, seq, status, attempt, base,
        undo_attempt, undo_base, round, round_base)
    SELECT flow_id, 's', 1, 'DO_SUCCESS', 1, 0, 0, 0, 1, 0 FROM orchestration_run
    WHERE status = 'COMPLETED'"""

READ = """SELECT sum(seq_tup_read)::integer FROM pg_stat_xact_user_tables
    WHERE relname IN ('orchestration_run', 'orchestration_step_run')"""


async def test_a_batch_reads_its_own_runs_and_no_others(new_database: str) -> None:
    store = Store(DatabaseSettings.read({"DATABASE_URL": new_database}))
    flow_id = new_flow_id()

    async def batch(what: Start | Input) -> int:
        async with store.transaction() as tx:
            before = await tx.fetchval(READ)
            (result,) = (await Batch(tx, {}, NOW).process([Item(flow_id, what)])).results
            assert not isinstance(result, Exception)
            assert result.refused is None
            return int(await tx.fetchval(READ) - before)

    await _register(store)
    await batch(Start("o"))
    for _ in range(UNTIL_PLANNED):
        await batch(PauseRequested("ann"))
        await batch(ResumeRequested("ann"))
    async with store.connection() as connection:
        await connection.execute(STORED)
    assert await batch(PauseRequested("ann")) < 10
    assert await batch(UndoRequested("ann")) < 10
    await store.close()


async def _register(store: Store) -> None:
    steps = [{"seq": 1, "name": "s"}]
    for role, service in (("initiator", "i"), ("worker", "w")):
        asked = read({"orchName": "o", "as": role, "type": "sequential", "steps": steps})
        async with store.transaction() as tx:
            await registration.register(tx, asked, service, NOW)
