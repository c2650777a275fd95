"""What Knative's published OpenAPI says of an object's `spec`: unknown fields, wrong types.

`openapi.json` holds the schemas of Knative Serving 1.22 and Eventing 1.22 (Apache License 2.0,
Copyright The Knative Authors), reduced to their structure: no descriptions, no status. A newer
one is made from what a cluster publishes:

    kubectl get --raw /openapi/v3/apis/eventing.knative.dev/v1 > eventing.json
    python -m tests.contract.reduced_openapi eventing.json ...
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from pathlib import Path
from typing import Any

from knative.local.manifests.yaml_lines import FieldPath

FILE = Path(__file__).with_name("openapi.json")
Fault = tuple[FieldPath, str]
Schema = Mapping[str, Any]

_TOP = {"apiVersion", "kind", "metadata", "spec", "status"}
_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,), "array": (list,), "string": (str,), "boolean": (bool,),
    "integer": (int,), "number": (int, float), "int-or-string": (int, str),
}  # fmt: skip
_NAMED = {
    "object": "a mapping", "array": "a list", "string": "text", "boolean": "true or false",
    "integer": "a whole number", "number": "a number", "int-or-string": "a whole number or text",
}  # fmt: skip
ANY: Schema = {}
# Served without a schema of its own here, and as good as the one of the newer version.
_OLDER = {
    ("eventing.knative.dev/v1beta2", "EventType"),
    ("sources.knative.dev/v1beta2", "PingSource"),
}
_RENAMED = {"sources.eventing.knative.dev": "sources.knative.dev"}
LEFT_OUT = {"Configuration", "Revision"}  # Serving makes them of a Service


@cache
def schemas() -> Mapping[tuple[str, str], Schema]:
    """The schema of `spec` by apiVersion and kind."""
    held = json.loads(FILE.read_text(encoding="utf-8"))
    return {
        (version, kind): spec for version, kinds in held.items() for kind, spec in kinds.items()
    }


def served(version: str, kind: str) -> list[str]:
    """The apiVersions that have `kind` where `version` has it not; empty where there is no fault.

    >>> served("eventing.knative.dev/v1alpha1", "Trigger")
    ['eventing.knative.dev/v1']
    """
    group = version.partition("/")[0]
    group = _RENAMED.get(group, group)
    known = [v for v, k in (*schemas(), *_OLDER) if k == kind and v.partition("/")[0] == group]
    return [] if version in known else known


def misspelt(version: str, kind: str) -> str:
    """The kind of this group that `kind` is nearly; empty where it is one, or like none.

    >>> misspelt("eventing.knative.dev/v1", "Broekr"), misspelt("eventing.knative.dev/v1", "Broker")
    ('Broker', '')
    """
    group = version.partition("/")[0]
    there = {k for v, k in (*schemas(), *_OLDER) if v.partition("/")[0] == group} | LEFT_OUT
    near = get_close_matches(kind, there - {kind}, 1, cutoff=0.8) if kind not in there else []
    return near[0] if near else ""


def faults(body: Mapping[str, Any]) -> Iterator[Fault]:
    """What the schema of an object's kind refuses; nothing for a kind that has none here."""
    schema = schemas().get((str(body.get("apiVersion")), str(body.get("kind"))))
    if schema is None:
        return
    for name in body.keys() - _TOP:
        yield (str(name),), _unknown(str(name), _TOP)
    yield from _faults(body.get("spec"), schema, ("spec",))


def _faults(value: Any, schema: Schema, path: FieldPath) -> Iterator[Fault]:
    wanted = schema.get("type")
    if value is None or wanted is None:  # null is unset
        return
    fits = isinstance(value, _TYPES[wanted])
    if not fits or (isinstance(value, bool) and wanted != "boolean"):
        yield path, f"must be {_NAMED[wanted]}, it is {json.dumps(value, default=str)[:60]}"
    elif wanted == "array":
        for number, item in enumerate(value):
            yield from _faults(item, schema.get("items", ANY), (*path, number))
    elif wanted == "object":
        yield from _of_mapping(value, schema, path)


def _of_mapping(value: dict[Any, Any], schema: Schema, path: FieldPath) -> Iterator[Fault]:
    fields, others = schema.get("properties", {}), schema.get("additionalProperties")
    for name in schema.get("required", ()):
        if value.get(name) is None:
            yield path, f"{name} is missing"
    for name, item in value.items():
        here = (*path, str(name))
        if name in fields:
            yield from _faults(item, fields[name], here)
        elif others is not None:
            yield from _faults(item, others, here)
        else:
            yield here, _unknown(str(name), fields)


def _unknown(name: str, known: Any) -> str:
    near = get_close_matches(name, list(known), 1)
    return f"there is no {name} here" + (f"; {near[0]}, perhaps" if near else "")
