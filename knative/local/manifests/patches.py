"""The two ways kustomize patches an object: strategic merge and JSON Patch (RFC 6902).

Kustomize knows the merge keys of Kubernetes' own kinds only. In a custom resource, which
includes every Knative kind, a list in a strategic merge patch replaces the whole list.
"""

from __future__ import annotations

import copy
from typing import Any

from knative.local.json_patch import PatchRefused, apply

# Lists that merge by a key in Kubernetes' own kinds.
_MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "volumeMounts": "mountPath",
    "imagePullSecrets": "name",
    "volumeClaimTemplates": None,
    "ports": None,  # set by kind, see _merge_key
}


class PatchError(Exception):
    """The patch does not fit the object; the text says where."""


def strategic_merge(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any] | None:
    """`target` after `patch`; None when the patch says `$patch: delete`. Neither is changed."""
    if patch.get("$patch") == "delete":
        return None
    native = "knative.dev" not in str(target.get("apiVersion", ""))
    merged = _merge(target, patch, native, str(target.get("kind")))
    assert isinstance(merged, dict)
    return merged


def _merge(target: Any, patch: Any, native: bool, kind: str) -> Any:
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    directive = patch.get("$patch")
    rest = {key: value for key, value in patch.items() if key != "$patch"}
    if directive == "replace" or not isinstance(target, dict):
        return copy.deepcopy(_without_nulls(rest))
    if directive not in (None, "merge"):
        raise PatchError(f"$patch: {directive} is not known here")
    merged = copy.deepcopy(target)
    for key, value in rest.items():
        if key.startswith("$"):
            raise PatchError(f"{key} is not supported; write a JSON patch instead")
        if value is None:
            merged.pop(key, None)
        elif isinstance(value, list):
            merge_key = _merge_key(key, kind) if native else None
            merged[key] = _merge_list(merged.get(key), value, merge_key, native, kind)
        else:
            merged[key] = _merge(merged.get(key), value, native, kind)
    return merged


def _merge_key(field: str, kind: str) -> str | None:
    if field == "ports":
        return "port" if kind == "Service" else "containerPort"
    return _MERGE_KEYS.get(field)


def _merge_list(
    target: Any, patch: list[Any], merge_key: str | None, native: bool, kind: str
) -> list[Any]:
    if merge_key is None or not isinstance(target, list):
        return [copy.deepcopy(item) for item in patch]
    merged = copy.deepcopy(target)
    new = []
    for item in patch:
        if not isinstance(item, dict) or merge_key not in item:
            raise PatchError(f"an item to merge has no {merge_key}")
        at = next(
            (i for i, old in enumerate(merged) if old.get(merge_key) == item[merge_key]), None
        )
        if item.get("$patch") == "delete":
            if at is not None:
                del merged[at]
        elif at is None:
            new.append(_without_nulls(copy.deepcopy(item)))
        else:
            merged[at] = _merge(merged[at], item, native, kind)
    return new + merged  # kustomize puts new items first


def _without_nulls(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    return value


def json_patch(target: dict[str, Any], operations: list[Any]) -> dict[str, Any]:
    """`target` after the RFC 6902 `operations`; raises PatchError, changes nothing in place."""
    try:
        document = apply(target, operations)
    except PatchRefused as error:
        raise PatchError(str(error)) from None
    if not isinstance(document, dict):
        raise PatchError("nothing of the object is left")
    return document
