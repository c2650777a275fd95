"""Patches: JSON merge patch (RFC 7386) and JSON patch (RFC 6902); pure."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

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
    """Apply RFC 6902 operations in order; ApiError 400 (malformed) or 422 (does not fit).

    >>> json_patch({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}])
    {'a': [1, 2]}
    """
    if not isinstance(operations, list):
        raise bad_request("a JSON patch is a list of operations, and this body is not a list")
    document = {"": copy.deepcopy(target)}
    for number, operation in enumerate(operations):
        try:
            _apply(document, operation)
        except (KeyError, IndexError, ValueError, TypeError) as error:
            message = f"the server rejected our request: operation {number} {operation!r}: {error}"
            raise ApiError(422, "Invalid", message) from error
    return document[""]


def _apply(document: dict[str, Any], operation: Mapping[str, Any]) -> None:
    kind, path = operation["op"], _steps(operation["path"])
    if kind == "test":
        if _at(document, path) != operation["value"]:
            raise ValueError("the test does not hold")
    elif kind == "add":
        _add(document, path, copy.deepcopy(operation["value"]))
    elif kind == "replace":
        _at(document, path)
        parent, last = _parent(document, path)
        parent[last] = copy.deepcopy(operation["value"])
    elif kind == "remove":
        parent, last = _parent(document, path)
        del parent[last]
    elif kind in ("move", "copy"):
        source = _steps(operation["from"])
        value = copy.deepcopy(_at(document, source))
        if kind == "move":
            parent, last = _parent(document, source)
            del parent[last]
        _add(document, path, value)
    else:
        raise ValueError(f"op must be add, remove, replace, move, copy or test, not {kind!r}")


def _steps(pointer: str) -> list[str]:
    if pointer and not pointer.startswith("/"):
        raise ValueError(f"path {pointer!r} must start with /")
    return [step.replace("~1", "/").replace("~0", "~") for step in pointer.split("/")]


def _parent(document: Any, path: list[str]) -> tuple[Any, Any]:
    parent = _at(document, path[:-1]) if len(path) > 1 else document
    return parent, int(path[-1]) if isinstance(parent, list) and path[-1] != "-" else path[-1]


def _at(document: Any, path: list[str]) -> Any:
    here = document
    for step in path:
        here = here[int(step)] if isinstance(here, list) else here[step]
    return here


def _add(document: Any, path: list[str], value: Any) -> None:
    parent, last = _parent(document, path)
    if isinstance(parent, list):
        position = len(parent) if last == "-" else last
        if not 0 <= position <= len(parent):
            raise IndexError(f"no place {position} in a list of {len(parent)}")
        parent.insert(position, value)
    else:
        parent[last] = value
