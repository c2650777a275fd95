"""Whatever is sent, the API answers with a reason or does it; it never breaks."""

from __future__ import annotations

import asyncio
import copy
import logging
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from knative.local.kube import ApiError, KubeApi
from tests.support.kube_server import job, make_kube

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-2, 2**40),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=8),
    st.sampled_from(["dsm", "Never", "a" * 300, "-x", "$(HOME)", "=", "\x00", "é"]),
)
JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2)
    ),
    max_leaves=4,
)


def full_job() -> dict[str, Any]:
    """A Job (kept from running) with every field that something reads."""
    reference = {"name": "conf", "key": "a", "optional": True}
    container = {
        "args": ["x"],
        "workingDir": "/w",
        "env": [
            {"name": "A", "value": "1"},
            {"name": "B", "valueFrom": {"configMapKeyRef": reference}},
            {"name": "C", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        ],
        "envFrom": [{"secretRef": {"name": "keys", "optional": True}, "prefix": "S_"}],
        "volumeMounts": [{"name": "conf", "mountPath": "/conf"}],
        "resources": {"limits": {"memory": "1Gi"}},
    }
    volumes = [{"name": "conf", "configMap": {"name": "conf", "optional": True}}]
    body = job("fuzz", pod={"container": container, "volumes": volumes}, suspend=True)
    body["metadata"] |= {"labels": {"a": "b"}, "annotations": {"a": "b"}, "namespace": "dsm"}
    return body


def ping_source() -> dict[str, Any]:
    return {
        "apiVersion": "sources.knative.dev/v1",
        "kind": "PingSource",
        "metadata": {"name": "fuzz", "namespace": "dsm"},
        "spec": {
            "schedule": "* * * * *",
            "timezone": "UTC",
            "contentType": "application/json",
            "data": "{}",
            "sink": {"uri": "http://sink"},
        },
    }


def api_server_source() -> dict[str, Any]:
    selector = {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}
    chosen = {"apiVersion": "batch/v1", "kind": "Job", "selector": selector}
    return {
        "apiVersion": "sources.knative.dev/v1",
        "kind": "ApiServerSource",
        "metadata": {"name": "fuzz", "namespace": "dsm"},
        "spec": {"mode": "Resource", "resources": [chosen], "sink": {"uri": "http://sink"}},
    }


def config_map() -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "conf", "namespace": "dsm", "finalizers": ["a.b/c"]},
        "data": {"a": "1"},
        "binaryData": {"b": "AA=="},
    }


def places(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of every value below `value`."""
    pairs: list[tuple[Any, Any]] = []
    if isinstance(value, dict):
        pairs = list(value.items())
    elif isinstance(value, list):
        pairs = list(enumerate(value))
    return [path for key, one in pairs for path in [(*at, key), *places(one, (*at, key))]]


def changed(body: dict[str, Any], path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    body = copy.deepcopy(body)
    here: Any = body
    for step in path[:-1]:
        here = here[step]
    here[path[-1]] = value
    return body


class Complaints(logging.Handler):
    """Keeps what a controller logs when it cannot go on."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.heard: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.heard.append(f"{record.getMessage()}: {record.exc_info}")


MANIFESTS = [full_job(), ping_source(), api_server_source(), config_map()]


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda one: str(one["kind"]))
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_a_manifest_with_anything_in_any_place_is_taken_or_refused(
    manifest: dict[str, Any], data: st.DataObject
) -> None:
    path = data.draw(st.sampled_from(places(manifest)))
    body = changed(manifest, path, data.draw(JSON))
    complaints = Complaints()
    logging.getLogger("knative.local.kube").addHandler(complaints)
    try:
        asyncio.run(taken_or_refused(body, manifest))
    finally:
        logging.getLogger("knative.local.kube").removeHandler(complaints)
    assert complaints.heard == []


async def taken_or_refused(body: dict[str, Any], sound: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        kube = make_kube(Path(folder))
        await kube.start()
        try:
            for one in (body, sound, body):
                apply(kube, one)
            await asyncio.sleep(0)  # lets the Job controller look at it
        finally:
            await kube.stop()


def apply(kube: KubeApi, body: dict[str, Any]) -> None:
    refusal: ApiError | None = None
    try:
        kube.apply(body)
    except ApiError as error:
        refusal = error
    assert refusal is None or (400 <= refusal.code < 500 and refusal.message)
