"""What the journeys look for in their functions' logs is found where it is."""

from __future__ import annotations

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
from tests.support.local_knative import ROOT
from tests.support.watched import WATCH, found_in

ENVIRON = {
    "FUNCTION_TARGET": "offender",
    "FUNCTION_SOURCE": str(Path(offender.__file__)),
    "PYTHONPATH": WATCH,
}


async def of_a_process(folder: Path) -> str:
    """What the offender writes in a process of its own."""
    async with served(**ENVIRON) as (process, url), httpx.AsyncClient(timeout=60) as client:
        assert (await client.post(url, json={})).status_code == 200
        process.terminate()
        output, errors = await process.communicate()
    return (output + errors).decode()


async def of_a_fork(folder: Path) -> str:
    """The same of a fork, as the local Knative starts functions."""
    forks, log, port = Forks(folder / "server.log"), folder / "log", free_port()
    environ = {**os.environ, **ENVIRON, "PORT": str(port), "SERVER_HOST": "127.0.0.1"}
    launch = Launch([], environ, ROOT, Fork("functions.kit.process.serve:main"))
    instance = Instance(await forks.spawn(launch, log), port, 0)
    await await_ready(instance, None, 60)
    async with httpx.AsyncClient(timeout=60, trust_env=False) as client:
        assert (await client.post(f"http://127.0.0.1:{port}", json={})).status_code == 200
    await instance.stop(60)
    await forks.close()
    return log.read_text()


@pytest.mark.parametrize("output_of", [of_a_process, of_a_fork])
async def test_a_held_event_loop_and_calls_inside_a_transaction_are_found(
    output_of: Callable[[Path], Awaitable[str]], tmp_path: Path
) -> None:
    found = found_in(await output_of(tmp_path))
    for message in ("a call to http://127.0.0.1:1/ while", "a call to Kubernetes while"):
        assert any(message in line for line in found), found
    held = [line for line in found if "was held" in line]
    assert len(held) == 2, found
    assert all("offender.py" in line for line in held), found
