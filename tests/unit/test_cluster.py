"""Each answer of the Kubernetes API has a defined outcome, and words that a user understands."""

from __future__ import annotations

import asyncio
import threading
import time
from pathlib import Path

import pytest

from functions.kit.clients import Cluster
from functions.kit.clients.kubernetes import Change, ClusterSettings, Forbidden
from functions.kit.errors import Conflict, FunctionError, NotFound, PermanentError, TemporaryError
from tests.support import eventually
from tests.support.kubernetes_peer import SILENCE, KubePeer, Say, kube_peer

JOB = {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "a"}}
NO_RIGHT = (
    'jobs.batch is forbidden: User "system:serviceaccount:dsm:job-launcher" cannot create '
    'resource "jobs" in API group "batch" in the namespace "agents"'
)


def cluster_of(peer: KubePeer, timeout_s: float = 5) -> Cluster:
    return Cluster(
        ClusterSettings(
            kubernetes_namespace="agents",
            kubeconfig=peer.kubeconfig,
            kubernetes_timeout_s=timeout_s,
        )
    )


@pytest.mark.parametrize(
    ("say", "error", "message"),
    [
        pytest.param(
            Say(403, NO_RIGHT), Forbidden, "service account may not create jobs in agents", id="403"
        ),
        pytest.param(
            Say(403, 'jobs.batch "a" is forbidden: exceeded quota: pods'),
            Forbidden,
            "the quota of namespace agents is used up",
            id="quota",
        ),
        pytest.param(
            Say(404, 'namespaces "agents" not found'),
            NotFound,
            "namespace agents does not exist",
            id="no namespace",
        ),
        pytest.param(
            Say(409, 'jobs.batch "a" already exists'), Conflict, "already exists", id="409"
        ),
        pytest.param(
            Say(422, 'Job.batch "a" is invalid: spec.template: Required value'),
            PermanentError,
            "spec.template: Required value",
            id="422",
        ),
        pytest.param(Say(400, "not JSON"), PermanentError, "not JSON", id="400"),
        pytest.param(Say(429, "slow down"), TemporaryError, r"busy \(429\) slow down", id="429"),
        pytest.param(Say(500, "etcd"), TemporaryError, "Kubernetes: 500 etcd", id="500"),
        pytest.param(Say(503, "later"), TemporaryError, "Kubernetes: 503 later", id="503"),
        pytest.param(Say(0), TemporaryError, "Kubernetes cannot be reached", id="closed"),
        pytest.param(Say(401), TemporaryError, "the token is wrong or has expired", id="401"),
    ],
)
async def test_an_answer_becomes_an_error_with_a_reason(
    tmp_path: Path, say: Say, error: type[FunctionError], message: str
) -> None:
    async with kube_peer(tmp_path, say) as peer:
        with pytest.raises(error, match=message):
            await cluster_of(peer).create("jobs", JOB)


async def test_a_creation_that_may_have_arrived_is_not_repeated(tmp_path: Path) -> None:
    async with kube_peer(tmp_path, Say(0)) as peer:
        with pytest.raises(TemporaryError):
            await cluster_of(peer).create("jobs", JOB)

        assert peer.requests == ["POST /apis/batch/v1/namespaces/agents/jobs"]


async def test_retry_after_is_how_long_to_wait(tmp_path: Path) -> None:
    async with kube_peer(tmp_path, Say(429, headers={"Retry-After": "7"})) as peer:
        with pytest.raises(TemporaryError) as caught:
            await cluster_of(peer).create("jobs", JOB)

        assert caught.value.delay_s == 7


async def test_an_expired_token_is_read_again(tmp_path: Path) -> None:
    async with kube_peer(tmp_path, Say(200, body=JOB), Say(401), Say(200, body=JOB)) as peer:
        cluster = cluster_of(peer)
        await cluster.get("batch/v1", "jobs", "a")
        peer.write_token("second")

        assert (await cluster.get("batch/v1", "jobs", "a"))["kind"] == "Job"
        assert peer.tokens == ["Bearer first", "Bearer first", "Bearer second"]


