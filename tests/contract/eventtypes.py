"""The EventType manifests: each event class, as the cluster's registry shows it.

Knative registers the types of its own sources by itself, so those are not here.
"""

from __future__ import annotations

import inspect
import json
from typing import Any

import yaml

from functions.events.base import Event, Request
from tests.contract.repository import GOLDEN, KNATIVE, event_types, listeners

FILE = KNATIVE / "base" / "eventtypes.yaml"
_CORE = ("id", "source", "specversion", "type", "subject", "time")
_HEADER = """\
# Made from functions/events by `python -m tests.contract.tables --write`; not written by hand.
# Every field of an EventType is immutable: `make deploy` replaces those that have changed.
"""


def manifests() -> str:
    """The YAML of all EventTypes."""
    ours = [kind for kind in event_types() if not kind.type.startswith("dev.knative.")]
    documents = [
        yaml.safe_dump(_manifest(kind), sort_keys=False, width=100, allow_unicode=True)
        for kind in ours
    ]
    return _HEADER + "---\n".join(documents)


def _manifest(kind: type[Event]) -> dict[str, Any]:
    return {
        "apiVersion": "eventing.knative.dev/v1beta3",
        "kind": "EventType",
        "metadata": {
            "name": kind.type,
            "labels": {
                "app.kubernetes.io/name": kind.__module__.rpartition(".")[2],
                "app.kubernetes.io/component": "event-type",
            },
            **_annotations(kind),
        },
        "spec": {
            "reference": {
                "apiVersion": "eventing.knative.dev/v1",
                "kind": "Broker",
                "name": "default",
            },
            "description": (inspect.getdoc(kind) or "").partition("\n")[0],
            "attributes": list(_attributes(kind)),
        },
    }


def _annotations(kind: type[Event]) -> dict[str, Any]:
    """Said to the linter: this event is for others than us."""
    if listeners(kind):
        return {}
    return {"annotations": {"knative-lint/ignore": "KN201 for whoever subscribes"}}


def _attributes(kind: type[Event]) -> list[dict[str, Any]]:
    type_ = f"{kind.type}.{{what}}" if kind.family else kind.type
    found: list[dict[str, Any]] = [
        {"name": "type", "value": type_, "required": True},
        {"name": "specversion", "value": "1.0", "required": True},
        {"name": "id", "required": True},
        {"name": "source", "required": True, **_source(kind)},
    ]
    if kind.subject is not Event.subject:
        found.append({"name": "subject", "required": True})
    for field, name in sorted(kind.attributes().items(), key=lambda item: item[1]):
        if name not in _CORE:
            found.append({"name": name, "required": kind.model_fields[field].is_required()})
    return found


def _source(kind: type[Event]) -> dict[str, str]:
    """Who says it, where that is always the same: as its example shows."""
    if kind.family or issubclass(kind, Request):
        return {}
    example = json.loads((GOLDEN / f"{kind.type}.json").read_text())
    return {"value": example["source"]}
