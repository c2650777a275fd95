"""Manifests as users write and publish them, each with what a cluster says of it.

`manifests/` holds them. A cluster is Kubernetes 1.36 with Knative 1.22.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from knative.lint.finding import Finding
from tests.support.lint_tree import BROKER, found, found_in

MANIFESTS = Path(__file__).with_name("manifests")
# What a cluster refuses, what never works there, and the place of it.
FAULTS = {
    "apiserver-nosa": {("KN909", "spec.mode"), ("KN909", "spec.resources.0")},
    "broker-misspelt": {("KN910", "kind")},
    "broker-unknown": {("KN908", "spec.deliveries")},
    "filtertype-mixed": {("KN403", "spec.filter.type")},
    "ksvc-name": {("KN909", "metadata.name"), ("KN909", "spec.template.metadata.name")},
    "ksvc-noimage": {("KN909", "spec.template.spec.containers.0")},
    "ksvc-port": {
        ("KN909", "spec.template.metadata.annotations.autoscaling.knative.dev/class"),
        ("KN909", "spec.template.spec.containers.0.ports.0.containerPort"),
    },
    "ksvc-probe": {("KN909", "spec.template.spec.containers.0.readinessProbe")},
    "ksvc-replicas": {
        ("KN908", "spec.replicas"),
        ("KN909", "spec.template.spec.containers.0.ports.0.name"),
    },
    "ksvc-scale-annot": {
        ("KN909", "spec.template.metadata.annotations.autoscaling.knative.dev/target")
    },
    "mapattr": {("KN403", "spec.filter")},
    "ping-data-array": {("KN703", "spec.data")},
    "ping-data64-bad": {("KN703", "spec.dataBase64")},
    "ping-data64-notjson": {("KN703", "spec.dataBase64")},
    "ping-everything": {
        ("KN703", "metadata.name"),
        ("KN703", "spec.schedule"),
        ("KN703", "spec.sink.ref"),
        ("KN703", "spec.timezone"),
    },
    "ping-feb30": {("KN706", "spec.schedule")},
    "ping-unknown-field": {("KN908", "spec.jsonData")},
    "ping-utc8": {("KN703", "spec.timezone")},
    "svc-concurrency-annotation": {
        ("KN902", "spec.template.metadata.annotations"),
        ("KN903", "spec.template.spec.containers.0.env.0"),
    },
    "svc-runlatest": {("KN910", "apiVersion")},
    "svc-v1beta1": {("KN910", "apiVersion")},
    "trigger-alpha": {("KN910", "apiVersion")},
    "trigger-cesql-doubleeq": {("KN403", "spec.filters.0")},
    "trigger-delivery-ms": {
        ("KN502", "spec.delivery"),
        ("KN906", "spec.delivery.backoffDelay"),
        ("KN906", "spec.delivery.retry"),
        ("KN906", "spec.delivery.timeout"),
    },
    "trigger-filter-expression": {("KN403", "spec.filter.expression")},
    "trigger-filters-all": {("KN403", "spec.filters.0"), ("KN403", "spec.filters.2")},
    "trigger-filters-map": {("KN403", "spec.filters")},
    "trigger-injection": {("KN909", "metadata.annotations.eventing.knative.dev/injection")},
    "trigger-injection-other": {("KN909", "metadata.annotations.eventing.knative.dev/injection")},
    "trigger-longname": {("KN911", "metadata.name")},
    "trigger-nobroker": {("KN909", "spec")},
    "trigger-nosub": {("KN106", "spec")},
    "trigger-not-list": {("KN403", "spec.filters.0")},
    "trigger-sub-field-wrong": {("KN106", "spec"), ("KN908", "spec.subcriber")},
}
# What a cluster takes and runs as its author means it.
FINE = {
    "anchors", "brokerref", "class-Kafka", "class-KafkaNamespaced", "class-RabbitMQBroker",
    "ksvc-class", "nomatch", "ping-crontz", "ping-step-weekday", "ping-upper-ext", "remote",
    "trigger-ksvc-core-api",
}  # fmt: skip
# These ask for more than that it works: probes, resources, who consumes it, where it belongs.
ADVICE = ("KN002", "KN108", "KN2", "KN501", "KN506", "KN704", "KN8")


def received(name: str) -> list[Finding]:
    place = MANIFESTS / name
    findings = found_in(place if place.is_dir() else place.with_suffix(".yaml"))
    return [one for one in findings if not one.rule.startswith(ADVICE)]


def test_each_manifest_has_its_right_answer() -> None:
    assert {path.stem for path in MANIFESTS.iterdir()} == FAULTS.keys() | FINE


@pytest.mark.parametrize("name", FAULTS)
def test_what_a_cluster_refuses_is_found_once_at_its_place(name: str) -> None:
    findings = received(name)
    assert {(one.rule, one.field) for one in findings} == FAULTS[name]
    assert len(findings) == len(FAULTS[name])
    assert all(one.line for one in findings)


@pytest.mark.parametrize("name", sorted(FINE))
def test_what_a_cluster_takes_is_left_alone(name: str) -> None:
    assert received(name) == []


def test_what_is_remote_is_reported_as_not_read() -> None:
    assert [one.rule for one in found_in(MANIFESTS / "remote")] == ["KN002"]


def sourced(kind: str, spec: str, group: str = "sources") -> str:
    head = f"apiVersion: {group}.knative.dev/v1\nkind: {kind}"
    return f"\n{head}\nmetadata: {{name: a, namespace: shop}}\nspec: {{{spec}}}\n"


REF = "ref: {apiVersion: serving.knative.dev/v1, kind: Service, name: x}"
SINK = f"sink: {{{REF}}}"
SUBJECT = "apiVersion: apps/v1, kind: Deployment"
POD = "template: {spec: {containers: [{%s}]}}"
CHANNEL = "channel: {apiVersion: messaging.knative.dev/v1, kind: Channel, name: c}"


@pytest.mark.parametrize(
    ("bad", "good", "field"),
    [
        (
            sourced("SinkBinding", f"{SINK}, subject: {{{SUBJECT}}}"),
            sourced("SinkBinding", f"{SINK}, subject: {{{SUBJECT}, name: d}}"),
            "spec.subject",
        ),
        (
            sourced("SinkBinding", f"{SINK}, subject: {{{SUBJECT}, name: d, selector: {{}}}}"),
            sourced("SinkBinding", f"{SINK}, subject: {{{SUBJECT}, selector: {{}}}}"),
            "spec.subject",
        ),
        (
            sourced("ContainerSource", f"{SINK}, {POD % 'name: a'}"),
            sourced("ContainerSource", f"{SINK}, {POD % 'name: a, image: b'}"),
            "spec.template.spec.containers.0",
        ),
        (
            sourced("ApiServerSource", f"{SINK}, resources: []"),
            sourced("ApiServerSource", f"{SINK}, resources: [{{apiVersion: v1, kind: Event}}]"),
            "spec",
        ),
        (
            sourced("Sequence", "steps: []", "flows"),
            sourced("Sequence", f"steps: [{{{REF}}}]", "flows"),
            "spec",
        ),
        (
            sourced("Sequence", "steps: [{delivery: {retry: 1}}]", "flows"),
            sourced("Sequence", f"steps: [{{{REF}, delivery: {{retry: 1}}}}]", "flows"),
            "spec.steps.0",
        ),
        (
            sourced("Parallel", f"branches: [{{filter: {{{REF}}}}}]", "flows"),
            sourced("Parallel", f"branches: [{{subscriber: {{{REF}}}}}]", "flows"),
            "spec.branches.0",
        ),
        (
            sourced("Subscription", CHANNEL, "messaging"),
            sourced("Subscription", f"{CHANNEL}, subscriber: {{{REF}}}", "messaging"),
            "spec",
        ),
        (
            sourced("Subscription", f"subscriber: {{{REF}}}", "messaging"),
            sourced("Subscription", f"{CHANNEL}, reply: {{{REF}}}", "messaging"),
            "spec",
        ),
        (
            sourced("Channel", "channelTemplate: {kind: InMemoryChannel}", "messaging"),
            sourced("Channel", "", "messaging"),
            "spec.channelTemplate",
        ),
        (
            sourced("Service", "traffic: [{latestRevision: true, percent: 90}]", "serving"),
            sourced("Service", "traffic: [{latestRevision: true, percent: 100}]", "serving"),
            "spec.traffic",
        ),
    ],
)
def test_what_belongs_together_is_asked_for(bad: str, good: str, field: str) -> None:
    assert field in {one.field for one in found(BROKER, bad) if one.rule == "KN909"}
    assert field not in {one.field for one in found(BROKER, good) if one.rule == "KN909"}


@pytest.mark.parametrize(
    ("annotation", "expected_text"),
    [
        ("not-json", "is not a JSON object"),
        ('{"kind": "Broker", "name": "b"}', "apiVersion is missing"),
        ('{"kind": "B", "name": "b", "apiVersion": "v1", "namespace": "other"}', "own namespace"),
        ('{"kind": "B", "name": "b", "apiVersion": "v1", "namespace": "shop"}', ""),
    ],
)
def test_a_dependency_is_a_reference_within_the_namespace(
    annotation: str, expected_text: str
) -> None:
    text = (MANIFESTS / "trigger-nosub.yaml").read_text()
    annotated = text.replace(
        "{name: t, namespace: shop}",
        f"{{name: t, namespace: shop, annotations: {{knative.dev/dependency: '{annotation}'}}}}",
    )
    messages = [one.message for one in found(annotated) if one.rule == "KN909"]
    assert len(messages) == bool(expected_text)
    assert all(expected_text in message for message in messages)


@pytest.mark.parametrize(
    ("version", "kind", "served"),
    [
        ("eventing.knative.dev/v1beta1", "Trigger", "eventing.knative.dev/v1"),
        ("sources.knative.dev/v1alpha2", "PingSource", "sources.knative.dev/v1"),
        ("eventing.knative.dev/v1beta1", "EventType", "eventing.knative.dev/v1beta3"),
        ("eventing.knative.dev/v1beta2", "EventType", ""),
        ("sources.eventing.knative.dev/v1alpha1", "ContainerSource", "sources.knative.dev/v1"),
        ("serving.example.knative.dev/v1", "Service", ""),
        ("eventing.knative.dev/v1", "KafkaSomething", ""),
        ("example.com/v1", "Trigger", ""),
    ],
)
def test_a_version_that_is_not_served_is_named(version: str, kind: str, served: str) -> None:
    text = f"\napiVersion: {version}\nkind: {kind}\nmetadata: {{name: a}}\n"
    messages = [one.message for one in found(text) if one.rule == "KN910"]
    assert len(messages) == bool(served)
    assert all(served in message for message in messages)


@pytest.mark.parametrize("name", ["id", "TYPE", "datacontenttype", "my-name", "my_name"])
def test_an_extension_is_named_as_an_event_can_have_it(name: str) -> None:
    text = (MANIFESTS / "ping-upper-ext.yaml").read_text().replace("scheduleName", name)
    assert [one.rule for one in found(text) if not one.rule.startswith(ADVICE)] == ["KN705"]


def test_an_empty_value_below_a_not_says_that_brokers_stop() -> None:
    text = (MANIFESTS / "trigger-not-list.yaml").read_text()
    crash = text.replace("[{exact: {type: a}}]", "{exact: {color: ''}}")
    reported = {one.rule: one.message for one in found(crash) if one.rule in ("KN401", "KN402")}
    assert reported.keys() == {"KN401", "KN402"}
    assert all(
        "filter pods of all Brokers crash" in expected_text for expected_text in reported.values()
    )
    tame = text.replace("[{exact: {type: a}}]", "{exact: {color: red}}")
    assert not [one for one in found(tame) if "crash" in one.message]
