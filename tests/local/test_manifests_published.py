"""Manifests as users write and export them: `up` takes and refuses what a cluster does."""

from __future__ import annotations

from pathlib import Path

import pytest

from knative.local.manifests.load import load
from knative.local.manifests.problems import ManifestError
from knative.local.manifests.serving import KnativeService
from knative.local.manifests.sources import PingSource
from tests.support.manifest_files import refusals, world

PUBLISHED = Path(__file__).with_name("published")
REFUSED = {
    "list": "there is no Broker shop/nope",
    "longname": "metadata.name: 70 characters",
    "nsinject": "there is no Broker shop/default",
    "ping-data-array": "spec.data: must be a JSON object",
    "ping-data64-bad": "spec.dataBase64: is not base64",
    "ping-data64-notjson": "spec.dataBase64: is not valid JSON",
    "sequence": "flows.knative.dev/v1 Sequence is not supported by the local Knative",
    "trigger-injection": "must be enabled or disabled",
    "trigger-nobroker": "spec.broker: is missing",
    "utc8": "'UTC+8' is not a time zone",
}
TAKEN = {
    "anchors", "knexport", "nofilter", "ping-crontz", "ping-feb30", "ping-step-weekday",
    "ping-upper-ext",
}  # fmt: skip


def test_each_manifest_has_its_right_answer() -> None:
    assert {path.name for path in PUBLISHED.iterdir()} == REFUSED.keys() | TAKEN


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_cluster_refuses_or_never_runs_is_refused(name: str) -> None:
    with pytest.raises(ManifestError) as refused:
        load(PUBLISHED / name)
    (problem,) = refused.value.problems
    assert REFUSED[name] in str(problem)
    assert problem.line


@pytest.mark.parametrize("name", sorted(TAKEN))
def test_what_a_cluster_takes_is_taken(name: str) -> None:
    found = load(PUBLISHED / name)
    assert found.objects
    assert bool(found.notes) is (name == "ping-feb30")


def test_a_schedule_that_never_comes_is_a_warning_with_its_place() -> None:
    (note,) = load(PUBLISHED / "ping-feb30").notes
    assert note.startswith("Warning: ")
    assert "x.yaml" in note
    assert "'0 0 30 2 *' never comes" in note


def test_the_zone_of_an_expression_holds() -> None:
    (source,) = load(PUBLISHED / "ping-crontz").all(PingSource)
    assert str(source.spec.cron.zone) == "Europe/Berlin"


def test_a_source_without_its_sink_is_a_warning(tmp_path: Path) -> None:
    text = (PUBLISHED / "ping-crontz" / "x.yaml").read_text()
    (tmp_path / "x.yaml").write_text(
        text.replace("kind: Broker, name: default", "kind: Broker, name: nope")
    )
    (tmp_path / "kustomization.yaml").write_text("resources: [x.yaml]\n")
    (note,) = load(tmp_path).notes
    assert "spec.sink.ref.name: there is no Broker shop/nope; a cluster takes it" in note


def test_timeouts_above_the_whole_and_a_port_beside_the_reserved_are_taken(tmp_path: Path) -> None:
    service = """
        apiVersion: serving.knative.dev/v1
        kind: Service
        metadata: {name: slow}
        spec:
          template:
            spec:
              timeoutSeconds: 10
              responseStartTimeoutSeconds: 60
              idleTimeoutSeconds: 60
              containers: [{image: echo, ports: [{containerPort: 8112}]}]
    """
    (found,) = world(tmp_path, service).all(KnativeService)
    assert found.spec.template.spec.response_start_timeout_seconds == 60
    (refused,) = refusals(tmp_path / "reserved", service.replace("8112", "8012"))
    assert "port 8012 is reserved by Knative" in refused
