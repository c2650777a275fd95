"""Deletion: what goes with an object, what holds it, what is left."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.support import eventually
from tests.support.kube_server import (
    CONFIG_MAPS,
    JOBS,
    PODS,
    config_map,
    finished,
    job,
    pods_of,
    python,
)

MERGE = {"content-type": "application/merge-patch+json"}


async def hanging_job(client: httpx.AsyncClient, *command: str) -> dict[str, Any]:
    """A Job that is running, and its pod."""
    await client.post(JOBS, json=job("one", *(command or ("sleep", "60"))))

    async def running() -> dict[str, Any] | None:
        pods = await pods_of(client)
        return pods[0] if pods and pods[0]["status"]["phase"] == "Running" else None

    return await eventually(running) or {}


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
async def test_deleting_a_job_with_its_dependents_ends_its_pod(
    client: httpx.AsyncClient, policy: str
) -> None:
    await hanging_job(client)
    answer = await client.delete(f"{JOBS}/one", params={"propagationPolicy": policy})
    assert answer.status_code == 200
    if policy == "Foreground":
        assert answer.json()["metadata"]["finalizers"] == ["foregroundDeletion"]
    else:
        assert answer.json()["status"] == "Success"
        assert answer.json()["details"]["kind"] == "jobs"

    async def all_gone() -> bool:
        left = (await client.get(f"{JOBS}/one")).status_code, await pods_of(client)
        return left == (404, [])

    await eventually(all_gone)


async def test_a_job_deleted_without_a_policy_leaves_its_pod(client: httpx.AsyncClient) -> None:
    pod = await hanging_job(client, *python("import time; time.sleep(0.5); print('to the end')"))
    answer = await client.delete(f"{JOBS}/one")
    assert "child pods are preserved by default" in answer.headers["warning"]

    async def ended() -> bool:
        body = (await client.get(f"{PODS}/{pod['metadata']['name']}")).json()
        return bool(body["status"]["phase"] == "Succeeded")

    await eventually(ended)
    left = (await client.get(f"{PODS}/{pod['metadata']['name']}")).json()
    assert "ownerReferences" not in left["metadata"]
    assert "finalizers" not in left["metadata"]


async def test_a_deleted_pod_gets_sigterm_first_and_is_replaced(client: httpx.AsyncClient) -> None:
    pod = await hanging_job(client)
    await client.delete(f"{PODS}/{pod['metadata']['name']}")

    async def replaced() -> bool:
        pods = await pods_of(client)
        return [p["status"]["phase"] for p in pods] == ["Running"] and (
            pods[0]["metadata"]["uid"] != pod["metadata"]["uid"]
        )

    await eventually(replaced)
    body = (await client.get(f"{JOBS}/one")).json()
    assert body["status"]["failed"] == 1
    await client.delete(f"{JOBS}/one", params={"propagationPolicy": "Background"})


async def test_a_process_that_ignores_sigterm_is_killed_after_its_grace(
    client: httpx.AsyncClient,
) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(60)"
    pod = await hanging_job(client, *python(code))
    name = pod["metadata"]["name"]

    async def is_up() -> bool:
        return "up" in (await client.get(f"{PODS}/{name}/log")).text

    await eventually(is_up)
    await client.delete(f"{JOBS}/one", params={"propagationPolicy": "Orphan"})
    await client.delete(f"{PODS}/{name}", params={"gracePeriodSeconds": "1"})

    async def is_gone() -> bool:
        return (await client.get(f"{PODS}/{name}")).status_code == 404

    await eventually(is_gone)


async def test_a_grace_that_is_shortened_kills_sooner(client: httpx.AsyncClient) -> None:
    code = "import signal, time; signal.signal(15, signal.SIG_IGN); print('up'); time.sleep(600)"
    pod = await hanging_job(client, *python(code))
    name = pod["metadata"]["name"]

    async def is_up() -> bool:
        return "up" in (await client.get(f"{PODS}/{name}/log")).text

    await eventually(is_up)
    await client.delete(f"{JOBS}/one", params={"propagationPolicy": "Orphan"})
    await client.delete(f"{PODS}/{name}", params={"gracePeriodSeconds": "600"})
    await client.delete(f"{PODS}/{name}", params={"gracePeriodSeconds": "1"})

    async def is_gone() -> bool:
        return (await client.get(f"{PODS}/{name}")).status_code == 404

    await eventually(is_gone)


async def test_what_a_job_owns_goes_with_it(client: httpx.AsyncClient) -> None:
    made = (await client.post(JOBS, json=job())).json()
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "one", "uid": made["metadata"]["uid"]}
    await client.post(CONFIG_MAPS, json=config_map(ownerReferences=[owner]))
    await finished(client)
    assert (await client.get(f"{CONFIG_MAPS}/conf")).status_code == 200
    await client.delete(f"{JOBS}/one", params={"propagationPolicy": "Background"})
    assert (await client.get(f"{CONFIG_MAPS}/conf")).status_code == 404


async def test_an_object_of_an_owner_that_is_gone_is_collected(client: httpx.AsyncClient) -> None:
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": "one", "uid": "gone"}
    await client.post(CONFIG_MAPS, json=config_map(ownerReferences=[owner]))
    assert (await client.get(f"{CONFIG_MAPS}/conf")).status_code == 404


async def test_a_finalizer_holds_a_deleted_object(client: httpx.AsyncClient) -> None:
    await client.post(CONFIG_MAPS, json=config_map(finalizers=["dsm.io/hold"]))
    held = (await client.delete(f"{CONFIG_MAPS}/conf")).json()
    assert held["metadata"]["deletionTimestamp"]
    patch = {"metadata": {"finalizers": None}}
    await client.patch(f"{CONFIG_MAPS}/conf", json=patch, headers=MERGE)
    assert (await client.get(f"{CONFIG_MAPS}/conf")).status_code == 404


async def test_a_precondition_that_does_not_hold_is_a_conflict(client: httpx.AsyncClient) -> None:
    await client.post(CONFIG_MAPS, json=config_map())
    body = {"preconditions": {"uid": "other"}}
    answer = await client.request("DELETE", f"{CONFIG_MAPS}/conf", json=body)
    assert (answer.status_code, answer.json()["reason"]) == (409, "Conflict")


async def test_a_collection_is_deleted_by_label(client: httpx.AsyncClient) -> None:
    for name in ("a", "b", "c"):
        labels = {"keep": "yes"} if name == "c" else {"task": "7"}
        await client.post(CONFIG_MAPS, json=config_map(name, labels=labels))
    await client.delete(CONFIG_MAPS, params={"labelSelector": "task=7"})
    left = (await client.get(CONFIG_MAPS)).json()["items"]
    assert [one["metadata"]["name"] for one in left] == ["c"]
