"""What a caller gets who cancels, or who asks for what is unknown."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from functions.events.webhook import JobCancelRequested
from tests.function.jobs.test_job_launcher_answers import MADE, deploy
from tests.support import webhook_requests as make
from tests.support.cluster import Cluster
from tests.support.job_world import asked
from tests.support.kubernetes_peer import Say, kube_peer
from tests.support.webhook_requests import post


async def emitted(
    client: httpx.AsyncClient, *command: str, id: str | None = None
) -> tuple[int, str]:
    body = {"command": command[0], "args": list(command[1:]), "options": {}}
    answer = await post(client, make.from_agent(body, "cli", id=id))
    return answer.status_code, str(answer.json().get("message") or answer.json()["detail"])


async def test_a_cancellation_says_what_it_stops(
    cluster: Cluster, functions_database: str, tmp_path: Path, receiver: httpx.AsyncClient
) -> None:
    async with kube_peer(tmp_path, Say(201, body=MADE)) as peer:
        world = deploy(cluster, functions_database, peer)
        await world.tell(asked("e1", task="t"))
        (job,) = await world.jobs()
        id = job["job_id"]

        assert await emitted(receiver, "cancel_job", id) == (202, "cancelling is asked for")
        assert await emitted(receiver, "cancel_task", "t") == (202, "cancelling is asked for")
        status, message = await emitted(receiver, "cancel_job", "nobody")
        assert (status, message) == (404, "no such job: nobody")
        status, message = await emitted(receiver, "cancel_task", "nobody")
        assert (status, message.partition(";")[0]) == (202, "nothing is known of this task")

        await emitted(receiver, "cancel_job", id, id="mine")
        await world.tell(JobCancelRequested(job=id))
        assert await emitted(receiver, "cancel_job", id) == (409, f"job {id} has ended: cancelled")
        again = await emitted(receiver, "cancel_job", id, id="mine")
        assert again == (202, "this delivery was accepted before")
        status, message = await emitted(receiver, "cancel_task", "t")
        assert (status, message.partition(":")[0]) == (202, "all jobs of this task have ended")


async def test_a_cancellation_is_taken_while_the_launcher_is_away(
    receiver: httpx.AsyncClient,
) -> None:
    assert await emitted(receiver, "cancel_job", "j") == (202, "cancelling is asked for")


async def test_an_agent_that_no_route_serves_is_refused(receiver: httpx.AsyncClient) -> None:
    answer = await post(
        receiver, make.from_cli("create_task", "Fix it", service="shop", agent_type="gemini")
    )

    assert answer.status_code == 400
    assert answer.json()["detail"] == "agent_type: no route serves gemini: there are claude"


@pytest.mark.parametrize("name", ["kind", "at", "self", "path", "query", "limit"])
async def test_no_name_or_size_of_an_option_is_our_failure(
    cluster: Cluster,
    functions_database: str,
    tmp_path: Path,
    receiver: httpx.AsyncClient,
    name: str,
) -> None:
    async with kube_peer(tmp_path, Say(201, body=MADE)) as peer:
        deploy(cluster, functions_database, peer)
        for command in ("list_jobs", "get_job_logs"):
            for value in ("x", True, "9" * 400, "9" * 5000, -1):
                body = {"command": command, "args": ["j"], "options": {name: value}}
                answer = await post(receiver, make.from_agent(body, "cli"))
                assert answer.status_code < 500, (command, name, value, answer.text)
