"""What an older orchestrator has stored goes on after the migrations."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

import asyncpg

from functions.kit import cloudevents
from functions.kit.durable import Store, migrate, outbox
from functions.kit.durable.migrate import Owner
from functions.kit.settings import DatabaseSettings
from functions.orchestrator.engine import due_runs
from tests.conftest import MakeDatabase

AT = datetime(2026, 1, 5, 9, 0, 0, 123456, tzinfo=UTC)
EVENT = cloudevents.Message(
    id="6a3c4d2e-0000-5000-8000-000000000001",
    source="/functions/orchestrator",
    type="io.dsm.saga.step.commanded.v1",
    data='{"payload":{"name":"Zoë \\"x\\""},"n":1.50}'.encode(),
    subject="run",
    time="2026-01-05T09:00:00.123456Z",
    datacontenttype="application/json",
    extensions={"partitionkey": "run", "correlationid": "c"},
)
RUN = UUID("00000000-0000-7000-8000-000000000001")


async def test_unsent_events_and_timers_move(make_database: MakeDatabase, tmp_path: Path) -> None:
    url = await make_database()
    now = migrate.owners()["orchestrator"]
    for revision in now.migrations.glob("000[1-4]_*.py"):
        shutil.copy(revision, tmp_path)
    await migrate.upgrade(url, Owner(now.name, tmp_path))
    connection = await asyncpg.connect(url)
    await connection.execute(
        "INSERT INTO orchestration_outbox VALUES ($1, $2, $3, $4, $5, $6, $4)",
        *(EVENT.id, EVENT.type, EVENT.subject, AT),
        *('{"partitionkey": "run", "correlationid": "c"}', EVENT.data.decode()),
    )
    await connection.execute(
        """INSERT INTO orchestration_run (flow_id, template_id, orch_name, status, since,
               payload_encoding, correlation_id, started_at)
           VALUES ($1, 1, 'o', 'IN_PROGRESS', $2, 'json', 'c', $2)""",
        *(RUN, AT),
    )
    await connection.execute("INSERT INTO orchestration_timer VALUES ($1, $2)", RUN, AT)

    await migrate.upgrade(url, now)
    await connection.close()
    store = Store(DatabaseSettings.read({"DATABASE_URL": url}))
    later = AT + timedelta(seconds=1)
    async with store.connection() as db:
        assert await due_runs.next_timer(db) == AT
        assert await due_runs.due(db, later, due_runs.START, 10) == [(AT, RUN)]
    (entry,) = await outbox.lease(store, 10)
    await store.close()
    assert (entry.message.json(), entry.partition_key) == (EVENT.json(), None)
    assert cloudevents.attributes(entry.message) == cloudevents.attributes(EVENT)
