"""A container's environment and arguments, as the kubelet resolves them.

Order: envFrom in order, then env in order (a later name wins); `$(NAME)` is replaced by an earlier
variable, `$$` by one dollar. What cannot be resolved raises `MissingError` with its name.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Lookup = Callable[[str, str], Mapping[str, Any] | None]
"""(kind, name) -> the ConfigMap or Secret of the pod's namespace, None if there is none."""

_REFERENCE = re.compile(r"\$(?:(\$)|\(([-._a-zA-Z0-9]+)\))")
_SUBSCRIPT = re.compile(r"metadata\.(labels|annotations)\['(.+)'\]")
_FIELDS = {
    "metadata.name",
    "metadata.namespace",
    "metadata.uid",
    "spec.nodeName",
    "spec.serviceAccountName",
    "status.podIP",
    "status.hostIP",
}


class MissingError(Exception):
    """A ConfigMap, Secret, key or field that a container needs and that is not there (yet)."""


def values_of(kind: str, body: Mapping[str, Any]) -> dict[str, bytes]:
    """The entries of a ConfigMap or Secret as bytes."""
    encoded = body.get("data" if kind == "Secret" else "binaryData") or {}
    plain = {} if kind == "Secret" else body.get("data") or {}
    return {name: text.encode() for name, text in plain.items()} | {
        name: base64.b64decode(value) for name, value in encoded.items()
    }


def resolve(container: Mapping[str, Any], pod: Mapping[str, Any], lookup: Lookup) -> dict[str, str]:
    """The container's own variables; `MissingError` while something required is not there."""
    found: dict[str, str] = {}
    for source in container.get("envFrom") or ():
        prefix = source.get("prefix") or ""
        for kind, field in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
            if reference := source.get(field):
                for name, entry in _entries(kind, reference, lookup).items():
                    found[prefix + name] = entry.decode()
    for variable in container.get("env") or ():
        value = _value(variable, pod, lookup)
        if value is not None:
            found[variable["name"]] = expand(value, found)
    return found


def expand(text: str, known: Mapping[str, str]) -> str:
    """Replace `$(NAME)` where NAME is known; `$$` is one dollar, wherever it stands.

    >>> expand("$(HOST):80 $$(HOST) $(UNKNOWN)", {"HOST": "db"})
    'db:80 $(HOST) $(UNKNOWN)'
    >>> expand("$$$(HOST) costs $$5 or $6", {"HOST": "db"})
    '$db costs $5 or $6'
    """

    def replaced(found: re.Match[str]) -> str:
        if found[1]:
            return "$"
        return known.get(found[2], found[0])

    return _REFERENCE.sub(replaced, text)


def expand_all(texts: Sequence[str], known: Mapping[str, str]) -> list[str]:
    return [expand(text, known) for text in texts]


def _entries(kind: str, reference: Mapping[str, Any], lookup: Lookup) -> dict[str, bytes]:
    body = lookup(kind, reference["name"])
    if body is None:
        if reference.get("optional"):
            return {}
        raise MissingError(f'{kind.lower()} "{reference["name"]}" not found')
    return values_of(kind, body)


def _value(variable: Mapping[str, Any], pod: Mapping[str, Any], lookup: Lookup) -> str | None:
    source = variable.get("valueFrom")
    if not source:
        return variable.get("value") or ""
    for kind, field in (("ConfigMap", "configMapKeyRef"), ("Secret", "secretKeyRef")):
        if reference := source.get(field):
            entries = _entries(kind, reference, lookup)
            if reference["key"] in entries:
                return entries[reference["key"]].decode()
            if reference.get("optional"):
                return None
            raise MissingError(
                f"couldn't find key {reference['key']} in {kind} {reference['name']}"
            )
    if reference := source.get("fieldRef"):
        return _field(reference["fieldPath"], pod)
    raise MissingError(f"{variable['name']}: valueFrom {sorted(source)} is not supported here")


def _field(path: str, pod: Mapping[str, Any]) -> str:
    if found := _SUBSCRIPT.fullmatch(path):
        return str((pod["metadata"].get(found[1]) or {}).get(found[2], ""))
    if path not in _FIELDS:
        raise MissingError(f"fieldRef {path} is not supported here; known: {sorted(_FIELDS)}")
    if path in ("status.podIP", "status.hostIP"):
        return "127.0.0.1"
    section, name = path.split(".")
    return str(pod[section].get(name, "default" if name == "serviceAccountName" else ""))
