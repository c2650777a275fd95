"""Jobs run as local processes with the Job controller's semantics."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from tests.support import eventually
from tests.support.kube_server import (
    JOBS,
    PODS,
    conditions,
    finished,
    job,
    kube_client,
    log_of,
    pods_of,
    python,
    start,
)


async def test_a_job_runs_its_command_and_completes(client: httpx.AsyncClient) -> None:
    await start(client, job("one", *python("print('hello from the job')")))
    done = await finished(client)
    assert conditions(done) == {
        "SuccessCriteriaMet": "CompletionsReached",
        "Complete": "CompletionsReached",
    }
    assert done["status"]["succeeded"] == 1
    assert "active" not in done["status"]
    assert done["status"]["startTime"] <= done["status"]["completionTime"]
    assert await log_of(client) == "hello from the job\n"


async def test_a_pod_carries_its_jobs_labels_and_owner(client: httpx.AsyncClient) -> None:
    await start(client, job())
    done = await finished(client)
    (pod,) = await pods_of(client)
    uid = done["metadata"]["uid"]
    assert pod["metadata"]["labels"] == {
        "batch.kubernetes.io/controller-uid": uid,
        "batch.kubernetes.io/job-name": "one",
        "controller-uid": uid,
        "job-name": "one",
    }
    assert pod["metadata"]["ownerReferences"][0]["uid"] == uid
    assert pod["metadata"]["name"].startswith("one-")
    assert pod["status"]["phase"] == "Succeeded"
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (0, "Completed")


async def test_a_job_fails_once_more_pods_failed_than_its_backoff_limit(
    client: httpx.AsyncClient,
) -> None:
    await start(client, job("one", *python("raise SystemExit(3)"), backoffLimit=2))
    done = await finished(client)
    assert conditions(done)["Failed"] == "BackoffLimitExceeded"
    assert done["status"]["failed"] == 3
    assert "completionTime" not in done["status"]
    pods = await pods_of(client)
    ends = [p["status"]["containerStatuses"][0]["state"]["terminated"] for p in pods]
    assert [(end["exitCode"], end["reason"]) for end in ends] == [(3, "Error")] * 3


async def test_a_job_that_fails_once_and_then_succeeds_is_complete(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    code = (
        f"import pathlib; p = pathlib.Path({str(tmp_path / 'seen')!r}); "
        "seen = p.exists(); p.touch(); raise SystemExit(0 if seen else 1)"
    )
    await start(client, job("one", *python(code), backoffLimit=2))
    done = await finished(client)
    assert "Complete" in conditions(done)
    assert (done["status"]["failed"], done["status"]["succeeded"]) == (1, 1)


async def test_on_failure_restarts_the_container_in_its_pod(
    client: httpx.AsyncClient, tmp_path: Path
) -> None:
    code = (
        f"import pathlib; p = pathlib.Path({str(tmp_path / 'seen')!r}); "
        "seen = p.exists(); p.touch(); print(seen); raise SystemExit(0 if seen else 1)"
    )
    await start(client, job("one", *python(code), pod={"restartPolicy": "OnFailure"}))
    done = await finished(client)
    assert "Complete" in conditions(done)
    assert "failed" not in done["status"]
    (pod,) = await pods_of(client)
    status = pod["status"]["containerStatuses"][0]
    assert status["restartCount"] == 1
    assert status["lastState"]["terminated"]["exitCode"] == 1
    name = pod["metadata"]["name"]
    previous = await client.get(f"{PODS}/{name}/log", params={"previous": "true"})
    assert (previous.text, await log_of(client)) == ("False\n", "True\n")


async def test_on_failure_fails_at_the_backoff_limit(client: httpx.AsyncClient) -> None:
    await start(
        client,
        job("one", *python("exit(1)"), backoffLimit=2, pod={"restartPolicy": "OnFailure"}),
    )
    done = await finished(client)
    assert conditions(done)["Failed"] == "BackoffLimitExceeded"


async def test_a_deadline_ends_a_job_that_hangs(client: httpx.AsyncClient) -> None:
    await start(client, job("one", "sleep", "60", activeDeadlineSeconds=1))
    done = await finished(client)
    assert conditions(done)["Failed"] == "DeadlineExceeded"
    assert await pods_of(client) == []


async def test_ttl_removes_the_job_and_its_pods(client: httpx.AsyncClient) -> None:
    await start(client, job("one", ttlSecondsAfterFinished=0))

    async def is_gone() -> bool:
        return (await client.get(f"{JOBS}/one")).status_code == 404

    await eventually(is_gone)
    assert await pods_of(client) == []


async def test_a_suspended_job_has_no_pod_until_it_is_resumed(client: httpx.AsyncClient) -> None:
    await start(client, job("one", suspend=True))

    async def is_suspended() -> bool:
        return "Suspended" in conditions((await client.get(f"{JOBS}/one")).json())

    await eventually(is_suspended)
    assert await pods_of(client) == []
    await client.patch(
        f"{JOBS}/one",
        json={"spec": {"suspend": False}},
        headers={"content-type": "application/merge-patch+json"},
    )
    assert "Complete" in conditions(await finished(client))


async def test_a_queue_of_kueue_has_room_for_every_job(client: httpx.AsyncClient) -> None:
    asked = job("one", suspend=True)
    asked["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "agents"}
    await start(client, asked)
    assert "Complete" in conditions(await finished(client))


@pytest.mark.parametrize(
    ("command", "image", "because"),
    [
        pytest.param(["no-such-agent", "-p"], "agents/agent:1", "no 'no-such-agent'", id="command"),
        pytest.param([], "agents/agent:1", "names no command", id="image"),
    ],
)
async def test_what_cannot_run_here_is_recorded_only_and_says_so(
    client: httpx.AsyncClient, command: list[str], image: str, because: str
) -> None:
    await start(client, job("one", pod={"container": {"command": command, "image": image}}))
    done = await finished(client)
    assert "Complete" in conditions(done)
    (pod,) = await pods_of(client)
    assert because in pod["status"]["message"]
    assert because in pod["metadata"]["annotations"]["local.knative.dev/recorded-only"]
    assert because in await log_of(client)


async def test_our_own_image_runs_its_entrypoint(client: httpx.AsyncClient) -> None:
    container = {"command": None, "image": "dsm/functions:latest"}
    await start(client, job("one", pod={"container": container}))
    await finished(client)
    assert await log_of(client) == "our entrypoint\n"


async def test_a_container_over_its_memory_limit_is_killed(client: httpx.AsyncClient) -> None:
    container = {
        "command": list(python("x = b'x' * 200_000_000; import time; time.sleep(60)")),
        "resources": {"limits": {"memory": "100Mi"}},
    }
    await start(client, job("one", backoffLimit=0, pod={"container": container}))
    await finished(client)
    (pod,) = await pods_of(client)
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert (ended["exitCode"], ended["reason"]) == (137, "OOMKilled")


async def test_more_jobs_than_places_all_run(tmp_path: Path) -> None:
    names = [f"job-{number}" for number in range(8)]
    async with kube_client(tmp_path, max_pods=2) as client:
        for name in names:
            await start(client, job(name, *python("print('ran')")))
        for name in names:
            assert "Complete" in conditions(await finished(client, name))


async def test_a_failing_init_container_fails_the_pod(client: httpx.AsyncClient) -> None:
    prepare = {"name": "prepare", "image": "busybox:1", "command": ["false"]}
    await start(client, job("one", backoffLimit=0, pod={"initContainers": [prepare]}))
    assert conditions(await finished(client))["Failed"] == "BackoffLimitExceeded"


async def test_a_message_of_the_end_may_come_from_the_log(client: httpx.AsyncClient) -> None:
    container = {
        "command": list(python("raise SystemExit('no such task: 7')")),
        "terminationMessagePolicy": "FallbackToLogsOnError",
    }
    await start(client, job("one", backoffLimit=0, pod={"container": container}))
    await finished(client)
    (pod,) = await pods_of(client)
    ended = pod["status"]["containerStatuses"][0]["state"]["terminated"]
    assert ended["message"] == "no such task: 7\n"
