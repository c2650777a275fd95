"""What Knative's admission webhooks refuse and no schema says, of an object as it is written.

The linter, `up` and the local Kubernetes API ask here, so that all of them refuse the same. Filters
and deliveries are checked beside what carries them out, in `broker/filters.py` and `eventing.py`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from knative.local.manifests.fields import (
    Body,
    Fault,
    destination,
    items_at,
    mapping_at,
    missing,
    ref,
    value_at,
)
from knative.local.manifests.serving_admission import service
from knative.local.manifests.source_admission import (
    api_server,
    container_source,
    ping,
    sink_binding,
)
from knative.local.manifests.yaml_lines import FieldPath

# CloudEvents' own attributes. No webhook refuses one as a ceOverrides extension; the event is lost.
RESERVED = {
    "id", "source", "type", "specversion", "time", "subject", "dataschema", "datacontenttype",
    "data",
}  # fmt: skip
INJECTION = "eventing.knative.dev/injection"
_DEPENDENCY = "knative.dev/dependency"
_MAX_LABEL = 63
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def refusals(body: Body) -> Iterator[Fault]:
    """Path and fault of each field of `body` that a webhook refuses, whatever its shape."""
    group = str(body.get("apiVersion", "")).rpartition("/")[0].removesuffix(".knative.dev")
    check = _CHECKS.get((group, str(body.get("kind"))))
    if check is not None:
        yield from check(body)
    sink: FieldPath = ("spec", "delivery", "deadLetterSink")
    if group in _DELIVERING and value_at(body, *sink) is not None:
        yield from destination(body, sink)
    name = value_at(body, "metadata", "name")
    if group in _GROUPS and check is not service and name and not _NAME.fullmatch(str(name)):
        yield ("metadata", "name"), f"{name!r} must be lower-case letters, digits, dashes and dots"


def label_fault(name: str) -> str:
    """Why a name cannot stand where Knative writes it into a label; empty where it can."""
    if len(name) <= _MAX_LABEL:
        return ""
    return f"{len(name)} characters: it becomes a label of at most {_MAX_LABEL}, so is never ready"


def _trigger(body: Body) -> Iterator[Fault]:
    broker = value_at(body, "spec", "broker")
    if not broker and not value_at(body, "spec", "brokerRef"):
        yield ("spec",), "broker is missing"
    path: FieldPath = ("metadata", "annotations")
    annotations = mapping_at(body, *path)
    injection = annotations.get(INJECTION)
    if injection not in (None, "enabled", "disabled"):
        yield (*path, INJECTION), f"must be enabled or disabled, it is {injection!r}"
    elif injection and broker != "default":
        yield (*path, INJECTION), f"makes the Broker default only, and spec.broker is {broker!r}"
    if _DEPENDENCY in annotations:
        fault = _dependency_fault(annotations[_DEPENDENCY], value_at(body, "metadata", "namespace"))
        if fault:
            yield (*path, _DEPENDENCY), fault
    yield from ref(body, ("spec", "subscriber"))


def _dependency_fault(text: Any, namespace: Any) -> str:
    try:
        named = json.loads(text)
    except (TypeError, ValueError):
        named = None
    if not isinstance(named, dict):
        return "is not a JSON object that refers to another"
    absent = [name for name in ("kind", "name", "apiVersion") if not named.get(name)]
    if absent:
        return f"{', '.join(absent)} is missing"
    other = named.get("namespace") not in (None, "", namespace or "default")
    return "must name the Trigger's own namespace" if other else ""


def _sequence(body: Body) -> Iterator[Fault]:
    steps = items_at(body, "spec", "steps")
    if not steps:
        yield ("spec",), "steps is missing"
    for number in range(len(steps)):
        yield from destination(body, ("spec", "steps", number))
    yield from _channel_template(body)


def _parallel(body: Body) -> Iterator[Fault]:
    branches = items_at(body, "spec", "branches")
    if not branches:
        yield ("spec",), "branches is missing"
    for number in range(len(branches)):
        at: FieldPath = ("spec", "branches", number)
        yield from missing(body, at, "subscriber")
        for name in ("filter", "subscriber", "reply"):
            if value_at(body, *at, name) is not None:
                yield from destination(body, (*at, name))
    yield from _channel_template(body)


def _subscription(body: Body) -> Iterator[Fault]:
    if not mapping_at(body, "spec", "channel"):
        yield ("spec",), "channel is missing"
    else:
        yield from missing(body, ("spec", "channel"), "apiVersion", "kind", "name")
    if not mapping_at(body, "spec", "subscriber") and not mapping_at(body, "spec", "reply"):
        yield ("spec",), "needs a subscriber or a reply"


def _channel_template(body: Body) -> Iterator[Fault]:
    if mapping_at(body, "spec", "channelTemplate"):
        yield from missing(body, ("spec", "channelTemplate"), "apiVersion", "kind")


_CHECKS: dict[tuple[str, str], Callable[[Body], Iterator[Fault]]] = {
    ("eventing", "Trigger"): _trigger,
    ("flows", "Parallel"): _parallel,
    ("flows", "Sequence"): _sequence,
    ("messaging", "Channel"): _channel_template,
    ("messaging", "Subscription"): _subscription,
    ("serving", "Service"): service,
    ("sources", "ApiServerSource"): api_server,
    ("sources", "ContainerSource"): container_source,
    ("sources", "PingSource"): ping,
    ("sources", "SinkBinding"): sink_binding,
}


_GROUPS = {group for group, _ in _CHECKS}
_DELIVERING = ("eventing", "messaging")  # whose objects have a delivery
