"""A store of sagas as it is after a long life, and what goes on in it besides."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import asyncpg
import psutil

from functions.kit.durable.database import Store
from functions.kit.durable.retention import keep_small
from functions.orchestrator.engine.deduplication import FUNCTION
from functions.orchestrator.retention import rules
from tests.support import eventually

# Ids of runs grow with time (version 7), so those that are stored are neighbours, too.
_RUN = "('0190' || lpad(to_hex(n), 28, '0'))::uuid"


async def fill(url: str, stored: int) -> None:
    """Finished runs, as many as in a long life, each with as many rows as one really has.

    Every second one is old enough to be deleted.
    """
    connection = await asyncpg.connect(url)
    server_process = connection.get_server_pid()
    began = time.monotonic()
    try:
        runs = await connection.fetchval("SELECT count(*) FROM orchestration_run")
        audits = round(await connection.fetchval("SELECT count(*) FROM audit_event") / runs)
        claims = round(await connection.fetchval("SELECT count(*) FROM inbox") / runs)
        await connection.execute(
            f"""INSERT INTO orchestration_run (flow_id, template_id, orch_name, status, since,
                    payload, payload_encoding, correlation_id, started_at, completed_at)
                SELECT {_RUN}, 1, 'o', 'COMPLETED', now(), '{{}}', 'json', 'c',
                    now() - n * interval '1 s', now() - n % 2 * interval '400 days'
                FROM generate_series(1, {stored}) n;
                INSERT INTO orchestration_step_run (flow_id, step_name, seq, status, attempt, base,
                    undo_attempt, undo_base, round, round_base, calls)
                SELECT {_RUN}, 's' || k, k, 'DO_SUCCESS', 1, 0, 0, 0, 1, 0,
                    '[["DO", 1, "w", "SUCCESS"]]'
                FROM generate_series(1, {stored}) n, generate_series(1, 3) k;
                INSERT INTO audit_event (flow_id, type, detail, at)
                SELECT {_RUN}, 'STEP_SUCCESS', '', now()
                FROM generate_series(1, {stored}) n, generate_series(1, {audits}) k;
                INSERT INTO inbox (function, source, id, type)
                SELECT 'orchestrator', '/functions/w', 's' || n || '-' || k, 'answer'
                FROM generate_series(1, {stored}) n, generate_series(1, {claims}) k;""",
            timeout=1200,
        )
        await connection.execute("VACUUM ANALYZE", timeout=600)
        await connection.execute("CHECKPOINT", timeout=600)
        print(f"  {stored:,} finished runs stored in {time.monotonic() - began:.0f} s", flush=True)
    finally:
        await connection.close()

    async def has_ended() -> bool:
        return not psutil.pid_exists(server_process)

    await eventually(has_ended)  # or its processor time counts as that of what is measured next


@asynccontextmanager
async def kept_small(store: Store, url: str) -> AsyncIterator[None]:
    """While old runs are deleted, and a reader holds a snapshot from before all that goes."""
    reader = await asyncpg.connect(url)
    keeping = asyncio.create_task(keep_small(store, FUNCTION, rules(days=365)))
    try:
        async with reader.transaction(isolation="repeatable_read", readonly=True):
            await reader.fetchval("SELECT count(*) FROM orchestration_template")
            yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)
        await reader.close()
