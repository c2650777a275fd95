"""Patches: JSON merge patch (RFC 7386), and what the API answers to JSON patches; pure."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from knative.local.json_patch import PatchRefused, apply
from knative.local.kube.status import ApiError, bad_request


def merge(target: Any, change: Any) -> Any:
    """Apply a JSON merge patch; None removes.

    >>> merge({"a": 1, "b": {"c": 2}}, {"a": None, "b": {"d": 3}})
    {'b': {'c': 2, 'd': 3}}
    """
    if not isinstance(change, Mapping):
        return copy.deepcopy(change)
    result = dict(target) if isinstance(target, Mapping) else {}
    for name, value in change.items():
        if value is None:
            result.pop(name, None)
        else:
            result[name] = merge(result.get(name), value)
    return result


def difference(before: Any, after: Mapping[str, Any]) -> dict[str, Any]:
    """The merge patch that sets all of `after` and removes what only `before` has.

    >>> difference({"a": 1, "b": 2}, {"a": 3})
    {'a': 3, 'b': None}
    """
    old = before if isinstance(before, Mapping) else {}
    patch: dict[str, Any] = {
        name: difference(old.get(name), value) if isinstance(value, Mapping) else value
        for name, value in after.items()
    }
    return patch | {name: None for name in old if name not in after}


def json_patch(target: Any, operations: Any) -> Any:
    """Apply RFC 6902 operations in order; ApiError 400 (malformed) or 422 (does not fit)."""
    if not isinstance(operations, list):
        raise bad_request("a JSON patch is a list of operations, and this body is not a list")
    try:
        return apply(target, operations)
    except PatchRefused as error:
        raise ApiError(422, "Invalid", f"the server rejected our request: {error}") from error
