"""The API's answers: objects, conflicts, discovery, where it is and when it ends."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import httpx
import pytest

from knative.local.kube import timestamps
from tests.support.kube_server import (
    CONFIG_MAPS,
    JOBS,
    PING_SOURCES,
    conditions,
    config_map,
    finished,
    job,
    make_kube,
    ping_source,
)


async def test_a_created_object_gets_uid_time_and_version(client: httpx.AsyncClient) -> None:
    answer = await client.post(CONFIG_MAPS, json=config_map())
    assert answer.status_code == 201
    metadata = answer.json()["metadata"]
    assert metadata["namespace"] == "dsm"
    assert len(metadata["uid"]) == 36
    assert metadata["creationTimestamp"].endswith("Z")
    assert int(metadata["resourceVersion"]) > 0
    assert (await client.get(f"{CONFIG_MAPS}/conf")).json() == answer.json()


async def test_resource_versions_grow_over_all_kinds(client: httpx.AsyncClient) -> None:
    first = (await client.post(CONFIG_MAPS, json=config_map())).json()
    second = (await client.post(PING_SOURCES, json=ping_source())).json()
    versions = [int(one["metadata"]["resourceVersion"]) for one in (first, second)]
    assert versions == sorted(versions)


async def test_generate_name_makes_different_names(client: httpx.AsyncClient) -> None:
    body = {"metadata": {"generateName": "run-"}}
    names = {
        (await client.post(CONFIG_MAPS, json=body)).json()["metadata"]["name"] for _ in range(5)
    }
    assert len(names) == 5
    assert all(name.startswith("run-") and len(name) == 9 for name in names)


async def test_a_stale_resource_version_is_a_conflict(client: httpx.AsyncClient) -> None:
    old = (await client.post(CONFIG_MAPS, json=config_map())).json()
    fresh = await client.put(f"{CONFIG_MAPS}/conf", json={**old, "data": {"a": "2"}})
    assert fresh.status_code == 200
    stale = await client.put(f"{CONFIG_MAPS}/conf", json={**old, "data": {"a": "3"}})
    assert (stale.status_code, stale.json()["reason"]) == (409, "Conflict")
    assert "object has been modified" in stale.json()["message"]


async def test_an_update_that_changes_nothing_keeps_its_version(client: httpx.AsyncClient) -> None:
    made = (await client.post(CONFIG_MAPS, json=config_map())).json()
    assert (await client.put(f"{CONFIG_MAPS}/conf", json=made)).json() == made


async def test_a_ping_source_says_when_what_it_defines_was_changed(
    client: httpx.AsyncClient,
) -> None:
    moments = iter(range(0, 1000, 10))
    timestamps.follow(lambda: next(moments))
    try:
        made = (await client.post(PING_SOURCES, json=ping_source())).json()
        path, patched = f"{PING_SOURCES}/{made['metadata']['name']}", list[str]()
        (first,) = made["metadata"]["managedFields"]
        assert "f:spec" in first["fieldsV1"]
        for change in (
            {"metadata": {"labels": {"a": "b"}}},
            {"spec": {"schedule": "7 * * * *"}},
            {"metadata": {"annotations": {"schedules.dsm.io/missed": "all"}}},
        ):
            kind = {"Content-Type": "application/merge-patch+json"}
            answer = await client.patch(path, json=change, headers=kind)
            (owner,) = answer.json()["metadata"]["managedFields"]
            patched.append(owner["time"])
        assert patched[0] == first["time"] < patched[1] < patched[2]
    finally:
        timestamps.follow(time.time)


async def test_the_template_of_a_job_never_changes(client: httpx.AsyncClient) -> None:
    made = (await client.post(JOBS, json=job("one", suspend=True))).json()
    made["spec"]["template"]["spec"]["containers"][0]["image"] = "other"
    del made["metadata"]["resourceVersion"]
    answer = await client.put(f"{JOBS}/one", json=made)
    assert answer.status_code == 422
    assert "spec.template: Invalid value: field is immutable" in answer.json()["message"]


async def test_a_job_is_replaced_by_what_was_read_of_it(client: httpx.AsyncClient) -> None:
    made = (await client.post(JOBS, json=job("one", suspend=True))).json()
    made["metadata"].pop("resourceVersion")
    answer = await client.put(f"{JOBS}/one", json={**made, "spec": {**made["spec"]}})
    assert answer.status_code == 200
    assert answer.json()["metadata"]["generation"] == 1


async def test_a_dry_run_answers_and_changes_nothing(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{CONFIG_MAPS}?dryRun=All", json=config_map())
    assert answer.status_code == 201
    assert (await client.get(f"{CONFIG_MAPS}/conf")).status_code == 404


async def test_the_overlays_namespaces_are_listed(client: httpx.AsyncClient) -> None:
    body = (await client.get("/api/v1/namespaces")).json()
    assert [one["metadata"]["name"] for one in body["items"]] == ["agents", "dsm"]
    one = (await client.get("/api/v1/namespaces/dsm")).json()
    assert one["status"] == {"phase": "Active"}


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/api", "APIVersions"),
        ("/api/v1", "APIResourceList"),
        ("/apis", "APIGroupList"),
        ("/apis/batch", "APIGroup"),
        ("/apis/batch/v1", "APIResourceList"),
        ("/apis/sources.knative.dev/v1", "APIResourceList"),
    ],
)
async def test_discovery_documents_are_served(
    client: httpx.AsyncClient, path: str, kind: str
) -> None:
    assert (await client.get(path)).json()["kind"] == kind


async def test_a_token_is_accepted_and_ignored(client: httpx.AsyncClient) -> None:
    answer = await client.get(JOBS, headers={"authorization": "Bearer anything"})
    assert answer.status_code == 200


async def test_of_many_creates_of_one_name_one_wins(client: httpx.AsyncClient) -> None:
    answers = await asyncio.gather(*(client.post(JOBS, json=job("one")) for _ in range(10)))
    assert sorted(answer.status_code for answer in answers) == [201] + [409] * 9
    assert "Complete" in conditions(await finished(client))


async def test_the_api_may_be_mounted_below_a_path(tmp_path: Path) -> None:
    kube = make_kube(tmp_path)
    await kube.start()
    transport = httpx.ASGITransport(kube, root_path="/kubernetes")
    async with httpx.AsyncClient(transport=transport, base_url="http://local") as client:
        assert (await client.get("/kubernetes/api")).json()["kind"] == "APIVersions"
        assert (await client.get("/kubernetes/healthz")).text == "ok"
    await kube.stop()


async def test_a_stopped_api_says_that_it_is_shutting_down(tmp_path: Path) -> None:
    kube = make_kube(tmp_path)
    await kube.start()
    await kube.stop()
    transport = httpx.ASGITransport(kube)
    async with httpx.AsyncClient(transport=transport, base_url="http://local") as client:
        answer = await client.get(JOBS)
    assert (answer.status_code, answer.json()["reason"]) == (503, "ServiceUnavailable")
