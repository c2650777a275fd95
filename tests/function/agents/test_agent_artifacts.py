"""Bundles are in PostgreSQL or in a folder, and are dropped when no row names them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from functions.agent_outputs.artifacts import (
    DROP_UNUSED,
    FORGET,
    UNUSED_FOR,
    USED,
    Artifacts,
    InDatabase,
    InFolder,
)
from functions.agent_pod.collect import Sidecar
from functions.agent_pod.environment import post
from functions.kit.durable import Store
from functions.kit.errors import TemporaryError
from functions.kit.settings import DatabaseSettings
from tests.support.agent_world import CHANGED, WANTED, AgentWorld
from tests.support.explained import pages

AT = datetime(2026, 3, 2, 14, tzinfo=UTC)


@pytest.fixture
async def store(outputs_database: str) -> AsyncIterator[Store]:
    opened = Store(DatabaseSettings.read({"DATABASE_URL": outputs_database}))
    yield opened
    await opened.close()


@pytest.fixture(params=["database", "folder"])
def place(request: pytest.FixtureRequest, store: Store, tmp_path: Path) -> Artifacts:
    return InDatabase(store) if request.param == "database" else InFolder(tmp_path, store)


async def named(store: Store, name: str) -> None:
    """One checkpoint names this artifact, and no row another."""
    async with store.transaction() as tx:
        await tx.execute("TRUNCATE agent_output, agent_checkpoint")
        await tx.execute(
            """INSERT INTO agent_checkpoint (job_id, artifact, session, taken_at)
               VALUES ('job-1', $1, '', now())""",
            name,
        )


async def test_what_is_stored_is_read_until_it_is_unused(place: Artifacts, store: Store) -> None:
    await named(store, "file-a")
    for name in ("file-a", "file-b", "file-c"):
        await place.store(name, name.encode(), AT - timedelta(hours=name == "file-c"))
    assert await place.load("file-a") == b"file-a"
    assert await place.load("file-x") is None

    assert await place.drop_unused(AT - timedelta(minutes=30)) == 1
    assert await place.load("file-c") is None
    assert await place.drop_unused(AT + timedelta(seconds=1)) == 1
    assert [await place.load("file-a"), await place.load("file-b")] == [b"file-a", None]
    await named(store, "file-x")
    assert await place.drop_unused(AT + timedelta(seconds=1)) == 1


async def test_what_is_dropped_is_gone_and_may_be_gone_already(place: Artifacts) -> None:
    await place.store("file-a", b"a", AT)
    for _ in range(2):
        await place.drop("file-a")
    assert await place.load("file-a") is None


async def test_the_whole_history_is_not_read_for_what_is_unused(store: Store) -> None:
    connection = await asyncpg.connect(store._url())
    rolled_back = connection.transaction()
    await rolled_back.start()
    await connection.execute(
        """INSERT INTO agent_output (job_id, repository, task_id, job_grant, problems, state,
               received_at, due_at, settled_at, artifact)
           SELECT 'old-' || n, 'acme/shop', 'task', '{}', '[]', 'delivered', $1, $1, $1,
               CASE WHEN n % 5000 = 0 THEN 'file-' || n END
           FROM generate_series(1, 20000) AS n""",
        AT,
    )
    await connection.execute(
        "INSERT INTO agent_artifact VALUES ('file-5000', '', $1), ('file-1', '', $1)", AT
    )
    await connection.execute("ANALYZE agent_output, agent_artifact, agent_checkpoint")
    whole = await connection.fetchval("SELECT pg_relation_size('agent_output') / 8192")
    later = AT + timedelta(days=1)
    read = [
        await pages(connection, DROP_UNUSED, later),
        await pages(connection, USED, ["file-5000", "file-1"]),
        await pages(connection, FORGET, later),
    ]
    await rolled_back.rollback()
    await connection.close()
    assert max(read) < whole / 4, f"{read} of {whole} pages"


async def test_what_a_crash_left_half_written_is_dropped_and_never_read(
    tmp_path: Path, store: Store
) -> None:
    (tmp_path / "file-a.unfinished").write_bytes(b"hal")
    place = InFolder(tmp_path, store)
    assert await place.load("file-a") is None
    assert await place.drop_unused(datetime.now(UTC) + timedelta(hours=1)) == 1
    assert list(tmp_path.iterdir()) == []


async def test_a_volume_that_is_away_is_waited_for(tmp_path: Path, store: Store) -> None:
    place = InFolder(tmp_path / "away", store)
    for access in (place.store("file-a", b"a", AT), place.load("file-a")):
        with pytest.raises(TemporaryError, match="ARTIFACTS_FOLDER: No such file"):
            await access


@pytest.mark.parametrize("in_folder", [False, True])
async def test_a_bundle_that_another_replaces_is_dropped_at_once(
    agents: AgentWorld, store: Store, tmp_path: Path, in_folder: bool
) -> None:
    folder = tmp_path / "volume"
    folder.mkdir()
    if in_folder:
        agents.deploy({"ARTIFACTS_FOLDER": str(folder), "ARTIFACTS_DATABASE_BYTES": "0"})

    async def stored() -> int:
        async with store.connection() as connection:
            rows: int = await connection.fetchval("SELECT count(*) FROM agent_artifact")
        return rows + len(list(folder.iterdir()))

    pod = await agents.pod()
    await pod.prepare()
    for number in range(3):
        pod.commit({"src/basket.py": f"items = {number}\n"})
        await pod.checkpoint()
        assert await stored() == 1
    for _ in range(2):
        await pod.collect()
        assert await stored() == 1, "of what was posted first"
    await asyncio.to_thread(Sidecar(pod.places).checkpoint)
    assert await stored() == 1, "a checkpoint that comes late is not kept"


async def test_what_a_next_post_replaces_is_dropped_at_once(
    agents: AgentWorld, store: Store
) -> None:
    """Also where it waits for the Job's next pod; one without a bundle replaces none."""

    async def stored() -> list[str]:
        async with store.connection() as connection:
            return [
                row["name"] for row in await connection.fetch("SELECT name FROM agent_artifact")
            ]

    pod = await agents.pod(may_restart=True)
    await pod.prepare()
    seen = []
    for number in range(2):
        pod.commit({"src/basket.py": f"items = {number}\n"})
        await pod.collect()
        seen += await stored()
    assert len(set(seen)) == 2, "each post has its own, and the one before is gone"
    problem = {"prepared": False, "problems": ["agent-outputs is away"]}
    await asyncio.to_thread(post, pod.places, "outputs", problem, 60)
    assert await stored() == seen[1:]
    pod.says(WANTED)
    await pod.collect()
    assert len(await stored()) == 1
    assert agents.emitted()[-1]["type"] == "delivered"


