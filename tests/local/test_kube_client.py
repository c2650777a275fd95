"""The official Python client works against the local API as against a cluster."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from kubernetes import client as typed_client
from kubernetes import watch as untyped_watch
from kubernetes.client.exceptions import ApiException

from tests.support.kube_server import job, make_kube, python, serving

# Its models make every field optional; the tests say what must be there by looking at it.
k8s: Any = typed_client
k8s_watch: Any = untyped_watch


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Any]:
    async with serving(make_kube(tmp_path)) as url:
        configuration = k8s.Configuration(host=url)
        configuration.api_key = {"authorization": "Bearer laptop"}
        with k8s.ApiClient(configuration) as api:
            yield api


def a_job(name: str, *command: str) -> Any:
    container = k8s.V1Container(name="main", image="busybox:1", command=list(command))
    return k8s.V1Job(
        metadata=k8s.V1ObjectMeta(name=name, labels={"task": "7"}),
        spec=k8s.V1JobSpec(
            backoff_limit=0,
            ttl_seconds_after_finished=600,
            template=k8s.V1PodTemplateSpec(
                spec=k8s.V1PodSpec(restart_policy="Never", containers=[container])
            ),
        ),
    )


def follow_to_the_end(api: Any, name: str) -> list[str]:
    """Watch a Job until it has ended; answers the types of the changes."""
    seen = []
    watch = k8s_watch.Watch()
    for change in watch.stream(
        k8s.BatchV1Api(api).list_namespaced_job,
        "dsm",
        field_selector=f"metadata.name={name}",
        timeout_seconds=20,
    ):
        seen.append(change["type"])
        if change["object"].status.completion_time:
            watch.stop()
    return seen


async def test_a_job_is_created_watched_and_read(api: Any) -> None:
    def story() -> None:
        batch, core = k8s.BatchV1Api(api), k8s.CoreV1Api(api)
        made = batch.create_namespaced_job("dsm", a_job("one", *python("print('hello')")))
        assert made.metadata.uid
        seen = follow_to_the_end(api, "one")
        assert seen[0] == "ADDED"
        assert "MODIFIED" in seen
        done = batch.read_namespaced_job("one", "dsm")
        assert (done.status.succeeded, done.status.conditions[-1].type) == (1, "Complete")
        (found,) = batch.list_namespaced_job("dsm", label_selector="task=7").items
        assert found.metadata.name == "one"
        (pod,) = core.list_namespaced_pod("dsm", label_selector="job-name=one").items
        ended = pod.status.container_statuses[0].state.terminated
        assert (ended.exit_code, ended.reason) == (0, "Completed")
        assert core.read_namespaced_pod_log(pod.metadata.name, "dsm") == "hello\n"

    await asyncio.to_thread(story)


async def test_a_log_is_followed_line_by_line(api: Any) -> None:
    def story() -> list[str]:
        batch, core = k8s.BatchV1Api(api), k8s.CoreV1Api(api)
        code = "import time\nfor n in range(3): print(n); time.sleep(0.2)"
        batch.create_namespaced_job("dsm", a_job("one", *python(code)))
        for change in (watch := k8s_watch.Watch()).stream(
            core.list_namespaced_pod, "dsm", label_selector="job-name=one", timeout_seconds=20
        ):
            if change["object"].status.phase == "Running":
                name = change["object"].metadata.name
                watch.stop()
        lines = k8s_watch.Watch().stream(core.read_namespaced_pod_log, name, "dsm")
        seen = []
        for line in lines:
            seen.append(line)
            if len(seen) == 3:
                break
        return seen

    assert await asyncio.to_thread(story) == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("namespace", "name", "code", "text"),
    [
        pytest.param("dsm", "taken", 409, "AlreadyExists", id="name taken"),
        pytest.param("nope", "one", 404, "nope", id="no namespace"),
        pytest.param("dsm", "Upper", 422, "Invalid", id="invalid name"),
    ],
)
async def test_a_refusal_is_an_api_exception(
    api: Any, namespace: str, name: str, code: int, text: str
) -> None:
    def story() -> ApiException:
        batch = k8s.BatchV1Api(api)
        batch.create_namespaced_job("dsm", a_job("taken", "true"))
        with pytest.raises(ApiException) as refused:
            batch.create_namespaced_job(namespace, a_job(name, "true"))
        return refused.value

    error = await asyncio.to_thread(story)
    assert error.status == code
    assert text in str(error.body)


@pytest.mark.parametrize("policy", ["Background", "Foreground"])
async def test_a_job_is_deleted_with_its_pods(api: Any, policy: str) -> None:
    def story() -> int:
        batch = k8s.BatchV1Api(api)
        batch.create_namespaced_job("dsm", a_job("one", "sleep", "60"))
        asked = False
        for change in (watch := k8s_watch.Watch()).stream(
            batch.list_namespaced_job, "dsm", timeout_seconds=20
        ):
            if not asked and change["object"].status.ready:
                batch.delete_namespaced_job("one", "dsm", propagation_policy=policy)
                asked = True  # it is ready in later changes too, while it goes
            if change["type"] == "DELETED":
                watch.stop()
        with pytest.raises(ApiException) as missing:
            batch.read_namespaced_job("one", "dsm")
        return int(missing.value.status)

    assert await asyncio.to_thread(story) == 404


async def test_config_maps_secrets_and_namespaces_work(api: Any) -> None:
    def story() -> None:
        core = k8s.CoreV1Api(api)
        metadata = k8s.V1ObjectMeta(name="conf")
        core.create_namespaced_config_map(
            "dsm", k8s.V1ConfigMap(metadata=metadata, data={"a": "1"})
        )
        held = core.read_namespaced_config_map("conf", "dsm")
        held.data["b"] = "2"
        assert core.replace_namespaced_config_map("conf", "dsm", held).data == {"a": "1", "b": "2"}
        with pytest.raises(ApiException) as stale:
            core.replace_namespaced_config_map("conf", "dsm", held)
        assert stale.value.status == 409
        patched = core.patch_namespaced_config_map(
            "conf", "dsm", {"data": {"b": None}}, _content_type="application/merge-patch+json"
        )
        assert patched.data == {"a": "1"}
        secret = k8s.V1Secret(metadata=metadata, string_data={"token": "s"})
        assert core.create_namespaced_secret("dsm", secret).data == {"token": "cw=="}
        names = [one.metadata.name for one in core.list_namespace().items]
        assert names == ["agents", "dsm"]

    await asyncio.to_thread(story)


async def test_ping_sources_are_custom_objects(api: Any) -> None:
    def story() -> None:
        custom = k8s.CustomObjectsApi(api)
        place = ("sources.knative.dev", "v1", "dsm", "pingsources")
        sink = {
            "ref": {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "default"}
        }
        body = {
            "apiVersion": "sources.knative.dev/v1",
            "kind": "PingSource",
            "metadata": {"name": "tick"},
            "spec": {"schedule": "30 8 * * *", "timezone": "America/Chicago", "sink": sink},
        }
        custom.create_namespaced_custom_object(*place, body)
        held = custom.get_namespaced_custom_object(*place, "tick")
        assert held["metadata"]["generation"] == 1
        held["spec"]["schedule"] = "0 9 * * *"
        held = custom.replace_namespaced_custom_object(*place, "tick", held)
        assert held["metadata"]["generation"] == 2
        assert len(custom.list_namespaced_custom_object(*place)["items"]) == 1
        custom.delete_namespaced_custom_object(*place, "tick")
        assert custom.list_namespaced_custom_object(*place)["items"] == []

    await asyncio.to_thread(story)


async def test_discovery_satisfies_the_client(api: Any) -> None:
    def story() -> None:
        assert k8s.VersionApi(api).get_code().major == "1"
        groups = [one.name for one in k8s.ApisApi(api).get_api_versions().groups]
        assert groups == ["batch", "sources.knative.dev", "serving.knative.dev"]
        found = k8s.BatchV1Api(api).get_api_resources().resources
        assert "jobs" in [one.name for one in found]

    await asyncio.to_thread(story)


async def test_a_job_given_as_a_dict_is_accepted(api: Any) -> None:
    def story() -> str:
        return str(k8s.BatchV1Api(api).create_namespaced_job("agents", job("one")).metadata.name)

    assert await asyncio.to_thread(story) == "one"
