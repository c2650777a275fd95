"""What a Job needs next, as a table: the Job controller's rules without a clock or a process."""

from __future__ import annotations

from typing import Any

import pytest

from knative.local.kube import pod_status
from knative.local.kube.job_spec import with_defaults
from knative.local.kube.jobs import TRACKING, plan
from knative.local.kube.timestamps import stamp
from tests.support.kube_server import conditions, job

NOW = 1_800_000_000.0


def a_job(status: dict[str, Any] | None = None, **spec: Any) -> dict[str, Any]:
    body = with_defaults(job("one", **spec), "uid")
    return {**body, "status": status or {}}


def a_pod(phase: str, *, ended_s_ago: float = 0, counted: bool = False, **extra: Any) -> Any:
    state = {"terminated": {"finishedAt": stamp(NOW - ended_s_ago)}}
    if phase in ("Running", "Pending"):
        state = {"running": {}}
    return {
        "metadata": {"name": "p", "finalizers": [] if counted else [TRACKING], **extra},
        "status": {
            "phase": phase,
            "conditions": [],
            "containerStatuses": [{"state": state, "restartCount": extra.get("restarts", 0)}],
        },
    }


def failures(count: int, ended_s_ago: float = 0) -> list[Any]:
    return [a_pod("Failed", counted=True, ended_s_ago=ended_s_ago) for _ in range(count)]


def test_a_new_job_gets_a_pod_and_a_start_time() -> None:
    decided = plan(a_job(), [], NOW)
    assert decided.create
    assert decided.status["startTime"] == stamp(NOW)


def test_a_job_with_a_running_pod_gets_no_second_one() -> None:
    decided = plan(a_job(), [a_pod("Running")], NOW)
    assert not decided.create
    assert decided.status["active"] == 1


def test_an_end_is_counted_once() -> None:
    pod = a_pod("Failed")
    decided = plan(a_job(), [pod], NOW)
    assert (decided.count, decided.status["failed"]) == ((pod,), 1)
    again = plan({**a_job(), "status": decided.status}, failures(1), NOW)
    assert (again.count, again.status["failed"]) == ((), 1)


@pytest.mark.parametrize(
    ("failed", "pause_s"), [(1, 10), (2, 20), (3, 40), (4, 80), (6, 320), (7, 360), (20, 360)]
)
def test_the_pause_after_a_failure_doubles_up_to_six_minutes(failed: int, pause_s: float) -> None:
    body = a_job({"failed": failed}, backoffLimit=50)
    early = plan(body, failures(1, pause_s - 1), NOW)
    assert not early.create
    assert early.wake_s == 1
    assert plan(body, failures(1, pause_s), NOW).create


def test_a_failure_beyond_the_limit_ends_the_job() -> None:
    decided = plan(a_job({"failed": 2}, backoffLimit=2), [a_pod("Failed")], NOW)
    assert conditions({"status": decided.status}) == {
        "FailureTarget": "BackoffLimitExceeded",
        "Failed": "BackoffLimitExceeded",
    }


def test_a_job_fails_only_when_its_last_pod_has_ended() -> None:
    body = a_job({"startTime": stamp(NOW - 10)}, activeDeadlineSeconds=5)
    pod = a_pod("Running")
    first = plan(body, [pod], NOW)
    assert first.delete == (pod,)
    assert conditions({"status": first.status}) == {"FailureTarget": "DeadlineExceeded"}
    going = a_pod("Running", deletionTimestamp=stamp(NOW))
    second = plan({**body, "status": first.status}, [going], NOW)
    assert (second.delete, second.status["terminating"]) == ((), 1)
    last = plan({**body, "status": second.status}, [], NOW)
    assert conditions({"status": last.status})["Failed"] == "DeadlineExceeded"


def test_the_deadline_is_waited_for() -> None:
    body = a_job({"startTime": stamp(NOW - 10)}, activeDeadlineSeconds=15)
    assert plan(body, [a_pod("Running")], NOW).wake_s == 5


def test_a_success_completes_the_job() -> None:
    decided = plan(a_job({"startTime": stamp(NOW - 5)}), [a_pod("Succeeded")], NOW)
    assert decided.status["completionTime"] == stamp(NOW)
    assert set(conditions({"status": decided.status})) == {"SuccessCriteriaMet", "Complete"}


def test_a_finished_job_stays_as_it_is_until_its_ttl() -> None:
    done = plan(a_job(ttlSecondsAfterFinished=30), [a_pod("Succeeded")], NOW)
    body = {**a_job(ttlSecondsAfterFinished=30), "status": done.status}
    later = plan(body, [], NOW + 29)
    assert (later.remove, later.wake_s, later.status) == (False, 1, done.status)
    assert plan(body, [], NOW + 30).remove


def test_a_deleted_job_makes_no_more_pods() -> None:
    body = a_job()
    body["metadata"]["deletionTimestamp"] = stamp(NOW)
    assert not plan(body, [], NOW).create


def test_a_suspended_job_ends_its_pod_and_forgets_its_start() -> None:
    pod = a_pod("Running")
    decided = plan(a_job({"startTime": stamp(NOW)}, suspend=True), [pod], NOW)
    assert (decided.delete, decided.count) == ((pod,), (pod,)), "not counted at its end"
    assert not {"failed", "succeeded"} & set(decided.status)
    assert "startTime" not in decided.status
    assert conditions({"status": decided.status}) == {"Suspended": "JobSuspended"}


@pytest.mark.parametrize(("policy", "creates"), [("TerminatingOrFailed", True), ("Failed", False)])
def test_the_replacement_policy_says_whether_to_wait_for_the_old_pod(
    policy: str, creates: bool
) -> None:
    going = a_pod("Running", deletionTimestamp=stamp(NOW))
    assert plan(a_job(podReplacementPolicy=policy), [going], NOW).create is creates


def test_a_pod_whose_containers_had_completed_is_not_lost() -> None:
    entry = pod_status.container_status(
        {"name": "main", "image": "i"}, pod_status.terminated(0, stamp(NOW))
    )
    pod = {"spec": {"containers": []}, "status": {"phase": "Running", "containerStatuses": [entry]}}
    assert pod_status.lost(pod)["phase"] == "Succeeded"
