"""A revision goes from zero to one process and back, and tells why when it cannot."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from knative.local import log_file
from knative.local.access import Access
from knative.local.environment import Launch
from knative.local.faults import Faults, Targets
from knative.local.gateway import Gateway
from knative.local.instance import Instance, NotReadyError, free_port, spawn
from knative.local.manifests.load import World
from knative.local.manifests.serving import KnativeService, RevisionTemplate
from knative.local.outside import Outside
from knative.local.revision import Limits, OverdueError, Revision, State
from tests.support import eventually
from tests.support.kube_server import is_alive
from tests.support.local_knative import ROOT

Make = Callable[..., Revision]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    made: list[tuple[Revision, asyncio.Task[None]]] = []

    def build(
        env: dict[str, str] | None = None, annotations: dict[str, str] | None = None, **spec: Any
    ) -> Revision:
        container = {"image": "echo", "readinessProbe": {"httpGet": {"path": "/health"}}}
        service = KnativeService.model_validate(
            {
                "apiVersion": "serving.knative.dev/v1",
                "kind": "Service",
                "metadata": {"name": "echo", "namespace": "dsm"},
                "spec": {
                    "template": {
                        "metadata": {"annotations": annotations or {}},
                        "spec": {"containers": [container], **spec},
                    }
                },
            }
        )

        def launch(port: int) -> Launch:
            argv = ["python", "-m", "tests.support.echo"]
            variables = {**os.environ, **(env or {}), "PORT": str(port)}
            return Launch(argv, variables, ROOT)

        revision = Revision(service, launch, tmp_path / "echo.log", Limits(ready_s=20, idle_s=0.4))
        made.append((revision, asyncio.create_task(revision.run())))
        return revision

    yield build
    for revision, task in made:
        task.cancel()
        await revision.close()


def soon(seconds: float) -> float:
    return asyncio.get_running_loop().time() + seconds


async def test_requests_at_the_same_time_share_one_start(make: Make) -> None:
    revision = make()

    async def request() -> int:
        async with revision.lease(soon(60)) as instance:
            return instance.pid

    pids = await asyncio.gather(*(request() for _ in range(5)))
    assert len(set(pids)) == 1
    assert (revision.counts.starts, revision.counts.requests) == (1, 5)


async def test_a_start_that_fails_tells_the_last_message_and_is_not_repeated_at_once(
    make: Make,
) -> None:
    revision = make({"CRASH": "no such table"})
    for _ in range(2):
        with pytest.raises(NotReadyError) as failed:
            async with revision.lease(soon(60)):
                pass
        assert str(failed.value) == (
            "service echo cannot start: it ended with exit code 1: RuntimeError: no such table"
        )
    assert (revision.counts.starts, revision.state) == (1, State.FAILED)


async def test_who_waits_longer_than_timeout_seconds_for_a_start_is_overdue(make: Make) -> None:
    revision = make({"SLOW_START_S": "2"})
    with pytest.raises(OverdueError):
        async with revision.lease(soon(0.2)):
            pass
    async with revision.lease(soon(60)) as instance:  # the start itself went on
        assert instance.alive
    assert revision.counts.starts == 1


async def test_a_process_that_dies_is_started_anew_at_once(make: Make) -> None:
    revision = make()
    async with revision.lease(soon(60)) as instance:
        first = instance.pid
    os.kill(first, signal.SIGKILL)

    async def dead() -> bool:
        return revision.counts.crashes == 1

    assert await eventually(dead)
    async with revision.lease(soon(60)) as instance:
        assert instance.pid != first


async def test_an_idle_process_is_stopped(make: Make) -> None:
    revision = make()
    await revision.start()

    async def zero() -> bool:
        return revision.state is State.ZERO and revision.pid is None

    assert await eventually(zero)
    assert revision.counts.crashes == 0


@pytest.mark.parametrize(
    ("annotations", "kept_s"), [({}, 60), ({"autoscaling.knative.dev/window": "2m30s"}, 150)]
)
def test_an_idle_process_is_kept_for_its_autoscaling_window(
    annotations: dict[str, str], kept_s: float
) -> None:
    body = {"metadata": {"annotations": annotations}, "spec": {"containers": [{"image": "i"}]}}
    assert RevisionTemplate.model_validate(body).window_s == kept_s


async def test_a_busy_process_is_not_idle(make: Make) -> None:
    revision = make()
    async with revision.lease(soon(60)) as instance:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(instance.process.wait(), 1.0)


async def test_min_scale_keeps_a_process_without_any_request(make: Make) -> None:
    revision = make(annotations={"autoscaling.knative.dev/min-scale": "1"})

    async def up() -> int | None:
        return revision.pid if revision.state is State.READY else None

    first = await eventually(up)
    assert first
    os.kill(first, signal.SIGKILL)

    async def another() -> bool:
        return await up() not in (None, first)

    assert await eventually(another)


async def test_the_log_of_a_running_process_is_bounded(make: Make, tmp_path: Path) -> None:
    revision = make(annotations={"autoscaling.knative.dev/min-scale": "1"})

    async def is_up() -> bool:
        return revision.state is State.READY

    await eventually(is_up)
    pid, log, before = revision.pid, tmp_path / "echo.log", tmp_path / "echo.log.1"
    os.truncate(log, log_file.MAX_BYTES + 1)  # as if it had written so much

    async def is_bounded() -> bool:
        return before.exists() and log.stat().st_size < log_file.MAX_BYTES

    assert await eventually(is_bounded)
    assert before.stat().st_size > log_file.MAX_BYTES
    assert revision.pid == pid, "it goes on"


async def test_a_request_whose_client_hung_up_is_let_go(make: Make) -> None:
    revision = make(containerConcurrency=1)

    gateway = _gateway(revision)
    hung_up = asyncio.Event()

    async def receive() -> dict[str, Any]:
        await hung_up.wait()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        raise AssertionError("nobody is there")

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b"sleep_s=60"}
    scope["headers"] = [(b"host", b"echo.dsm.localhost")]
    requests = [asyncio.create_task(gateway(dict(scope), receive, send)) for _ in range(2)]

    async def one_runs_and_one_waits() -> bool:
        return revision.in_flight == 2 and revision.state is State.READY

    await eventually(one_runs_and_one_waits)
    hung_up.set()
    async with asyncio.timeout(60):
        await asyncio.gather(*requests)
    assert revision.in_flight == 0
    await gateway.close()


async def test_a_request_whose_process_is_starting_when_all_stops_is_answered(make: Make) -> None:
    revision = make({"SLOW_START_S": "30"})
    gateway = _gateway(revision)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError("nobody hangs up")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": b""}
    scope["headers"] = [(b"host", b"echo.dsm.localhost")]
    request = asyncio.create_task(gateway(scope, receive, send))

    async def starting() -> bool:
        return revision.state is State.STARTING

    await eventually(starting)
    await revision.close()
    async with asyncio.timeout(60):
        await request
    assert (sent[0]["status"], sent[1]["body"]) == (503, b"the local Knative is stopping")
    await gateway.close()


@pytest.mark.parametrize(
    ("limits", "query", "status", "whole"),
    [
        ({"responseStartTimeoutSeconds": 1}, "sleep_s=9", 504, True),
        ({"responseStartTimeoutSeconds": 1}, "every_s=0.6", 200, True),
        ({"idleTimeoutSeconds": 1}, "every_s=0.6", 200, True),
        ({"idleTimeoutSeconds": 1}, "every_s=9", 200, False),
        ({"timeoutSeconds": 1}, "every_s=0.6", 200, False),
    ],
)
async def test_a_first_byte_a_pause_and_the_whole_have_limits_of_their_own(
    make: Make, limits: dict[str, int], query: str, status: int, whole: bool
) -> None:
    revision = make(**limits)
    await revision.start()
    gateway = _gateway(revision)
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError("nobody hangs up")

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {"type": "http", "method": "GET", "path": "/", "query_string": query.encode()}
    scope["headers"] = [(b"host", b"echo.dsm.localhost")]
    async with asyncio.timeout(60):
        if whole:
            await gateway(scope, receive, send)
        else:
            with pytest.raises(ConnectionAbortedError):
                await gateway(scope, receive, send)
    assert sent[0]["status"] == status
    await gateway.close()


def _gateway(revision: Revision) -> Gateway:
    hosts, outside = {"echo.dsm.localhost": revision}, Outside(World(()), {})
    return Gateway(
        hosts,
        _unused,
        _unused,
        _unused,
        Access("token", "inside"),
        outside,
        Faults(_unused, Targets({}, {})),
    )


async def _unused(*_: Any) -> None:
    raise AssertionError("goes to the Service")


async def test_no_first_byte_is_waited_for_longer_than_a_stock_installation_does(
    make: Make,
) -> None:
    """Serving writes responseStartTimeoutSeconds 300 wherever timeoutSeconds is above that."""
    assert make(timeoutSeconds=600).response_start_s == 300
    assert make(timeoutSeconds=600, responseStartTimeoutSeconds=600).response_start_s == 600
    assert make(timeoutSeconds=60).response_start_s == 60


def test_no_port_is_given_out_twice_in_a_row() -> None:
    ports = [free_port() for _ in range(500)]
    assert len(set(ports)) == 500


async def test_what_a_process_started_ends_with_it(tmp_path: Path) -> None:
    code = (
        "import subprocess, sys, time\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "print(child.pid, flush=True)\n"
        "time.sleep(600)\n"
    )
    log = tmp_path / "log"
    launch = Launch([sys.executable, "-c", code], dict(os.environ), ROOT)
    instance = Instance(await spawn(launch, log), 0, 0.0)

    async def child() -> int:
        return int(log.read_text() or 0)

    pid = await eventually(child)
    await instance.stop(grace_s=5)

    async def gone() -> bool:
        return not is_alive(pid)

    assert await eventually(gone)
