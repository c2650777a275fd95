"""What the containers beside an agent do at SIGTERM, as real processes."""

from __future__ import annotations

import asyncio
import os
import sys
from dataclasses import replace
from typing import Any

from functions.agent_pod.environment import Places
from functions.job_launcher.kubernetes import workspace
from tests.support import eventually
from tests.support.agent_world import CHANGED, WANTED, AgentWorld
from tests.support.listening import listening


async def container(places: Places, does: str) -> asyncio.subprocess.Process:
    environ = {
        "PATH": os.environ["PATH"],
        "REPOSITORY_DIR": str(places.repository),
        "OUTPUTS_FILE": str(places.outputs),
        "COLLECTED_DIR": str(places.collected),
        "GRANT_FILE": str(places.grant),
        "AGENT_OUTPUTS_URL": places.outputs_url,
        "JOB_NAME": places.job,
    }
    command = [sys.executable, "-m", "functions.agent_pod", does]
    return await asyncio.create_subprocess_exec(*command, env=environ)


async def test_an_agent_that_ends_as_soon_as_it_may_begin_loses_nothing(agents: AgentWorld) -> None:
    pod = await agents.pod()
    await pod.prepare()
    pod.commit(CHANGED)
    pod.says(WANTED)
    sidecar = await container(pod.places, "collect")

    async def has_started() -> bool:
        return (pod.places.collected / workspace.STARTED).exists()

    await eventually(has_started, every_s=0.001)
    sidecar.terminate()
    assert await asyncio.wait_for(sidecar.wait(), 60) == 0
    await agents.cluster.relayed()
    assert len(agents.pulls) == 1


async def test_what_a_start_before_has_left_lets_no_agent_begin(agents: AgentWorld) -> None:
    pod = await agents.pod()
    (pod.places.collected / workspace.STARTED).touch()
    environ = {"PATH": os.environ["PATH"], "COLLECTED_DIR": str(pod.places.collected)}
    command = [sys.executable, "-m", "functions.agent_pod", "collect"]
    failed = await asyncio.create_subprocess_exec(*command, env=environ)
    assert await asyncio.wait_for(failed.wait(), 60) == 1, "it knows not where anything is"
    assert not (pod.places.collected / workspace.STARTED).exists()


async def test_a_workspace_that_is_being_prepared_ends_at_once(agents: AgentWorld) -> None:
    asked = asyncio.Event()

    async def never_answers(scope: Any, receive: Any, send: Any) -> None:
        asked.set()
        while (await receive())["type"] != "http.disconnect":
            pass

    pod = await agents.pod()
    async with listening(never_answers) as url:
        preparing = await container(replace(pod.places, outputs_url=url), "prepare")
        await asyncio.wait_for(asked.wait(), 60)
        preparing.terminate()
        # By itself: the first process of a container is not ended by a signal.
        assert await asyncio.wait_for(preparing.wait(), 60) == 143
