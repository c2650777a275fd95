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

_BROKERS = ("Broker", "RabbitmqBrokerConfig", "SinkBinding")
_AGAIN = "dsm.io/again"


class Parts(NamedTuple):
    ground: list[Manifest]
    broker: list[Manifest]
    rest: list[Manifest]


def parts(found: Sequence[Manifest]) -> Parts:
    """Each object once, in the order that it had."""
    graves = {_dead_letters(broker) for broker in of(found, "Broker")}
    made = Parts([], [], [])
    for one in found:
        place = (namespace_of(one), one["metadata"]["name"])
        knatives = group(one["apiVersion"]).endswith(".knative.dev")
        if one["kind"] in _BROKERS or (knatives and one["kind"] == "Service" and place in graves):
            made.broker.append(one)
        elif knatives or (one["kind"] == "Job" and not migrates(one)):
            made.rest.append(one)
        else:
            made.ground.append(one)
    return made


def migrates(job: Manifest) -> bool:
    """Every function waits for a migration; any other Job waits for functions."""
    name: str = job["metadata"]["name"]
    return name.startswith("migrate")


def _dead_letters(broker: Manifest) -> tuple[str, str]:
    sink = broker.get("spec", {}).get("delivery", {}).get("deadLetterSink", {}).get("ref", {})
    return sink.get("namespace", namespace_of(broker)), sink.get("name", "")


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
    items: list[dict[str, Any]] = read_json(
        kubectl("get", kind, "-n", space, "-o", "json", quiet=True)
    ).get("items", [])
    return items


def _marked(one: Manifest, live: Mapping[str, Any] | None) -> Manifest:
    if live is None or not list(of([one], "Service")):
        return one
    template = live.get("spec", {}).get("template", {})
    mark = template.get("metadata", {}).get("annotations", {}).get(_AGAIN)
    status = live.get("status", {})
    if any(c["type"] == "Ready" and c["status"] == "False" for c in status.get("conditions", ())):
        mark = status.get("latestCreatedRevisionName", mark)
    if mark is None:
        return one
    spec = one["spec"]
    meta = spec["template"].get("metadata", {})
    meta = {**meta, "annotations": {**meta.get("annotations", {}), _AGAIN: mark}}
    return {**one, "spec": {**spec, "template": {**spec["template"], "metadata": meta}}}