async def test_what_is_unused_is_looked_for_once_an_hour(agents: AgentWorld, store: Store) -> None:
    place = InDatabase(store)
    await agents.minute()
    await agents.cluster.relayed()
    await place.store("late", b"late", agents.clock() - 2 * UNUSED_FOR)
    await agents.minute(30)
    await agents.cluster.relayed()
    assert await place.load("late") == b"late"
    await agents.minute(30)
    await agents.cluster.relayed()
    assert await place.load("late") is None


@pytest.mark.parametrize("in_folder", [False, True])
async def test_a_bundle_without_a_row_goes_and_one_with_a_row_stays(
    agents: AgentWorld, store: Store, tmp_path: Path, in_folder: bool
) -> None:
    """A process is killed after it has stored a bundle, before the row is there."""
    folder = tmp_path / "volume"
    folder.mkdir()
    if in_folder:
        agents.deploy({"ARTIFACTS_FOLDER": str(folder), "ARTIFACTS_DATABASE_BYTES": "0"})
    place: Artifacts = InFolder(folder, store) if in_folder else InDatabase(store)
    await place.store("file-orphan", b"lost", agents.clock())
    pod = await agents.pod()
    await pod.prepare()
    pod.commit(CHANGED)
    pod.says(WANTED)
    agents.cluster.down.add("api")
    await pod.collect()
    assert len(list(folder.iterdir())) == 2 * in_folder

    await agents.minute()
    assert await place.load("file-orphan") == b"lost", "its row may be about to come"
    await agents.minute(UNUSED_FOR.total_seconds() / 60)
    await agents.cluster.relayed()
    assert await place.load("file-orphan") is None
    assert len(list(folder.iterdir())) == in_folder

    agents.cluster.down.clear()
    await agents.minute(15)
    assert [fact["type"] for fact in agents.emitted()] == ["delivered"]


async def test_commits_are_dropped_some_days_after_their_delivery(
    agents: AgentWorld, tmp_path: Path
) -> None:
    folder = tmp_path / "volume"
    folder.mkdir()
    agents.deploy(
        {
            "ARTIFACTS_FOLDER": str(folder),
            "ARTIFACTS_DATABASE_BYTES": "0",
            "OUTPUTS_BUNDLE_DAYS": "3",
        }
    )
    await (await agents.pod()).run()
    undelivered = await agents.pod("job-2", branch="agent/2", task_id="another")
    await undelivered.prepare()
    undelivered.commit(CHANGED)
    await undelivered.collect()
    await agents.minute(2 * 24 * 60)
    assert len(list(folder.iterdir())) == 2
    await agents.minute(2 * 24 * 60)
    await agents.cluster.relayed()

    assert len(list(folder.iterdir())) == 1
    async with agents.cluster.client("agent-outputs") as client:
        assert (await client.get("/outputs/job-1/bundle")).status_code == 404
        assert (await client.get("/outputs/job-2/bundle")).content.startswith(b"# v")


async def test_a_bundle_that_is_away_is_applied_once_it_is_back(
    agents: AgentWorld, tmp_path: Path
) -> None:
    folder, away = tmp_path / "volume", tmp_path / "away"
    folder.mkdir()
    agents.deploy({"ARTIFACTS_FOLDER": str(folder), "ARTIFACTS_DATABASE_BYTES": "0"})
    pod = await agents.pod()
    await pod.prepare()
    pod.commit(CHANGED)
    pod.says(WANTED)
    agents.cluster.down.add("api")
    await pod.collect()
    folder.rename(away)
    agents.cluster.down.clear()
    await agents.minute(5)
    assert agents.emitted() == []
    away.rename(folder)
    await agents.minute(15)
    assert [fact["type"] for fact in agents.emitted()] == ["delivered"]


async def test_a_retry_begins_without_a_bundle_that_is_gone_for_good(
    agents: AgentWorld, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tmp_path / "volume"
    folder.mkdir()
    agents.deploy({"ARTIFACTS_FOLDER": str(folder), "ARTIFACTS_DATABASE_BYTES": "0"})
    pod = await agents.pod()
    await pod.prepare()
    pod.commit(CHANGED)
    pod.places.session.write_text("session-7")
    await pod.collect()
    [file] = folder.iterdir()
    file.unlink()

    again = await agents.pod("job-2", resume=True)
    await again.prepare()
    assert again.places.session.read_text() == "session-7"
    assert f"{file.name} is not where it was stored" in caplog.text
    async with agents.cluster.client("agent-outputs") as client:
        assert (await client.get("/outputs/job-1/bundle")).status_code == 404
