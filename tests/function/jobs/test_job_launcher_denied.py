"""What Kubernetes says of one Job stops that one; only what is true of all stops all."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.events.webhook import JobCancelRequested
from functions.kit import cloudevents
from tests.function.jobs.test_job_launcher_answers import (
    MADE,
    NO_RIGHT,
    NOTHING,
    deploy,
    send,
    serve,
)
from tests.support.cluster import Cluster
from tests.support.job_world import World, asked, queue_locked
from tests.support.kubernetes_peer import KubePeer, Say, kube_peer

DENIED = (
    'admission webhook "validation.gatekeeper.sh" denied the request: [allowed-repos] container '
    "<agent> has an invalid image repo; image tag cannot be latest"
)
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Clocked:
    """A launcher whose clock goes on a minute with each sweep."""

    def __init__(self, cluster: Cluster, database: str, peer: KubePeer) -> None:
        self.world = deploy(cluster, database, peer)
        self._database = database
        self._now = BEGIN
        serve(cluster, database, peer, now=lambda: self._now)

    async def claim(self, *requests: cloudevents.Message) -> None:
        """All are in the queue before the first is looked at."""
        async with queue_locked(self._database):
            for one in requests:
                await send(self.world.cluster, one)
        await self.world.cluster.relayed()

    async def minutes(self, count: int) -> None:
        for _ in range(count):
            self._now += timedelta(seconds=61)
            await self.world.sweep()

    async def states(self) -> dict[str, str]:
        return {job["task_id"]: job["state"] for job in await self.world.jobs()}


def judging(denied: Say) -> Any:
    """Kubernetes says this of Jobs with `poison` in their name, and makes the others."""

    def judge(request: str, body: Any) -> Say:
        if request.startswith("GET"):
            return Say(200, body=NOTHING)
        if request.startswith("DELETE"):
            return Say(200)
        return denied if "poison" in body["metadata"]["name"] else Say(201, body=MADE)

    return judge


@pytest.mark.parametrize(
    "denied",
    [Say(403, DENIED), Say(403, 'jobs "x" is forbidden: exceeded quota: q')],
    ids=["admission", "quota"],
)
async def test_one_job_that_is_forbidden_holds_up_its_own_group_only(
    cluster: Cluster, functions_database: str, tmp_path: Path, denied: Say
) -> None:
    async with kube_peer(tmp_path, Say(200)) as peer:
        peer.judge = judging(denied)
        launcher = Clocked(cluster, functions_database, peer)

        await launcher.claim(
            asked("e1", task="poison", group="a"),
            asked("e2", task="behind", group="a"),
            asked("e3", task="good", group="b"),
        )

        assert await launcher.states() == {
            "poison": "queued",
            "behind": "queued",
            "good": "starting",
        }
        poison = (await launcher.world.jobs(task="poison"))[0]
        assert denied.message[:100] in poison["reason"], "in Kubernetes' own words"


async def test_what_admission_denies_ten_times_has_failed_and_frees_its_group(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    async with kube_peer(tmp_path, Say(200)) as peer:
        peer.judge = judging(Say(403, DENIED))
        launcher = Clocked(cluster, functions_database, peer)
        await launcher.claim(
            asked("e1", task="poison", group="a"), asked("e2", task="behind", group="a")
        )

        await launcher.minutes(8)
        assert (await launcher.states())["poison"] == "queued"
        await launcher.minutes(2)

        assert await launcher.states() == {"poison": "failed", "behind": "starting"}
        (fact,) = launcher.world.emitted("failed")
        assert "image tag cannot be latest" in fact["message"]


@pytest.mark.parametrize(
    "emitted",
    [Say(403, NO_RIGHT), Say(404, 'namespaces "agents" not found'), Say(429), Say(503)],
    ids=lambda say: str(say.status),
)
async def test_what_is_true_of_all_is_asked_once_a_round(
    cluster: Cluster, functions_database: str, tmp_path: Path, emitted: Say
) -> None:
    async with kube_peer(tmp_path, emitted) as peer:
        launcher = Clocked(cluster, functions_database, peer)

        await launcher.claim(asked("e1", task="one", group="a"), asked("e2", task="two", group="b"))

        assert await launcher.states() == {"one": "queued", "two": "queued"}
        assert len(peer.requests) == 1


async def test_a_cancelled_job_that_has_not_begun_is_asked_for_its_pods_once(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    async with kube_peer(tmp_path, Say(200)) as peer:
        peer.judge = judging(Say(403))
        launcher = Clocked(cluster, functions_database, peer)
        await launcher.claim(asked("e1", task="one", group="a"))
        assert await launcher.states() == {"one": "starting"}
        peer.requests.clear()

        await launcher.world.tell(JobCancelRequested(task_id="one"))

        assert await launcher.states() == {"one": "cancelled"}
        assert [one.partition(" ")[0] for one in peer.requests] == ["GET", "DELETE"]


async def test_an_end_that_is_on_its_way_is_waited_for(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    async with kube_peer(tmp_path, Say(200)) as peer:
        peer.judge = judging(Say(403))
        launcher = Clocked(cluster, functions_database, peer)
        await launcher.claim(asked("e1", task="one"))

        await launcher.minutes(1)
        assert await launcher.states() == {"one": "starting"}
        await launcher.minutes(1)

        assert await launcher.states() == {"one": "failed"}
        assert launcher.world.emitted("failed")[0]["reason"] == "Gone"


__all__ = ["Clocked", "World"]


async def test_a_job_whose_pod_a_quota_refuses_says_so(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    expected_text = 'pods "x" is forbidden: exceeded quota: agents, requested: limits.cpu=2'
    made: list[Any] = []

    def judge(request: str, body: Any) -> Say:
        if request.startswith("POST"):
            made.append({**body, "metadata": {**body["metadata"], "uid": "u"}})
            return Say(201, body=made[-1])
        if "/events" in request:
            assert "involvedObject.kind%3DJob" in request
            name = made[0]["metadata"]["name"]
            about = {"involvedObject": {"name": name}, "reason": "FailedCreate"}
            older = {**about, "message": "older", "lastTimestamp": "2025-12-31T00:00:00Z"}
            newer = {**about, "message": expected_text, "lastTimestamp": "2026-01-01T00:00:00Z"}
            return Say(200, body={"items": [newer, older]})
        jobs = [job for job in made if job["kind"] == "Job"]
        return Say(200, body={"items": jobs} if "/jobs" in request else NOTHING)

    async with kube_peer(tmp_path, Say(200, body=NOTHING)) as peer:
        peer.judge = judge
        clocked = Clocked(cluster, functions_database, peer)
        await clocked.claim(asked("e1"))
        await clocked.minutes(1)
        (job,) = await clocked.world.jobs()
        assert (job["state"], job["reason"]) == ("starting", f"FailedCreate: {expected_text}")