async def test_a_list_is_read_page_by_page(tmp_path: Path) -> None:
    first = {"items": [{"a": 1}], "metadata": {"continue": "more"}}
    async with kube_peer(tmp_path, Say(200, body=first), Say(200, body={"items": [2]})) as peer:
        assert await cluster_of(peer).list("batch/v1", "jobs", "x=y") == [{"a": 1}, 2]
        assert "labelSelector=x%3Dy" in peer.requests[0]
        assert "continue=more" in peer.requests[1]


async def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    async with kube_peer(tmp_path, Say(404, 'jobs.batch "a" not found')) as peer:
        with pytest.raises(NotFound, match="job a does not exist in agents"):
            await cluster_of(peer).delete("batch/v1", "jobs", "a")


async def test_a_process_without_a_kubeconfig_or_token_says_what_is_missing() -> None:
    with pytest.raises(TemporaryError, match="set KUBECONFIG"):
        await Cluster(ClusterSettings()).get("batch/v1", "jobs", "a")


async def test_a_call_takes_no_longer_than_there_is_time(tmp_path: Path) -> None:
    async with kube_peer(tmp_path, Say(SILENCE)) as peer:
        began = time.monotonic()
        with pytest.raises(TemporaryError, match="in the time that there was"):
            await cluster_of(peer, 60).until(began + 0.3).list("batch/v1", "jobs")

        assert time.monotonic() - began < 30


async def test_without_any_time_nothing_is_asked(tmp_path: Path) -> None:
    async with kube_peer(tmp_path, Say(200, body={"items": []})) as peer:
        cluster = cluster_of(peer)
        with pytest.raises(TemporaryError, match="in the time that there was"):
            await cluster.until(time.monotonic()).list("batch/v1", "jobs")
        assert peer.requests == []

        assert await cluster.list("batch/v1", "jobs") == []


async def test_a_watch_yields_each_change_until_its_reader_leaves(tmp_path: Path) -> None:
    async with kube_peer(tmp_path, Say(200)) as peer:
        watch = cluster_of(peer).watch("batch/v1", "jobs", "x=y", for_s=60)
        first = asyncio.ensure_future(anext(watch))
        await peer.change("jobs", "ADDED", JOB)
        assert await first == Change("ADDED", JOB)

        second = asyncio.ensure_future(anext(watch))
        await peer.change("jobs", "DELETED", JOB)
        assert (await second).type == "DELETED"

        waiting = asyncio.ensure_future(anext(watch))
        waiting.cancel()
        await asyncio.wait([waiting])
        await eventually(_no_reader)


async def _no_reader() -> bool:
    return not [one for one in threading.enumerate() if one.name == "kubernetes-watch"]


@pytest.mark.parametrize(
    ("say", "error"),
    [(Say(403, NO_RIGHT), Forbidden), (Say(0), TemporaryError), (Say(503), TemporaryError)],
    ids=["403", "closed", "503"],
)
async def test_a_watch_that_is_refused_says_why(
    tmp_path: Path, say: Say, error: type[FunctionError]
) -> None:
    async with kube_peer(tmp_path, say) as peer:
        peer.watches = False
        with pytest.raises(error):
            await anext(cluster_of(peer).watch("batch/v1", "jobs", "x=y", for_s=60))


async def test_a_watch_whose_history_is_gone_is_lost(tmp_path: Path) -> None:
    async with kube_peer(tmp_path, Say(200)) as peer:
        watch = cluster_of(peer).watch("batch/v1", "jobs", "x=y", for_s=60)
        first = asyncio.ensure_future(anext(watch))
        await peer.change("jobs", "ERROR", {"code": 410, "reason": "Expired"})
        with pytest.raises(TemporaryError, match="Expired"):
            await first
