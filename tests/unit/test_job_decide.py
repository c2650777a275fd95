"""The launcher's decisions: the queue, a Job's state, and why a pod ended."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.job_launcher.decide.due_requests import QueuedRequest, decide_queue
from functions.job_launcher.decide.job_status import (
    job_status,
    last_termination,
    outlasts_grace,
    waiting_reason,
)
from functions.job_launcher.outcome import outcome_of, status_of

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATER = NOW + timedelta(seconds=9)


def look(
    *queued: QueuedRequest, active: dict[str, int] | None = None, limit: int = 10
) -> list[str]:
    return decide_queue(queued, active or {}, limit, NOW, group_limit=1).due


def test_the_queue_is_in_order_up_to_the_limit() -> None:
    queued = [QueuedRequest(name, "", None) for name in "abc"]
    assert look(*queued, limit=2) == ["a", "b"]
    assert look(*queued, active={"x": 2}, limit=2) == []


def test_a_full_group_does_not_hold_up_another() -> None:
    queued = (QueuedRequest("a", "g", 1), QueuedRequest("b", "h", 1))
    assert look(*queued, active={"g": 1}) == ["b"]


def test_a_group_has_its_own_limit_or_the_common_one() -> None:
    assert look(*(QueuedRequest(n, "g", 2) for n in "abc")) == ["a", "b"]
    assert look(*(QueuedRequest(n, "g", None) for n in "abc")) == ["a"]


def test_a_request_without_a_group_has_no_group_limit() -> None:
    assert look(*(QueuedRequest(n, "", None) for n in "abc")) == ["a", "b", "c"]


def test_what_waits_for_a_time_holds_up_its_own_group_only() -> None:
    waits = QueuedRequest("a", "g", 5, LATER, "namespace agents does not exist")
    found = decide_queue(
        [waits, QueuedRequest("b", "g", 5), QueuedRequest("c", "h", 5)], {}, 10, NOW
    )
    assert found.due == ["c"]
    assert found.reasons == {"a": "namespace agents does not exist", "b": "behind a of group g"}


def test_every_request_that_is_not_due_says_why() -> None:
    queued = [QueuedRequest(n, "g", 1) for n in "ab"] + [QueuedRequest("c", "", None)]
    found = decide_queue(queued, {"x": 1}, 2, NOW)
    assert found.due == ["a"]
    assert found.reasons == {
        "b": "1 of 1 jobs of group g are active",
        "c": "2 of 2 jobs are active",
    }


def condition(type: str, status: str = "True", **more: str) -> dict[str, Any]:
    return {"type": type, "status": status, "lastTransitionTime": "2026-01-01T00:00:00Z", **more}


@pytest.mark.parametrize(
    ("status", "state"),
    [
        pytest.param({}, "starting", id="new"),
        pytest.param({"active": 1, "ready": 0}, "starting", id="pod pending"),
        pytest.param({"active": 1, "ready": 1}, "running", id="pod runs"),
        pytest.param({"active": 1, "failed": 1}, "running", id="retries remain"),
        pytest.param({"failed": 3, "conditions": []}, "running", id="failed, not yet decided"),
        pytest.param({"conditions": [condition("FailureTarget")]}, "starting", id="about to fail"),
        pytest.param({"conditions": [condition("Complete")]}, "succeeded", id="complete"),
        pytest.param({"conditions": [condition("Failed")]}, "failed", id="failed"),
        pytest.param({"conditions": [condition("Failed", "False")]}, "starting", id="not failed"),
        pytest.param({"conditions": [condition("Suspended")]}, "starting", id="suspended"),
    ],
)
def test_a_jobs_status_is_its_state(status: dict[str, Any], state: str) -> None:
    assert job_status({"status": status}).state == state


def pod(name: str, created: str, **status: Any) -> dict[str, Any]:
    return {"metadata": {"name": name, "creationTimestamp": created}, "status": status}


def ended(code: int, reason: str = "Error", **more: Any) -> dict[str, Any]:
    return {"state": {"terminated": {"exitCode": code, "reason": reason, **more}}}


def test_the_last_pod_says_how_it_ended() -> None:
    pods = [
        pod("new", "2026-01-02", containerStatuses=[ended(137, "OOMKilled", message="Killed")]),
        pod("old", "2026-01-01", containerStatuses=[ended(1)]),
    ]
    found = last_termination(pods)
    assert found is not None
    assert (found.pod, found.reason, found.exit_code) == ("new", "OOMKilled", 137)
    assert found.message == "Killed"


def test_an_init_container_that_failed_is_the_reason() -> None:
    found = last_termination(
        [pod("a", "1", initContainerStatuses=[ended(3)], containerStatuses=[{}])]
    )
    assert found is not None
    assert found.exit_code == 3


def test_an_evicted_pod_has_the_pods_reason() -> None:
    found = last_termination([pod("a", "1", reason="Evicted", message="node was low on memory")])
    assert found is not None
    assert (found.reason, found.exit_code, found.message) == (
        "Evicted",
        None,
        "node was low on memory",
    )


def test_no_pod_says_nothing() -> None:
    assert last_termination([]) is None


def test_a_pod_that_finds_no_node_says_so() -> None:
    unschedulable = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": "0/3 nodes have 4Gi",
    }
    assert waiting_reason(pod("a", "1", conditions=[unschedulable])) == (
        "Unschedulable: 0/3 nodes have 4Gi"
    )


def test_a_pod_on_its_way_is_not_stuck() -> None:
    waiting = {"state": {"waiting": {"reason": "ContainerCreating"}}}
    assert waiting_reason(pod("a", "1", containerStatuses=[waiting])) == ""


@pytest.mark.parametrize(
    ("state", "ending", "agent", "outcome", "status"),
    [
        ("queued", {}, None, None, "pending"),
        ("running", {}, None, None, "in_progress"),
        ("cancelled", {}, None, None, "cancelled"),
        ("failed", {"reason": "NotStarted"}, None, None, "failed"),
        ("failed", {"reason": "DeadlineExceeded"}, None, "pending", "in_progress"),
        ("recorded", {"outcome": "recorded"}, None, "recorded", "recorded"),
        ("succeeded", {}, None, "pending", "in_progress"),
        ("succeeded", {}, {"outcome": "delivered"}, "delivered", "completed"),
        ("failed", {}, {"outcome": "delivered"}, "delivered", "completed"),
        ("succeeded", {}, {"outcome": "undelivered"}, "undelivered", "undelivered"),
        ("failed", {}, {"outcome": "undelivered"}, "undelivered", "failed"),
    ],
)
def test_a_task_is_as_what_came_of_its_newest_job(
    state: str,
    ending: dict[str, str],
    agent: dict[str, str] | None,
    outcome: str | None,
    status: str,
) -> None:
    found = outcome_of(state, ending, agent, gives_outputs=True)
    assert found == outcome
    assert status_of(state, found, None) == status


DISRUPTED = {
    "type": "DisruptionTarget",
    "status": "True",
    "reason": "DeletionByTaintManager",
    "message": "Taint manager: deleting due to NoExecute taint",
}
EVICTED = {"reason": "Evicted", "message": "The node was low on resource: memory."}


@pytest.mark.parametrize(
    ("status", "reason", "message"),
    [
        ({"conditions": [DISRUPTED]}, "DeletionByTaintManager", "NoExecute"),
        (EVICTED, "Evicted", "low on resource"),
        ({**EVICTED, "containerStatuses": [ended(137)]}, "Evicted", "low on resource"),
    ],
)
def test_a_pod_that_was_ended_from_outside_is_lost(
    status: dict[str, Any], reason: str, message: str
) -> None:
    found = last_termination([pod("a", "1", **status)])
    assert found is not None
    assert (found.lost, found.reason, message in found.message) == (True, reason, True)


def test_the_container_that_failed_is_named() -> None:
    setup = {"name": "setup", **ended(2, message="npm: not found")}
    agent = {"name": "agent", "state": {"waiting": {"reason": "PodInitializing"}}}
    clone = {"name": "workspace", **ended(0, "Completed")}
    found = last_termination(
        [pod("a", "1", initContainerStatuses=[clone, setup], containerStatuses=[agent])]
    )
    assert found is not None
    assert (found.container, found.exit_code, found.lost) == ("setup", 2, False)
    assert found.message == "npm: not found"


@pytest.mark.parametrize(
    ("state", "given_s", "after_s", "outlasts"),
    [
        ({"running": {}}, 21600, 601, True),
        ({"running": {}}, 21600, 599, False),
        ({"running": {}}, 30, 601, False),
        ({"terminated": {"exitCode": 0}}, 21600, 601, False),
    ],
)
def test_an_agent_has_its_own_grace(
    state: dict[str, Any], given_s: int, after_s: int, outlasts: bool
) -> None:
    stopped = datetime(2026, 1, 1, tzinfo=UTC)
    one = pod("a", "1", containerStatuses=[{"name": "agent", "state": state}])
    one["metadata"] |= {
        "deletionTimestamp": (stopped + timedelta(seconds=given_s)).isoformat(),
        "deletionGracePeriodSeconds": given_s,
    }
    assert outlasts_grace(one, stopped + timedelta(seconds=after_s), 600) is outlasts
    del one["metadata"]["deletionTimestamp"]
    assert not outlasts_grace(one, stopped + timedelta(days=1), 600)


WAITS: dict[str, Any] = {"waiting": {"reason": "PodInitializing"}}


@pytest.mark.parametrize("name", ["model", "workspace", "setup"])
@pytest.mark.parametrize(
    ("agent", "outlasts"),
    [(WAITS, True), ({}, True), ({"terminated": {"exitCode": 0}}, False)],
)
def test_what_runs_before_an_agent_has_the_grace_of_an_agent(
    name: str, agent: dict[str, Any], outlasts: bool
) -> None:
    """Once the agent has ended, the hours of grace are for what it has left."""
    stopped = datetime(2026, 1, 1, tzinfo=UTC)
    before = [{"name": one, "state": {"running": {}}} for one in ("outputs", name)]
    agents = [{"name": "agent", "state": agent}]
    one = pod("a", "1", initContainerStatuses=before, containerStatuses=agents)
    one["metadata"] |= {
        "deletionTimestamp": (stopped + timedelta(hours=6)).isoformat(),
        "deletionGracePeriodSeconds": 21600,
    }
    assert outlasts_grace(one, stopped + timedelta(seconds=601), 600) is outlasts
    assert not outlasts_grace(one, stopped + timedelta(seconds=599), 600)
