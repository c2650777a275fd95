"""Migrations: forward on a schema that is behind, and nothing at all on one that is ahead."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest
import stamina
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

from functions.kit.clients.service import header_key
from functions.kit.durable import Connection, migrate
from functions.kit.durable.database import Store
from functions.kit.durable.inbox import Answered, Key, add, once
from functions.kit.settings import DatabaseSettings
from tests.conftest import MakeDatabase, MakeMigrated
from tests.support.repository import ROOT

ORCHESTRATOR = migrate.owners()["orchestrator"]


def run(url: str, *owners: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    """What the Job of an image does."""
    command = [sys.executable, "-m", "functions.kit.durable.migrate", *owners]
    env = {**os.environ, "DATABASE_URL": url}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60)


async def at(url: str, table: str) -> str | None:
    connection = await asyncpg.connect(url)
    try:
        version: str | None = await connection.fetchval(f"SELECT max(version_num) FROM {table}")
        return version
    finally:
        await connection.close()


async def later_images_schema(url: str, table: str) -> None:
    connection = await asyncpg.connect(url)
    await connection.execute(f"UPDATE {table} SET version_num = '9999'")
    await connection.close()


async def test_the_code_may_lie_in_a_folder_of_any_name(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    place = tmp_path / "it's 100%41 a:b #ü"
    ignored = shutil.ignore_patterns("__pycache__", "static")
    shutil.copytree(migrate.FUNCTIONS, place / "functions", ignore=ignored)
    url = await make_database()
    done = await asyncio.to_thread(run, url, "orchestrator", cwd=place)
    assert done.returncode == 0, done.stderr
    assert await at(url, "orchestrator_version") == ORCHESTRATOR.head


@pytest.mark.parametrize("newer", ["kit_version", "orchestrator_version"])
async def test_a_rolled_back_image_leaves_the_newer_schema_and_says_so_once(
    make_migrated: MakeMigrated, newer: str
) -> None:
    url = await make_migrated("orchestrator")
    await later_images_schema(url, newer)
    done = await asyncio.to_thread(run, url, "orchestrator")
    assert done.returncode == 0, done.stderr
    (line,) = (done.stdout + done.stderr).splitlines()
    assert "is at 9999, newer than" in line
    assert await at(url, newer) == "9999"


async def test_what_is_behind_goes_forward_beside_what_is_ahead(
    make_migrated: MakeMigrated,
) -> None:
    url = await make_migrated()
    await later_images_schema(url, "kit_version")
    await migrate.upgrade(url, ORCHESTRATOR)
    assert await at(url, "kit_version") == "9999"
    assert await at(url, "orchestrator_version") == ORCHESTRATOR.head


async def test_a_server_that_begins_later_is_waited_for(make_database: MakeDatabase) -> None:
    url = await make_database()
    (socket_folder,) = parse_qs(urlsplit(url).query)["host"]

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there, back = await asyncio.open_unix_connection(f"{socket_folder}/.s.PGSQL.5432")
        await asyncio.gather(_copy(reader, back), _copy(there, writer))

    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    parts = urlsplit(url)
    late = (
        f"postgresql://{parts.username or 'postgres'}@127.0.0.1:{port}{parts.path}?sslmode=disable"
    )
    with stamina.set_testing(False):  # other tests want one attempt; this one is about waiting
        waiting = asyncio.create_task(migrate.await_server(late, 30))
        await asyncio.sleep(0)
        assert not waiting.done()
        async with await asyncio.start_server(relay, "127.0.0.1", port):
            await waiting


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()


def test_a_server_that_never_begins_is_reported_in_the_end() -> None:
    done = run("postgresql://127.0.0.1:1/x", "--within", "0.5")
    assert done.returncode == 1
    assert "cannot migrate" in done.stderr


async def test_many_may_migrate_at_once(make_database: MakeDatabase) -> None:
    url = await make_database()
    await asyncio.gather(*(migrate.upgrade(url, ORCHESTRATOR) for _ in range(4)))
    assert await at(url, "orchestrator_version") == ORCHESTRATOR.head


async def as_of(url: str, last: str, tmp_path: Path) -> asyncpg.Connection[asyncpg.Record]:
    """A session of a database that the kit's migrations have made up to one."""
    for revision in migrate.KIT.migrations.glob("0*.py"):
        if revision.name[:4] <= last:
            shutil.copy(revision, tmp_path)
    engine = create_async_engine(
        "postgresql+asyncpg://", async_creator=lambda: asyncpg.connect(url), poolclass=NullPool
    )
    async with engine.begin() as connection:
        await connection.run_sync(migrate._upgrade, migrate.Owner("kit", tmp_path))
    await engine.dispose()
    return await asyncpg.connect(url)


async def test_what_was_answered_under_a_key_is_found_by_its_digest(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = await make_database()
    old = await as_of(url, "0014", tmp_path)
    names = ["cycle:GEM-001:first", "Ü漢🎉", "0" * 64]
    await old.executemany(
        """INSERT INTO inbox (function, source, id, type, answer)
           VALUES ('f', 'POST /x', $1, $2, $3)""",
        [(name, "http", f'"{name}"') for name in names] + [("event-1", "io.dsm.x.v1", "1")],
    )
    await migrate.upgrade(url)
    rows = await old.fetch("SELECT id, answer FROM inbox")
    await old.close()
    found = {row["id"]: row["answer"] for row in rows}
    assert found == {
        **{name: f'"{name}"' for name in names},
        **{header_key(name): f'"{name}"' for name in names},
        "event-1": "1",
    }


async def test_what_a_previous_process_answers_meanwhile_is_found_by_the_digest_too(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = await make_database()
    old = await as_of(url, "0015", tmp_path)
    store = Store(DatabaseSettings.read({"DATABASE_URL": url}))

    async def answers(key: str, answer: str) -> Answered:
        async def work(tx: Connection) -> str:
            return answer

        return await once(store, Key("f", "POST /x", key), "http", 5.0, work, "asked")

    await answers("between the copy and the trigger", "1")
    await migrate.upgrade(url)
    await answers("Ü漢🎉", "2")
    async with store.transaction() as tx:
        await add(tx, Key("f", "POST /x", "called"), "http", "3", "asked")
        await add(tx, Key("f", "/source", "an event"), "io.dsm.x.v1", "4", None)
    for key, answer in (("between the copy and the trigger", "1"), ("Ü漢🎉", "2"), ("called", "3")):
        assert await answers(header_key(key), "again") == Answered(answer, repeated=True)
    assert await old.fetchval("SELECT count(*) FROM inbox") == 7
    await old.close()
    await store.close()


async def test_failures_on_record_keep_their_kind(
    make_database: MakeDatabase, tmp_path: Path
) -> None:
    url = await make_database()
    old = await as_of(url, "0008", tmp_path)
    await old.executemany(
        """INSERT INTO run (function, source, id, type, took_ms, outcome, detail)
           VALUES ('f', '/s', '1', 't', 1, $1, $2)""",
        [
            ("ok", None),
            ("failed", "NotFound: sprint"),
            ("failed", "NotSent: no connection"),
            ("failed", "KeyError: 'x'"),
        ],
    )
    await migrate.upgrade(url)
    rows = await old.fetch("SELECT failure_kind FROM run ORDER BY number")
    await old.close()
    assert [row["failure_kind"] for row in rows] == [None, "permanent", "temporary", "unexpected"]
