"""What the watch over each journey looks for is found where it is."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import pytest

from knative.local.environment import Launch
from knative.local.forks import Forks
from knative.local.instance import Instance, await_ready, free_port
from knative.local.manifests.images import Fork
from tests.function.contract.test_serve import served
from tests.support import offender
from tests.support.cluster import Cluster
from tests.support.local_knative import ROOT
from tests.support.watched import Findings, watching

ENVIRON = {"FUNCTION_TARGET": "offender", "FUNCTION_SOURCE": str(Path(offender.__file__))}


async def of_a_process(folder: Path) -> None:
    """The offender, in a process of its own."""
    async with served(**ENVIRON) as (process, url), httpx.AsyncClient(timeout=60) as client:
        assert (await client.post(url, json={})).status_code == 200
        process.terminate()
        await process.communicate()


async def of_a_fork(folder: Path) -> None:
    """The same in a fork, as the local Knative starts functions."""
    forks, port = Forks(folder / "server.log"), free_port()
    environ = {**os.environ, **ENVIRON, "PORT": str(port), "SERVER_HOST": "127.0.0.1"}
    launch = Launch([], environ, ROOT, Fork("functions.kit.process.serve:main"))
    instance = Instance(await forks.spawn(launch, folder / "log"), port, 0)
    await await_ready(instance, None, 60)
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        assert (await client.get(f"http://127.0.0.1:{port}/health/live")).status_code == 200
        assert (await client.post(f"http://127.0.0.1:{port}", json={})).status_code == 200
    await instance.stop(60)
    await forks.close()


@pytest.mark.parametrize("run", [of_a_process, of_a_fork])
async def test_a_held_event_loop_and_calls_inside_a_transaction_are_found(
    run: Callable[[Path], Awaitable[None]], findings: Findings, tmp_path: Path
) -> None:
    await run(tmp_path)
    found = findings.take()
    for message in ("a call to http://127.0.0.1:1/ while", "a call to Kubernetes while"):
        assert any(message in line for line in found), found
    held = [line for line in found if "was held" in line]
    assert len(held) == 3, found
    assert sum("slow_import.py" in line for line in held) == 1, found
    assert all("offender.py" in line for line in held), found


async def test_a_loop_of_this_process_is_held_by_a_function_and_by_no_test(
    cluster: Cluster, findings: Findings
) -> None:
    cluster.deploy(offender.worker)
    async with cluster.client("worker") as client:
        assert (await client.post("/", json={})).status_code == 200, "it has its imports"
        findings.take()
        assert (await client.post("/", json={})).status_code == 200
    (found,) = findings.take()
    assert "was held" in found
    assert "offender.py" in found
    await asyncio.create_task(offender.work())
    assert findings.take() == []


async def works_twice(cluster: Cluster) -> None:
    """At first it has its imports."""
    async with cluster.client("worker") as client:
        for _ in range(2):
            assert (await client.post("/", json={})).status_code == 200


async def test_a_finding_fails_what_is_watched(cluster: Cluster) -> None:
    cluster.deploy(offender.worker)
    with pytest.raises(AssertionError, match="was held"), watching():
        await works_twice(cluster)
