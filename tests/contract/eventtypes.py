"""The EventType manifests: each event class, as the cluster's registry shows it.

Knative registers the types of its own sources by itself, so those are not here.
"""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import yaml

from functions.events.base import Event, Request
from tests.support.repository import (
    GOLDEN,
    KNATIVE,
    all_folders,
    event_types,
    listeners,
    producers_of,
)

BASE = KNATIVE / "base" / "eventtypes.yaml"
DSM = KNATIVE / "components" / "dsm" / "eventtypes.yaml"
_CORE = ("id", "source", "specversion", "type", "subject", "time")
_HEADER = """\
# Made from functions/events by `python -m tests.contract.tables --write`; not written by hand.
# Every field of an EventType is immutable: `make deploy` replaces those that have changed.
"""


def files() -> dict[Path, str]:
    """The YAML of all EventTypes, by file: what only the DSM services say comes with them."""
    found: dict[Path, list[str]] = {BASE: [], DSM: []}
    for kind in event_types():
        if not kind.type.startswith("dev.knative."):
            text = yaml.safe_dump(_manifest(kind), sort_keys=False, width=100, allow_unicode=True)
            found[DSM if _is_of_dsm(kind) else BASE].append(text)
    return {path: _HEADER + "---\n".join(texts) for path, texts in found.items()}


def _is_of_dsm(kind: type[Event]) -> bool:
    produced_by = [all_folders()[name].parent.name for name in producers_of(kind)]
    return bool(produced_by) and set(produced_by) == {"dsm"}


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
    """For the linter: this event is for others than us."""
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
