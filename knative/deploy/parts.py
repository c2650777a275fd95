"""An overlay in the order of cause: each part is there before the next one is applied.

First comes what Kubernetes itself knows, with the database and its migrations: no function begins
before its schema. Then the Broker with its dead letter sink, and the SinkBinding: it finds no
Service that it would have to give a second revision. Then all the rest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from knative.deploy.kubectl import Kubectl, read_json
from knative.deploy.overlay import Manifest, group, namespace_of, of

AGAIN = "dsm.io/again"
Place = tuple[str, str, str, str]  # group, kind, namespace, name


class Parts(NamedTuple):
    ground: list[Manifest]
    broker: list[Manifest]
    rest: list[Manifest]


def parts(found: Sequence[Manifest]) -> Parts:
    """Each object once, in the order that it had."""
    graves = {
        _place(sink, broker)
        for broker in of(found, "Broker")
        if (sink := broker.get("spec", {}).get("delivery", {}).get("deadLetterSink", {}).get("ref"))
    }
    made = Parts([], [], [])
    for one in found:
        if (
            one["kind"] in ("Broker", "RabbitmqBrokerConfig")
            or _place(_self(one), one) in graves
            or _binds_to_a_broker(one)
        ):
            made.broker.append(one)
        elif group(one["apiVersion"]).endswith(".knative.dev"):
            made.rest.append(one)
        elif one["kind"] == "Job" and not one["metadata"]["name"].startswith("migrate"):
            made.rest.append(one)  # which waits for functions, as they wait for a migration
        else:
            made.ground.append(one)
    return made


def _binds_to_a_broker(one: Manifest) -> bool:
    """A SinkBinding that is ready although nobody whom it selects is there yet."""
    spec = one.get("spec", {})
    sink = spec.get("sink", {}).get("ref", {})
    selects = "selector" in spec.get("subject", {})
    return one["kind"] == "SinkBinding" and selects and sink.get("kind") == "Broker"


def _place(ref: Mapping[str, Any], home: Manifest) -> Place:
    space = ref.get("namespace") or namespace_of(home)
    return group(ref.get("apiVersion", "")), ref.get("kind", ""), space, ref.get("name", "")


def _self(one: Manifest) -> Mapping[str, Any]:
    return {"apiVersion": one["apiVersion"], "kind": one["kind"], **one["metadata"]}


def revived(kubectl: Kubectl, found: Sequence[Manifest]) -> list[Manifest]:
    """Marked, where Knative has given a Service up: it tries the same template only once.

    The mark is the name of the revision that failed. It stays, as to take it off would be another
    change, and another revision.
    """
    spaces = {namespace_of(one) for one in of(found, "Service")}
    live = {
        (space, item["metadata"]["name"]): item
        for space in sorted(spaces)
        for item in _there(kubectl, space)
    }
    return [_marked(one, live.get((namespace_of(one), one["metadata"]["name"]))) for one in found]


def _there(kubectl: Kubectl, space: str) -> list[dict[str, Any]]:
    kind = "services.serving.knative.dev"
    said = read_json(kubectl("get", kind, "-n", space, "-o", "json"))
    items: list[dict[str, Any]] = said.get("items", [])
    return items


def _marked(one: Manifest, live: Mapping[str, Any] | None) -> Manifest:
    if live is None or not list(of([one], "Service")):
        return one
    template = live.get("spec", {}).get("template", {})
    mark = template.get("metadata", {}).get("annotations", {}).get(AGAIN)
    status = live.get("status", {})
    told = {one["type"]: one["status"] for one in status.get("conditions", ())}
    if told.get("ConfigurationsReady") == "False":
        mark = status.get("latestCreatedRevisionName", mark)
    if mark is None:
        return one
    spec = one["spec"]
    meta = spec["template"].get("metadata", {})
    meta = {**meta, "annotations": {**meta.get("annotations", {}), AGAIN: mark}}
    return {**one, "spec": {**spec, "template": {**spec["template"], "metadata": meta}}}
