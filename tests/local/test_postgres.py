"""The embedded PostgreSQL gets over what crashes leave behind."""

from __future__ import annotations

import asyncio
import os
import signal
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from knative.local.manifests.core import StatefulSet
from knative.local.manifests.load import load
from knative.local.postgres import Postgres
from knative.local.postgres_folder import lend_user
from tests.support import eventually
from tests.support.local_knative import LocalKnative, local_knative

JOBS = Path(__file__).parent / "overlays" / "jobs"
Make = Callable[[], Postgres]


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    world = load(JOBS)
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


async def test_a_killed_server_that_is_a_zombie_is_no_server(make: Make, tmp_path: Path) -> None:
    server = make()
    server.start()
    assert await _answers(server)
    pid = int((tmp_path / "postgres" / "postmaster.pid").read_text().splitlines()[0])
    os.kill(pid, signal.SIGKILL)  # a zombie until its parent, this process, waits for it

    async def zombie() -> bool:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE

    await eventually(zombie)
    again = make()
    again.start()
    assert again.server.pid not in (None, pid)
    assert await _answers(again)


async def test_a_server_that_still_recovers_is_waited_for(make: Make, tmp_path: Path) -> None:
    server = make()
    server.start()
    pid = server.server.pid
    lock = tmp_path / "postgres" / "postmaster.pid"
    ready = lock.read_text()
    lock.write_text(ready.replace("ready   ", "starting"))  # as it says while it recovers
    again = make()
    starting = asyncio.create_task(asyncio.to_thread(again.start))

    async def is_being_started() -> bool:
        return again.server.state == "starting"

    await eventually(is_being_started)
    whole = lock.with_name("whole")  # no reader may find half a file
    whole.write_text(ready)
    whole.replace(lock)
    await starting
    assert (again.server.pid, again.server.starts) == (pid, 0)
    assert "already exists" not in server.server.log.read_text()


async def test_a_session_that_is_killed_while_the_server_is_prepared(make: Make) -> None:
    server = make()
    server.start()
    assert await _answers(server)
    directory = str(server.hosts()["postgres.dsm.svc.cluster.local"])
    victim = await asyncpg.connect(host=directory, user="dsm", database="sprints")
    os.kill(victim.get_server_pid(), signal.SIGKILL)  # all others end, and the server recovers

    async def answers() -> bool:
        try:
            return await _answers(server)
        except (OSError, asyncpg.PostgresError):  # between two steps of its own recovery
            return False

    await eventually(answers)


async def test_what_a_killed_server_leaves_at_work_keeps_no_other_from_starting(
    make: Make,
) -> None:
    server = make()
    server.start()
    assert await _answers(server)
    directory = str(server.hosts()["postgres.dsm.svc.cluster.local"])
    session = await asyncpg.connect(host=directory, user="dsm", database="sprints")
    left = psutil.Process(session.get_server_pid())
    left.suspend()  # so that it does not notice
    pid = server.server.pid
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    async def is_gone() -> bool:
        return server.server.pid is None

    await eventually(is_gone)
    again = make()
    again.start()
    assert await _answers(again)
    session.terminate()


async def test_a_server_of_a_killed_runtime_comes_back_where_its_clients_know_it(
    tmp_path: Path,
) -> None:
    world, data = load(JOBS), tmp_path / ("long" * 30)
    data.mkdir(mode=0o700)
    first, second = (Postgres(world.all(StatefulSet)[0], world, data) for _ in range(2))
    first.start()
    second.start()
    place, pid = second.server.directory, second.server.pid
    assert place == first.server.directory != data / "postgres"
    assert pid is not None
    os.kill(pid, signal.SIGKILL)

    async def is_gone() -> bool:
        return second.server.pid is None

    await eventually(is_gone)
    second.start()
    try:
        assert second.server.directory == place
        assert await _answers(second)
    finally:
        second.stop()


async def test_starting_and_preparing_twice_changes_nothing(make: Make) -> None:
    first, second = make(), make()
    first.start()
    assert await _answers(first)
    second.start()
    assert await _answers(second)


async def test_a_killed_server_comes_back_with_its_data_and_is_listed(tmp_path: Path) -> None:
    with local_knative(JOBS, tmp_path) as runtime:

        async def postgres() -> dict[str, object]:
            (found,) = [one for one in await runtime.ask("services") if one["name"] == "postgres"]
            return dict(found)

        async with runtime.client("echo") as client:
            url = (await client.get("/")).json()["env"]["DATABASE_URL"]
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
        before = await postgres()
        assert (before["state"], before["crashes"]) == ("ready", 0)

        for crashes in (1, 2):
            pid = (await postgres())["pid"]
            assert isinstance(pid, int)
            os.kill(pid, signal.SIGKILL)

            async def is_back(killed: int = pid, crashes: int = crashes) -> bool:
                now = await postgres()
                return now["state"] == "ready" and now["pid"] not in (None, killed)

            assert await eventually(is_back)
            assert (await postgres())["crashes"] == crashes
            connection = await asyncpg.connect(url)
            assert await connection.fetchval("SELECT answer FROM kept") == 42
            await connection.close()


async def test_a_server_that_a_killed_runtime_left_is_kept_running_as_well(tmp_path: Path) -> None:
    runtime = LocalKnative(JOBS, tmp_path).start()
    (left,) = [o["pid"] for o in await runtime.ask("services") if o["name"] == "postgres"]
    runtime.kill()
    runtime.start()
    try:

        async def pid() -> int:
            return next(
                int(o["pid"] or 0) for o in await runtime.ask("services") if o["name"] == "postgres"
            )

        assert await pid() == left
        os.kill(left, signal.SIGKILL)

        async def another() -> bool:
            return await pid() not in (0, left)

        assert await eventually(another)
    finally:
        runtime.stop()


@pytest.mark.parametrize(
    "name", ["a blank", "it's $HOME `id`", '"quoted"', "Zoë", "long" * 30, "a,b"]
)
async def test_any_folder_will_do(tmp_path: Path, name: str) -> None:
    server = Postgres(load(JOBS).all(StatefulSet)[0], load(JOBS), tmp_path / name)
    (tmp_path / name).mkdir(mode=0o700)
    server.start()
    try:
        assert await _answers(server)
        found = (tmp_path / name).stat()
        if os.geteuid() == 0:
            # The server runs as a user that root lends it, who must get to its own folder below:
            # that user's group may pass, and may neither list nor write.
            assert stat.S_IMODE(found.st_mode) == 0o710
            assert found.st_gid == lend_user().pw_gid
        else:
            assert stat.S_IMODE(found.st_mode) == 0o700
    finally:
        server.stop()
    if server.server.directory != tmp_path / name / "postgres":
        assert not server.server.directory.exists()
