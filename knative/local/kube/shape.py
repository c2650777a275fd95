"""Do the fields that this API reads have the types that they must have?

The API server decodes into Go structs and refuses with 400 what does not fit. Here only the fields
that something reads are listed: an object's fields as a dict, `[shape]` a list, `MapOf(shape)` a
map with any keys. Fields that are not listed may be anything; null means that a field is not set.
Knative's kinds have published schemas: see source_spec.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from knative.local.kube.resources import Resource
from knative.local.kube.status import bad_request


@dataclass(frozen=True)
class MapOf:
    """A map from names to values of one shape."""

    shape: Any


_STRINGS = MapOf(str)
_META = {
    "name": str,
    "generateName": str,
    "namespace": str,
    "uid": str,
    "resourceVersion": str,
    "labels": _STRINGS,
    "annotations": _STRINGS,
    "finalizers": [str],
    "ownerReferences": [
        {"apiVersion": str, "kind": str, "name": str, "uid": str, "blockOwnerDeletion": bool}
    ],
}
_NAMED = {"name": str, "key": str, "optional": bool}
_ITEMS = {"items": [{"key": str, "path": str}], "optional": bool, "defaultMode": int}
_SOURCES = {
    "configMap": {"name": str, **_ITEMS},
    "secret": {"name": str, "secretName": str, **_ITEMS},
}
_CONTAINER = {
    "name": str,
    "image": str,
    "command": [str],
    "args": [str],
    "workingDir": str,
    "restartPolicy": str,
    "terminationMessagePolicy": str,
    "env": [
        {
            "name": str,
            "value": str,
            "valueFrom": {
                "configMapKeyRef": _NAMED,
                "secretKeyRef": _NAMED,
                "fieldRef": {"fieldPath": str},
            },
        }
    ],
    "envFrom": [{"prefix": str, "configMapRef": _NAMED, "secretRef": _NAMED}],
    "volumeMounts": [{"name": str, "mountPath": str, "subPath": str}],
    "resources": {"limits": MapOf((str, int, float)), "requests": MapOf((str, int, float))},
}
_POD = {
    "restartPolicy": str,
    "terminationGracePeriodSeconds": int,
    "containers": [_CONTAINER],
    "initContainers": [_CONTAINER],
    "volumes": [{"name": str, **_SOURCES, "projected": {"sources": [_SOURCES]}}],
}
_SHAPES: Mapping[str, Mapping[str, Any]] = {
    "Job": {
        "spec": {
            "parallelism": int,
            "completions": int,
            "backoffLimit": int,
            "activeDeadlineSeconds": int,
            "ttlSecondsAfterFinished": int,
            "suspend": bool,
            "manualSelector": bool,
            "completionMode": str,
            "podReplacementPolicy": str,
            "selector": {},
            "template": {"metadata": _META, "spec": _POD},
        },
        "status": {},
    },
    "ConfigMap": {"data": _STRINGS, "binaryData": _STRINGS, "immutable": bool},
    "Secret": {"data": _STRINGS, "stringData": _STRINGS, "type": str, "immutable": bool},
}
_GO = {str: "string", int: "int32", bool: "bool"}


def shaped(resource: Resource, body: Mapping[str, Any]) -> dict[str, Any]:
    """The body without its nulls; ApiError 400 names the first field of a wrong type."""
    fields = {"metadata": _META, **_SHAPES.get(resource.kind, {})}
    prefix = f'{resource.kind} in version "v1" cannot be handled as a {resource.kind}'
    clean = _without_nulls(body)
    if problem := _problem(clean, fields, resource.kind):
        raise bad_request(f"{prefix}: {problem}")
    return dict(clean)


def _problem(value: Any, shape: Any, at: str) -> str | None:
    if isinstance(shape, Mapping | MapOf):
        if not isinstance(value, Mapping):
            return _mismatch(value, at, "object")
        if isinstance(shape, MapOf):
            pairs = [(one, shape.shape, f"{at}.{name}") for name, one in value.items()]
        else:
            pairs = [(value[n], inner, f"{at}.{n}") for n, inner in shape.items() if n in value]
        return next(filter(None, (_problem(*pair) for pair in pairs)), None)
    if isinstance(shape, list):
        if not isinstance(value, list):
            return _mismatch(value, at, "array")
        found = (_problem(one, shape[0], f"{at}[{n}]") for n, one in enumerate(value))
        return next(filter(None, found), None)
    # A bool is an int to Python, not to JSON.
    if isinstance(value, bool) and shape is not bool:
        return _mismatch(value, at, _GO.get(shape, "string"))
    return None if isinstance(value, shape) else _mismatch(value, at, _GO.get(shape, "string"))


def _mismatch(value: Any, at: str, wanted: str) -> str:
    names = {bool: "bool", str: "string", int: "number", float: "number", list: "array"}
    kind = "null" if value is None else names.get(type(value), "object")
    return f"json: cannot unmarshal {kind} into Go struct field {at} of type {wanted}"


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {n: _without_nulls(one) for n, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value
