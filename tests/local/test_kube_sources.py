"""ApiServerSources say what happens to Jobs and pods."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from tests.support import eventually
from tests.support.kube_server import JOBS, finished, job, make_kube, serving


class Sink:
    """Keeps what it is given, after refusing the first `refusals` times."""

    def __init__(self, refusals: int = 0) -> None:
        self.events: list[tuple[dict[str, str], Any]] = []
        self.refusals = refusals

    async def __call__(
        self, source: Mapping[str, Any], headers: Mapping[str, str], body: bytes
    ) -> bool:
        assert source["spec"]["sink"]
        if self.refusals > 0:
            self.refusals -= 1
            return False
        self.events.append((dict(headers), json.loads(body)))
        return True

    def types(self) -> list[str]:
        return [
            headers["ce-type"].rpartition("dev.knative.apiserver.")[2] for headers, _ in self.events
        ]


def source(**spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": "sources.knative.dev/v1",
        "kind": "ApiServerSource",
        "metadata": {"name": "jobs", "namespace": "dsm"},
        "spec": {
            "sink": {
                "ref": {
                    "apiVersion": "eventing.knative.dev/v1",
                    "kind": "Broker",
                    "name": "default",
                }
            },
            "resources": [{"apiVersion": "batch/v1", "kind": "Job"}],
            **spec,
        },
    }


async def story(store: Path, sink: Sink, manifest: Mapping[str, Any], *names: str) -> None:
    """Jobs with those names are made, end and are deleted."""
    kube = make_kube(store, publish=sink)
    kube.apply(manifest)
    async with (
        serving(kube) as url,
        httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client,
    ):
        for name in names:
            body = job(name)
            body["metadata"]["labels"] = {"app": name}
            await client.post(JOBS, json=body)
            await finished(client, name)
            await client.delete(f"{JOBS}/{name}", params={"propagationPolicy": "Background"})

        async def deleted() -> bool:
            return bool(sink.types()) and sink.types()[-1].endswith(".delete")

        await eventually(deleted)


async def test_resource_mode_sends_the_whole_object(tmp_path: Path) -> None:
    sink = Sink()
    await story(tmp_path, sink, source(mode="Resource"), "one")
    assert sink.types()[0] == "resource.add"
    assert set(sink.types()[1:-1]) == {"resource.update"}
    headers, body = sink.events[0]
    assert headers | {"ce-id": "", "ce-time": ""} == {
        "ce-specversion": "1.0",
        "ce-id": "",
        "ce-source": "https://10.96.0.1:443",
        "ce-type": "dev.knative.apiserver.resource.add",
        "ce-subject": "/apis/batch/v1/namespaces/dsm/jobs/one",
        "ce-time": "",
        "ce-apiversion": "batch/v1",
        "ce-kind": "Job",
        "ce-name": "one",
        "ce-namespace": "dsm",
        "content-type": "application/json",
    }
    assert body["spec"]["completions"] == 1
    ends = [data["status"]["conditions"][-1]["type"] for _, data in sink.events[-2:]]
    assert ends == ["Complete", "Complete"]


async def test_reference_mode_is_the_default_and_sends_a_reference(tmp_path: Path) -> None:
    sink = Sink()
    await story(tmp_path, sink, source(), "one")
    assert sink.types()[0] == "ref.add"
    assert sink.events[0][1] == {
        "kind": "Job",
        "namespace": "dsm",
        "name": "one",
        "apiVersion": "batch/v1",
    }


async def test_a_selector_leaves_out_what_it_does_not_match(tmp_path: Path) -> None:
    sink = Sink()
    chosen = {"apiVersion": "batch/v1", "kind": "Job", "selector": {"matchLabels": {"app": "b"}}}
    await story(tmp_path, sink, source(resources=[chosen]), "a", "b")
    assert {headers["ce-name"] for headers, _ in sink.events} == {"b"}


async def test_another_namespace_is_not_watched(tmp_path: Path) -> None:
    sink = Sink()
    kube = make_kube(tmp_path, publish=sink)
    kube.apply(source())
    async with serving(kube):
        kube.apply({**job("far"), "metadata": {"name": "far", "namespace": "agents"}})
        kube.apply({**job("near"), "metadata": {"name": "near", "namespace": "dsm"}})

        async def sent() -> bool:
            return bool(sink.events)

        await eventually(sent)
    assert {headers["ce-name"] for headers, _ in sink.events} == {"near"}


async def test_pods_are_announced_with_overrides(tmp_path: Path) -> None:
    sink = Sink()
    pods = [{"apiVersion": "v1", "kind": "Pod"}]
    overrides = {"extensions": {"cluster": "laptop"}}
    await story(tmp_path, sink, source(resources=pods, ceOverrides=overrides), "one")
    headers, _ = sink.events[0]
    assert headers["ce-cluster"] == "laptop"
    assert headers["ce-subject"].startswith("/apis/v1/namespaces/dsm/pods/one-")


async def test_a_sink_that_refuses_is_asked_again(tmp_path: Path) -> None:
    sink = Sink(refusals=3)
    await story(tmp_path, sink, source(), "one")
    assert sink.types()[0] == "ref.add"
