"""Bundles are in PostgreSQL or in a folder, and are dropped when no row names them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from functions.agent_outputs.artifacts import UNUSED_FOR, Artifacts, InDatabase, InFolder
from functions.kit.durable import Store
from functions.kit.errors import TemporaryError
from functions.kit.settings import DatabaseSettings
from tests.support.agent_world import CHANGED, WANTED, AgentWorld

AT = datetime(2026, 3, 2, 14, tzinfo=UTC)


@pytest.fixture
async def store(outputs_database: str) -> AsyncIterator[Store]:
    opened = Store(DatabaseSettings.read({"DATABASE_URL": outputs_database}))
    yield opened
    await opened.close()


@pytest.fixture(params=["database", "folder"])
def place(request: pytest.FixtureRequest, store: Store, tmp_path: Path) -> Artifacts:
    return InDatabase(store) if request.param == "database" else InFolder(tmp_path)


async def test_what_is_stored_is_read_until_it_is_unused(place: Artifacts) -> None:
    for name in ("file-a", "file-b", "file-c"):
        await place.store(name, name.encode(), AT - timedelta(hours=name == "file-c"))
    assert await place.load("file-a") == b"file-a"
    assert await place.load("file-x") is None

    assert await place.drop_unused({"file-a"}, AT - timedelta(minutes=30)) == 1
    assert await place.load("file-c") is None
    assert await place.drop_unused({"file-a"}, AT + timedelta(seconds=1)) == 1
    assert [await place.load("file-a"), await place.load("file-b")] == [b"file-a", None]
    assert await place.drop_unused(set(), AT + timedelta(seconds=1)) == 1


async def test_what_a_crash_left_half_written_is_dropped_and_never_read(tmp_path: Path) -> None:
    (tmp_path / "file-a.unfinished").write_bytes(b"hal")
    place = InFolder(tmp_path)
    assert await place.load("file-a") is None
    assert await place.drop_unused(set(), datetime.now(UTC) + timedelta(hours=1)) == 1
    assert list(tmp_path.iterdir()) == []


async def test_a_volume_that_is_away_is_waited_for(tmp_path: Path) -> None:
    with pytest.raises(TemporaryError, match="ARTIFACTS_FOLDER: No such file"):
        await InFolder(tmp_path / "away").store("file-a", b"a", AT)


@pytest.mark.parametrize("in_folder", [False, True])
async def test_a_bundle_without_a_row_goes_and_one_with_a_row_stays(
    agents: AgentWorld, store: Store, tmp_path: Path, in_folder: bool
) -> None:
    """A process is killed after it has stored a bundle, before the row is there."""
    folder = tmp_path / "volume"
    folder.mkdir()
    if in_folder:
        agents.deploy({"ARTIFACTS_FOLDER": str(folder), "ARTIFACTS_DATABASE_BYTES": "0"})
    place: Artifacts = InFolder(folder) if in_folder else InDatabase(store)
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
