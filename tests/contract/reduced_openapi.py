"""Makes knative/local/manifests/openapi.json of the OpenAPI documents that a cluster publishes."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from knative.local.manifests.openapi import ANY, FILE, LEFT_OUT, Schema

# What Knative takes beyond its schemas; it is let through to webhooks, which know it.
_DELIVERY = {name: {"type": "string"} for name in ("format", "timeout", "retryAfterMax")}
_OPEN = {"metadata", "ref", "channel"}  # which have more fields than the schemas name


def reduced(documents: list[dict[str, Any]]) -> dict[str, dict[str, Schema]]:
    """The structure of `spec` of all kinds in OpenAPI v3 documents, by apiVersion and kind."""
    found: dict[str, dict[str, Schema]] = {}
    for document in documents:
        for name, schema in document["components"]["schemas"].items():
            for kind in schema.get("x-kubernetes-group-version-kind", ()):
                title = kind["kind"]
                if ".knative." in name and not title.endswith("List") and title not in LEFT_OUT:
                    spec = schema["properties"].get("spec", {"type": "object"})
                    version = f"{kind['group']}/{kind['version']}"
                    found.setdefault(version, {})[title] = _structure(spec, title)
    return found


def _structure(schema: Schema, name: str) -> Schema:
    if "anyOf" in schema or "x-kubernetes-int-or-string" in schema:
        return {"type": "int-or-string"}
    kept: dict[str, Any] = {k: schema[k] for k in ("type", "required") if k in schema}
    if "properties" in schema:
        fields = {key: _structure(value, key) for key, value in schema["properties"].items()}
        if name == "delivery":
            fields |= _DELIVERY
        if name == "ApiServerSource":
            fields["filters"] = {"type": "array"}
        kept["properties"] = fields
    if "items" in schema:
        kept["items"] = _structure(schema["items"], "")
    more = schema.get("additionalProperties")
    if isinstance(more, dict):
        kept["additionalProperties"] = _structure(more, "")
    elif schema.get("type") == "object" and ("properties" not in schema or name in _OPEN):
        kept["additionalProperties"] = ANY
    return kept


def written(found: Mapping[str, Mapping[str, Schema]]) -> str:
    """As JSON with a line for each kind."""
    versions = []
    for version, kinds in sorted(found.items()):
        lines = (
            f"  {json.dumps(kind)}: {json.dumps(kinds[kind], separators=(',', ':'))}"
            for kind in sorted(kinds)
        )
        versions.append(f"{json.dumps(version)}: {{\n" + ",\n".join(lines) + "\n}")
    return "{\n" + ",\n".join(versions) + "\n}\n"


if __name__ == "__main__":
    documents = [json.loads(Path(name).read_text(encoding="utf-8")) for name in sys.argv[1:]]
    FILE.write_text(written(reduced(documents)), encoding="utf-8")
