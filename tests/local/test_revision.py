"""A revision goes from zero to one process and back, and tells why when it cannot."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from knative.local.environment import REPOSITORY, Launch
from knative.local.instance import NotReadyError
from knative.local.manifests.serving import KnativeService
from knative.local.revision import Limits, OverdueError, Revision, State
from tests.support import eventually

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
            argv = ["python", "-m", "tests.local.echo"]
            variables = {**os.environ, **(env or {}), "PORT": str(port)}
            return Launch(argv, variables, REPOSITORY)

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
        async with revision.lease(soon(20)) as instance:
            return instance.pid

    pids = await asyncio.gather(*(request() for _ in range(5)))
    assert len(set(pids)) == 1
    assert (revision.counts.starts, revision.counts.requests) == (1, 5)


async def test_a_start_that_fails_tells_the_last_words_and_is_not_repeated_at_once(
    make: Make,
) -> None:
    revision = make({"CRASH": "no such table"})
    for _ in range(2):
        with pytest.raises(NotReadyError) as failed:
            async with revision.lease(soon(20)):
                pass
        assert str(failed.value) == (
            "service echo cannot start: it ended with exit code 1: RuntimeError: no such table"
        )
    assert (revision.counts.starts, revision.state) == (1, State.FAILED)


async def test_who_waits_longer_than_timeout_seconds_for_a_start_is_overdue(make: Make) -> None:
    revision = make({"SLOW_START_S": "1"})
    with pytest.raises(OverdueError):
        async with revision.lease(soon(0.2)):
            pass
    async with revision.lease(soon(20)) as instance:  # the start itself went on
        assert instance.alive
    assert revision.counts.starts == 1


async def test_a_process_that_dies_is_started_anew_at_once(make: Make) -> None:
    revision = make()
    async with revision.lease(soon(20)) as instance:
        first = instance.pid
    os.kill(first, signal.SIGKILL)

    async def dead() -> bool:
        return revision.counts.crashes == 1

    assert await eventually(dead)
    async with revision.lease(soon(2)) as instance:
        assert instance.pid != first


async def test_an_idle_process_is_stopped(make: Make) -> None:
    revision = make()
    await revision.start()

    async def zero() -> bool:
        return revision.state is State.ZERO and revision.pid is None

    assert await eventually(zero)
    assert revision.counts.crashes == 0


async def test_a_busy_process_is_not_idle(make: Make) -> None:
    revision = make()
    async with revision.lease(soon(20)) as instance:
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
