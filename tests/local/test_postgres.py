"""The embedded PostgreSQL gets over what crashes leave behind."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import pytest

from knative.local.manifests.core import StatefulSet
from knative.local.manifests.load import load
from knative.local.postgres import Postgres

Make = Callable[[], Postgres]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    world = load(Path(__file__).parent / "overlays" / "jobs")
    made: list[Postgres] = []

    def build() -> Postgres:
        made.append(Postgres(world.all(StatefulSet)[0], world, tmp_path))
        return made[-1]

    yield build
    for server in made:
        server.stop()


async def _answers(server: Postgres) -> bool:
    await server.prepare()
    directory = server.hosts()["postgres.dsm.svc.cluster.local"]
    connection = await asyncpg.connect(host=str(directory), user="dsm", database="sprints")
    try:
        return bool(await connection.fetchval("SELECT 1"))
    finally:
        await connection.close()


async def test_a_directory_that_was_only_half_made_is_made_anew(make: Make, tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("18\n")
    server = make()
    server.start()
    assert await _answers(server)


async def test_a_pid_file_that_names_another_program_is_ignored(make: Make, tmp_path: Path) -> None:
    server = make()
    server.start()
    pid_file = tmp_path / "postgres" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    server.stop()
    pid_file.write_text("\n".join([str(os.getpid()), *lines[1:]]))
    again = make()
    again.start()
    assert await _answers(again)


async def test_starting_and_preparing_twice_changes_nothing(make: Make) -> None:
    first, second = make(), make()
    first.start()
    assert await _answers(first)
    second.start()
    assert await _answers(second)
