"""The API's answers: objects, conflicts, selectors, patches, deletion, discovery."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.local.kube_server import (
    CONFIG_MAPS,
    JOBS,
    PING_SOURCES,
    PODS,
    conditions,
    finished,
    job,
    kube_client,
    make_kube,
    pods_of,
    python,
)
from tests.support import eventually

LONG = "x" * 64
MERGE = {"content-type": "application/merge-patch+json"}


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with kube_client(tmp_path) as client:
        yield client


def config_map(name: str = "conf", **metadata: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, **metadata},
        "data": {"a": "1"},
    }


def ping_source(**spec: Any) -> dict[str, Any]:
    sink = {"ref": {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "default"}}
    return {
        "apiVersion": "sources.knative.dev/v1",
        "kind": "PingSource",
        "metadata": {"name": "tick"},
        "spec": {"schedule": "30 8 * * *", "sink": sink, **spec},
    }


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


@pytest.mark.parametrize(
    ("method", "path", "body", "code", "reason", "words"),
    [
        ("GET", f"{JOBS}/none", None, 404, "NotFound", 'jobs.batch "none" not found'),
        ("DELETE", f"{JOBS}/none", None, 404, "NotFound", 'jobs.batch "none" not found'),
        ("PUT", f"{JOBS}/none", job("none"), 404, "NotFound", 'jobs.batch "none" not found'),
        ("GET", "/apis/batch/v1/namespaces/dsm/cronjobs", None, 404, "NotFound", "requested"),
        ("GET", "/nowhere", None, 404, "NotFound", "requested resource"),
        (
            "POST",
            "/apis/batch/v1/namespaces/nope/jobs",
            job(),
            404,
            "NotFound",
            'namespaces "nope" not found',
        ),
        ("POST", CONFIG_MAPS, config_map("taken"), 409, "AlreadyExists", "already exists"),
        ("POST", JOBS, job("Upper"), 422, "Invalid", "RFC 1123"),
        ("POST", JOBS, job(LONG), 422, "Invalid", "no more than 63"),
        ("POST", JOBS, {"metadata": {"name": "a"}}, 422, "Invalid", "containers: Required value"),
        ("POST", JOBS, {"spec": {}}, 422, "Invalid", "name or generateName is required"),
        (
            "POST",
            JOBS,
            job("a", pod={"restartPolicy": "Always"}),
            422,
            "Invalid",
            'restartPolicy: Unsupported value: "Always": supported values: "OnFailure", "Never"',
        ),
        ("POST", JOBS, job("a", parallelism=2), 422, "Invalid", "only 1 is supported"),
        ("POST", JOBS, job("a", completions=3), 422, "Invalid", "only 1 is supported"),
        ("POST", JOBS, job("a", backoffLimit=-1), 422, "Invalid", "greater than or equal to 0"),
        ("POST", JOBS, job("a", backoffLimit="6"), 400, "BadRequest", "cannot unmarshal string"),
        ("POST", JOBS, job("a", podFailurePolicy={}), 422, "Invalid", "not supported"),
        (
            "POST",
            JOBS,
            job("a", pod={"container": {"volumeMounts": [{"name": "v", "mountPath": "/v"}]}}),
            422,
            "Invalid",
            'volumeMounts[0].name: Not found: "v"',
        ),
        (
            "POST",
            CONFIG_MAPS,
            config_map("a", labels={"l": "no spaces"}),
            422,
            "Invalid",
            "a valid label",
        ),
        (
            "POST",
            CONFIG_MAPS,
            {"metadata": {"name": "a"}, "data": {"k": 1}},
            400,
            "BadRequest",
            "number",
        ),
        ("POST", CONFIG_MAPS, job(), 400, "BadRequest", "does not match the expected"),
        (
            "POST",
            CONFIG_MAPS,
            config_map("a", namespace="agents"),
            400,
            "BadRequest",
            "does not match the namespace sent on the request",
        ),
        ("POST", CONFIG_MAPS, [1], 400, "BadRequest", "must be a JSON object"),
        ("POST", PODS, {"metadata": {"name": "a"}}, 405, "MethodNotAllowed", "does not allow"),
        ("PUT", CONFIG_MAPS, config_map(), 405, "MethodNotAllowed", "does not allow"),
        ("GET", f"{JOBS}?labelSelector=a~b", None, 400, "BadRequest", "unable to parse"),
        ("GET", f"{JOBS}?fieldSelector=spec.x=1", None, 400, "BadRequest", "not supported"),
        (
            "POST",
            PING_SOURCES,
            ping_source(schedule="@every 1s"),
            400,
            "BadRequest",
            "denied the request: validation failed: invalid value: @every 1s: spec.schedule",
        ),
        ("POST", PING_SOURCES, ping_source(timezone="Mars"), 400, "BadRequest", "Mars"),
        (
            "POST",
            PING_SOURCES,
            ping_source(data="{", contentType="application/json"),
            400,
            "BadRequest",
            "spec.data",
        ),
    ],
)
async def test_a_refusal_is_a_status_with_code_reason_and_words(
    client: httpx.AsyncClient,
    method: str,
    path: str,
    body: object,
    code: int,
    reason: str,
    words: str,
) -> None:
    await client.post(CONFIG_MAPS, json=config_map("taken"))
    answer = await client.request(method, path, json=body)
    status = answer.json()
    assert (answer.status_code, status["code"], status["reason"]) == (code, code, reason)
    assert (status["kind"], status["apiVersion"], status["status"]) == ("Status", "v1", "Failure")
    assert words in status["message"]


@pytest.mark.parametrize(
    ("method", "path", "content"),
    [
        ("POST", CONFIG_MAPS, b"{"),
        ("POST", CONFIG_MAPS, b"\xff"),
        ("POST", CONFIG_MAPS, b'{"metadata": {"name": "a", "labels": {"x": NaN}}}'),
        ("POST", CONFIG_MAPS, b'{"metadata": {"name": "a"}, "data": {"x": "\\ud800"}}'),
        ("POST", CONFIG_MAPS, b"[" * 100_000),
        ("DELETE", f"{CONFIG_MAPS}/taken", b"[1]"),
        ("DELETE", f"{CONFIG_MAPS}/taken", b'{"preconditions": 1}'),
        ("DELETE", f"{CONFIG_MAPS}/taken", b'{"gracePeriodSeconds": []}'),
    ],
)
async def test_a_body_that_cannot_be_read_is_refused(
    client: httpx.AsyncClient, method: str, path: str, content: bytes
) -> None:
    await client.post(CONFIG_MAPS, json=config_map("taken"))
    answer = await client.request(method, path, content=content)
    assert (answer.status_code, answer.json()["reason"]) == (400, "BadRequest")


async def test_a_body_over_three_mebibytes_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.post(CONFIG_MAPS, content=b" " * (3 * 1024 * 1024 + 1))
    assert (answer.status_code, answer.json()["reason"]) == (413, "RequestEntityTooLarge")


async def test_an_invalid_object_names_every_wrong_field(client: httpx.AsyncClient) -> None:
    answer = await client.post(JOBS, json=job("a", backoffLimit=-1, parallelism=2))
    causes = answer.json()["details"]["causes"]
    assert {cause["field"] for cause in causes} == {"spec.backoffLimit", "spec.parallelism"}


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


@pytest.mark.parametrize(
    ("kind", "change", "data"),
    [
        ("application/merge-patch+json", {"data": {"a": None, "b": "2"}}, {"b": "2"}),
        ("application/strategic-merge-patch+json", {"data": {"b": "2"}}, {"a": "1", "b": "2"}),
        (
            "application/json-patch+json",
            [
                {"op": "test", "path": "/data/a", "value": "1"},
                {"op": "move", "from": "/data/a", "path": "/data/c"},
                {"op": "add", "path": "/data/b", "value": "2"},
            ],
            {"b": "2", "c": "1"},
        ),
        ("application/apply-patch+yaml", {"data": {"b": "2"}}, {"a": "1", "b": "2"}),
    ],
)
async def test_a_patch_changes_what_it_names(
    client: httpx.AsyncClient, kind: str, change: object, data: dict[str, str]
) -> None:
    await client.post(CONFIG_MAPS, json=config_map())
    answer = await client.patch(f"{CONFIG_MAPS}/conf", json=change, headers={"content-type": kind})
    assert (answer.status_code, answer.json()["data"]) == (200, data)


@pytest.mark.parametrize(
    ("kind", "change", "code"),
    [
        ("application/json-patch+json", {"data": {}}, 400),
        ("application/json-patch+json", [{"op": "remove", "path": "/data/none"}], 422),
        ("application/json-patch+json", [{"op": "test", "path": "/data/a", "value": "9"}], 422),
        ("application/merge-patch+json", [1], 400),
        ("application/json", {"data": {}}, 415),
        ("application/merge-patch+json", {"metadata": {"uid": "other"}}, 409),
        ("application/merge-patch+json", {"metadata": {"resourceVersion": "1"}}, 409),
    ],
)
async def test_a_patch_that_does_not_fit_is_refused(
    client: httpx.AsyncClient, kind: str, change: object, code: int
) -> None:
    await client.post(CONFIG_MAPS, json=config_map())
    answer = await client.patch(f"{CONFIG_MAPS}/conf", json=change, headers={"content-type": kind})
    assert answer.status_code == code, answer.text


async def test_server_side_apply_creates_what_is_not_there(client: httpx.AsyncClient) -> None:
    yaml = b"apiVersion: v1\nkind: ConfigMap\nmetadata: {name: conf}\ndata: {a: '1'}\n"
    for code in (201, 200):
        answer = await client.patch(
            f"{CONFIG_MAPS}/conf?fieldManager=me",
            content=yaml,
            headers={"content-type": "application/apply-patch+yaml"},
        )
        assert (answer.status_code, answer.json()["data"]) == (code, {"a": "1"})


async def test_a_dry_run_answers_and_changes_nothing(client: httpx.AsyncClient) -> None:
    answer = await client.post(f"{CONFIG_MAPS}?dryRun=All", json=config_map())
    assert answer.status_code == 201
    assert (await client.get(f"{CONFIG_MAPS}/conf")).status_code == 404


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("labelSelector=app=dsm", ["a", "b"]),
        ("labelSelector=app!=dsm", ["c", "d"]),
        ("labelSelector=app", ["a", "b", "c"]),
        ("labelSelector=!app", ["d"]),
        ("labelSelector=app in (dsm,other),tier=1", ["a", "c"]),
        ("labelSelector=tier notin (1)", ["b", "d"]),
        ("fieldSelector=metadata.name=b", ["b"]),
        ("fieldSelector=metadata.name!=b,metadata.namespace=dsm", ["a", "c", "d"]),
        ("labelSelector=app=dsm&fieldSelector=metadata.name=b", ["b"]),
    ],
)
async def test_a_list_keeps_to_its_selectors(
    client: httpx.AsyncClient, query: str, names: list[str]
) -> None:
    for name, labels in {
        "a": {"app": "dsm", "tier": "1"},
        "b": {"app": "dsm"},
        "c": {"app": "other", "tier": "1"},
        "d": {},
    }.items():
        await client.post(CONFIG_MAPS, json=config_map(name, labels=labels))
    body = (await client.get(f"{CONFIG_MAPS}?{query}")).json()
    assert body["kind"] == "ConfigMapList"
    assert [one["metadata"]["name"] for one in body["items"]] == names


async def test_a_long_list_comes_in_pages(client: httpx.AsyncClient) -> None:
    for number in range(5):
        await client.post(CONFIG_MAPS, json=config_map(f"c{number}"))
    names: list[str] = []
    params: dict[str, str] = {"limit": "2"}
    while True:
        body = (await client.get(CONFIG_MAPS, params=params)).json()
        names += [one["metadata"]["name"] for one in body["items"]]
        if "continue" not in body["metadata"]:
            break
        params["continue"] = body["metadata"]["continue"]
    assert names == [f"c{number}" for number in range(5)]


async def test_a_list_without_namespace_has_all_namespaces(client: httpx.AsyncClient) -> None:
    for namespace in ("dsm", "agents"):
        await client.post(f"/api/v1/namespaces/{namespace}/configmaps", json=config_map())
    body = (await client.get("/api/v1/configmaps")).json()
    assert [one["metadata"]["namespace"] for one in body["items"]] == ["agents", "dsm"]


async def test_items_of_a_list_have_their_type_only_in_custom_resources(
    client: httpx.AsyncClient,
) -> None:
    await client.post(CONFIG_MAPS, json=config_map())
    await client.post(PING_SOURCES, json=ping_source())
    (built_in,) = (await client.get(CONFIG_MAPS)).json()["items"]
    (custom,) = (await client.get(PING_SOURCES)).json()["items"]
    assert "kind" not in built_in
    assert custom["kind"] == "PingSource"


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
