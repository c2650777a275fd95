"""However slow Kubernetes and the others are, an event is answered, and work ends."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import stamina

from tests.function.jobs.test_job_launcher_answers import MADE, deploy, send
from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.job_world import World, asked, queue_locked
from tests.support.kubernetes_peer import SILENCE, Say, kube_peer

NOTHING: dict[str, Any] = {"items": []}


async def test_an_event_is_answered_while_kubernetes_says_nothing(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    async with kube_peer(tmp_path, Say(SILENCE)) as peer:
        world = deploy(cluster, functions_database, peer, KUBERNETES_TIMEOUT_S="60")
        began = time.monotonic()
        await send(cluster, asked("e1"))
        assert time.monotonic() - began < 30

        async def is_known() -> bool:
            return world.types() == ["queued"]

        await eventually(is_known)
        await cluster.crash("job-launcher")  # it would wait for Kubernetes


async def test_work_on_a_kubernetes_that_says_nothing_ends(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    async with kube_peer(tmp_path, Say(SILENCE)) as peer:
        timeout = {"TIMEOUT_SECONDS": "2", "KUBERNETES_TIMEOUT_S": "60"}
        world = deploy(cluster, functions_database, peer, **timeout)
        with stamina.set_testing(True, attempts=3):
            await world.tell(asked("e1"))

        (job,) = await world.jobs()
        assert job["state"] == "queued"
        assert job["reason"] == "Kubernetes did not answer in the time that there was"
        assert len(peer.requests) == 1, "it is not asked again without time"


async def test_an_event_waits_for_others_no_longer_than_it_may(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    async with kube_peer(tmp_path, Say(201, body=MADE)) as peer:
        world = deploy(cluster, functions_database, peer, TIMEOUT_SECONDS="2")
        newer = asked("e1", supersede="pr 1")
        async with queue_locked(functions_database):
            answer = await world.tell(newer)

        assert answer.status_code == 503
        assert "another transaction holds the queue of Jobs" in answer.json()["detail"]
        assert (await world.tell(newer)).status_code == 202


async def succeeded(world: World, *ids: str) -> Say:
    """These events' Jobs, which are launched first, as Kubernetes lists them at their end."""
    for id in ids:
        await world.tell(asked(id, task=id))
    items = [
        {
            "metadata": {
                "name": job["job_id"],
                "annotations": {"jobs.dsm.io/cause": f"/tests#{job['cause']['id']}"},
            },
            "status": {"conditions": [{"type": "Complete", "status": "True"}]},
        }
        for job in await world.jobs()
    ]
    return Say(200, body={"items": items})


async def test_what_a_sweep_saw_before_kubernetes_failed_is_reported(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    async with kube_peer(tmp_path, Say(201, body=MADE)) as peer:
        world = deploy(cluster, functions_database, peer)
        jobs = await succeeded(world, "e1")
        # The Jobs, the pods of the one that ended, and then all pods, which fails.
        peer.answers[:] = [jobs, Say(200, body=NOTHING), Say(500, "etcd")]

        await world.sweep()

        assert world.types() == ["queued", "started", "succeeded"]
        assert json.loads(world.facts[-1].data)["job_id"] == (await world.jobs())[0]["job_id"]


async def test_a_sweep_without_time_leaves_the_rest_to_the_next(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    async with kube_peer(tmp_path, Say(201, body=MADE)) as peer:
        world = deploy(cluster, functions_database, peer, TIMEOUT_SECONDS="6")
        jobs = await succeeded(world, "e1", "e2")
        for ended in (1, 2):
            peer.answers[:] = [jobs, Say(200, body=NOTHING)]
            await world.sweep()

            states = [job["state"] for job in await world.jobs()]
            assert states.count("succeeded") == ended
