"""JSON Patch (RFC 6902), as kustomize and the Kubernetes API both take it."""

from __future__ import annotations

import copy
from typing import Any

import jsonpatch
from jsonpointer import JsonPointerException


class PatchRefused(ValueError):
    """An operation does not fit the document; the text says which and why."""


def apply(document: Any, operations: list[Any]) -> Any:
    """`document` after the operations, one after another; it is not changed itself.

    >>> apply({"a": [1]}, [{"op": "add", "path": "/a/-", "value": 2}])
    {'a': [1, 2]}
    >>> apply({}, [{"op": "remove", "path": "/a"}])
    Traceback (most recent call last):
    knative.local.json_patch.PatchRefused: operation 0 (remove /a): can't remove a non-existent ...
    """
    document = copy.deepcopy(document)
    for number, operation in enumerate(operations):
        try:
            document = jsonpatch.JsonPatch([operation]).apply(document, in_place=True)
        except (jsonpatch.JsonPatchException, JsonPointerException) as error:
            given = operation if isinstance(operation, dict) else {}
            name = f"operation {number} ({given.get('op')} {given.get('path')})"
            raise PatchRefused(f"{name}: {error}") from None
    return document
