"""Services whose image has a `fork` start as forks of a process that has the imports already."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest
import uvloop

from knative.local.environment import Launch
from knative.local.forks import Forks
from knative.local.instance import ServiceProcess
from knative.local.manifests.images import Fork
from tests.support import eventually
from tests.support.kube_server import is_alive

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="elsewhere nothing is forked")

PROGRAM = """
import os, sys, time
print("imported", os.getpid(), flush=True)
VERSION = 1

def main():
    print(VERSION, os.environ["COLOUR"], os.getcwd(), sys.argv[1:], flush=True)
    if os.environ["COLOUR"] == "red":
        print("not red", file=sys.stderr)
        return 3
    time.sleep(600)

if __name__ == "__main__":
    sys.exit(main())
"""


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The module of a program."""
    file = tmp_path / "program.py"
    file.write_text(PROGRAM)
    return file


@pytest.fixture
async def forks(tmp_path: Path) -> AsyncIterator[Forks]:
    forks = Forks(tmp_path / "server.log")
    yield forks
    await forks.close()


class Starts:
    """Starts the program, each time with a log of its own."""

    def __init__(self, forks: Forks, program: Path) -> None:
        self._forks, self._folder, self.logs = forks, program.parent, list[Path]()

    async def start(self, colour: str, **variables: str) -> ServiceProcess:
        log = self._folder / f"{len(self.logs)}.log"
        self.logs.append(log)
        env = {**os.environ, "COLOUR": colour, "PYTHONUNBUFFERED": "1", **variables}
        argv = [sys.executable, "-m", "program", "--now"]
        return await self._forks.spawn(
            Launch(argv, env, self._folder, Fork("program:main", ("json",))), log
        )

    async def text(self, number: int) -> str:
        """What is in the log of a start, once there is something."""

        async def written() -> str:
            log = self.logs[number]
            return log.read_text() if log.exists() else ""

        return await eventually(written)


@pytest.fixture
async def starts(forks: Forks, program: Path) -> AsyncIterator[Starts]:
    starts = Starts(forks, program)
    yield starts
    for log in starts.logs:  # whatever a failed test has left
        for process in psutil.process_iter(["open_files"]):
            if any(file.path == str(log) for file in process.info["open_files"] or ()):
                process.kill()


def server_of(process: ServiceProcess) -> psutil.Process:
    parent = psutil.Process(process.pid).parent()
    assert parent is not None
    assert parent.pid != os.getpid(), "it was started without a server"
    return parent


async def test_a_fork_has_its_own_environment_folder_arguments_and_log(
    starts: Starts, tmp_path: Path
) -> None:
    green, blue = [await starts.start(colour) for colour in ("green", "blue")]
    assert await starts.text(0) == f"1 green {tmp_path} ['-m', 'program', '--now']\n"
    assert (await starts.text(1)).startswith("1 blue ")
    server = server_of(green)
    assert server.pid == server_of(blue).pid != os.getpid()
    assert (tmp_path / "server.log").read_text() == f"imported {server.pid}\n", "once"
    assert "COLOUR" not in server.environ()
    assert os.getpgid(green.pid) == green.pid, "what it starts can be ended with it"
    for process in (green, blue):
        process.kill()
        assert await process.wait() == process.returncode == -signal.SIGKILL


async def test_what_python_reads_at_its_start_is_that_of_each_service(starts: Starts) -> None:
    plain, other = [await starts.start("green", PYTHONHASHSEED=seed) for seed in ("1", "2")]
    assert server_of(plain).pid != server_of(other).pid
    assert server_of(other).environ()["PYTHONHASHSEED"] == "2"
    for process in (plain, other):
        process.kill()
        await process.wait()


async def test_the_end_of_a_fork_is_that_of_its_program(starts: Starts) -> None:
    red, green = await starts.start("red"), await starts.start("green")
    assert await red.wait() == 3
    assert (await starts.text(0)).endswith("not red\n")
    assert green.returncode is None
    green.terminate()
    assert await green.wait() == -signal.SIGTERM


async def test_changed_code_is_what_the_next_start_runs(
    starts: Starts, forks: Forks, program: Path
) -> None:
    old = await starts.start("green")
    server = server_of(old)
    program.write_text(PROGRAM.replace("VERSION = 1", "VERSION = 22"))
    new = await starts.start("green")
    assert (await starts.text(1)).startswith("22 green")
    assert old.returncode is None, "what runs goes on"
    old.terminate()
    assert await old.wait() == -signal.SIGTERM

    async def gone() -> bool:
        return not is_alive(server.pid)

    assert await eventually(gone), "nothing needs it any more"
    new.kill()
    await new.wait()


async def test_what_runs_goes_on_where_its_code_is_gone(starts: Starts, program: Path) -> None:
    old = await starts.start("green")
    program.unlink()
    new = await starts.start("blue")
    assert await new.wait() == 1
    assert "No module named" in await starts.text(1)
    assert old.returncode is None
    old.kill()
    assert await old.wait() == -signal.SIGKILL


async def test_the_end_of_a_server_is_that_of_its_forks_and_the_next_start_works(
    starts: Starts,
) -> None:
    first = await starts.start("green")
    server_of(first).kill()
    assert await first.wait() == -signal.SIGKILL
    second = await starts.start("blue")
    assert (await starts.text(1)).startswith("1 blue")
    second.kill()
    await second.wait()


def test_after_the_end_of_a_server_the_next_start_works_on_the_loop_of_the_runtime(
    program: Path, tmp_path: Path
) -> None:
    async def start_twice() -> str:
        forks = Forks(tmp_path / "server.log")
        starts = Starts(forks, program)
        first = await starts.start("blue")
        server_of(first).kill()
        await first.wait()
        for _ in range(10):  # turns of the loop, in which it closes the socket
            await asyncio.sleep(0)
        second = await starts.start("green")
        text = await starts.text(1)
        second.kill()
        await second.wait()
        await forks.close()
        return text

    assert "green" in uvloop.run(start_twice())


async def test_a_program_that_cannot_be_imported_says_so_in_the_log_of_the_service(
    starts: Starts, program: Path
) -> None:
    program.write_text("import no_such_module\n")
    failed = await starts.start("green")
    assert await failed.wait() == 1
    assert "No module named 'no_such_module'" in await starts.text(0)
