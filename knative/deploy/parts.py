"""Split an overlay into parts that are applied one after the other.

First the kinds of Kubernetes, with the database and its migrations: no function starts before its
schema exists. Then the Broker with its dead letter sink, and the SinkBinding, which would give an
existing Service a second revision (of a new Broker see `before_broker`). Then all other objects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from knative.deploy.kubectl import Kubectl, read_json
from knative.deploy.overlay import Manifest, group, namespace_of, of_kind

RETRY_ANNOTATION = "dsm.io/again"
ObjectKey = tuple[str, str, str, str]  # group, kind, namespace, name


class Parts(NamedTuple):
    prerequisites: list[Manifest]
    broker: list[Manifest]
    rest: list[Manifest]


def split(manifests: Sequence[Manifest]) -> Parts:
    """Return each object once, in its original order."""
    dead_letter_sinks = {
        _key(sink, broker)
        for broker in of_kind(manifests, "Broker")
        if (sink := broker.get("spec", {}).get("delivery", {}).get("deadLetterSink", {}).get("ref"))
    }
    parts = Parts([], [], [])
    for manifest in manifests:
        if (
            manifest["kind"] in ("Broker", "RabbitmqBrokerConfig")
            or _key(_self_ref(manifest), manifest) in dead_letter_sinks
            or _binds_to_broker(manifest)
        ):
            parts.broker.append(manifest)
        elif group(manifest["apiVersion"]).endswith(".knative.dev"):
            parts.rest.append(manifest)
        elif manifest["kind"] == "Job" and not manifest["metadata"]["name"].startswith("migrate"):
            parts.rest.append(manifest)  # it calls functions
        else:
            parts.prerequisites.append(manifest)
    return parts


def before_broker(kubectl: Kubectl, broker: Sequence[Manifest]) -> list[Manifest]:
    """Of the Broker's part what comes first where the Broker is new; else nothing.

    The Broker without its dead letter sink, and its SinkBindings: so a dead letter sink that sends
    events itself has the Broker's address in its first revision, and needs no second one.
    """
    bindings = list(of_kind(broker, "SinkBinding"))
    if not bindings or not list(of_kind(broker, "Service")):
        return []
    new = [
        one
        for one in of_kind(broker, "Broker")
        if one["metadata"]["name"] not in _there(kubectl, one)
    ]
    configs = [one for one in broker if one["kind"] == "RabbitmqBrokerConfig"]
    return [*configs, *map(_without_dead_letters, new), *bindings] if new else []


def _there(kubectl: Kubectl, broker: Manifest) -> set[str]:
    """The names of the Brokers in this one's namespace."""
    kind = "brokers.eventing.knative.dev"
    found = read_json(kubectl("get", kind, "-n", namespace_of(broker), "-o", "json"))
    return {item["metadata"]["name"] for item in found.get("items", ())}


def _without_dead_letters(broker: Manifest) -> Manifest:
    delivery = dict(broker["spec"].get("delivery", {}))
    delivery.pop("deadLetterSink", None)
    return {**broker, "spec": {**broker["spec"], "delivery": delivery}}


def _binds_to_broker(manifest: Manifest) -> bool:
    """Is it a SinkBinding that becomes ready without a subject?"""
    spec = manifest.get("spec", {})
    sink = spec.get("sink", {}).get("ref", {})
    selects = "selector" in spec.get("subject", {})
    return manifest["kind"] == "SinkBinding" and selects and sink.get("kind") == "Broker"


def _key(ref: Mapping[str, Any], home: Manifest) -> ObjectKey:
    namespace = ref.get("namespace") or namespace_of(home)
    return group(ref.get("apiVersion", "")), ref.get("kind", ""), namespace, ref.get("name", "")


def _self_ref(manifest: Manifest) -> Mapping[str, Any]:
    ref = {"apiVersion": manifest["apiVersion"], "kind": manifest["kind"]}
    return {**ref, **manifest["metadata"]}


def with_retries(kubectl: Kubectl, manifests: Sequence[Manifest]) -> list[Manifest]:
    """Annotate each Service whose revision failed: Knative never retries the same template.

    The annotation is the name of the failed revision. It stays, as its removal would be another
    change, and another revision.
    """
    namespaces = {namespace_of(service) for service in of_kind(manifests, "Service")}
    live = {
        (namespace, item["metadata"]["name"]): item
        for namespace in sorted(namespaces)
        for item in _services(kubectl, namespace)
    }
    return [_with_retry(m, live.get((namespace_of(m), m["metadata"]["name"]))) for m in manifests]


def _services(kubectl: Kubectl, namespace: str) -> list[dict[str, Any]]:
    kind = "services.serving.knative.dev"
    listed = read_json(kubectl("get", kind, "-n", namespace, "-o", "json"))
    items: list[dict[str, Any]] = listed.get("items", [])
    return items


def _with_retry(manifest: Manifest, live: Mapping[str, Any] | None) -> Manifest:
    if live is None or not list(of_kind([manifest], "Service")):
        return manifest
    template = live.get("spec", {}).get("template", {})
    revision = template.get("metadata", {}).get("annotations", {}).get(RETRY_ANNOTATION)
    status = live.get("status", {})
    conditions = {each["type"]: each["status"] for each in status.get("conditions", ())}
    if conditions.get("ConfigurationsReady") == "False":
        revision = status.get("latestCreatedRevisionName", revision)
    if revision is None:
        return manifest
    spec = manifest["spec"]
    meta = spec["template"].get("metadata", {})
    meta = {**meta, "annotations": {**meta.get("annotations", {}), RETRY_ANNOTATION: revision}}
    return {**manifest, "spec": {**spec, "template": {**spec["template"], "metadata": meta}}}
