"""What Knative and Prometheus themselves publish of their kinds: the OpenAPI of their CRDs.

It comes in packages from PyPI. Where OPENAPI_DIR names a folder with a cluster's own documents, one
for each API version, those go before: `serving.knative.dev_v1.json` and so on, as

    kubectl get --raw /openapi/v3/apis/serving.knative.dev/v1

prints them. A field that the schema does not have is a fault, as with `kubectl apply
--validate=strict`.
"""

from __future__ import annotations

import importlib
import json
import os
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match

from tests.support.repository import Manifest

Schema = dict[str, Any]

OPENAPI_DIR = os.environ.get("OPENAPI_DIR")
# The module that has the models of an API group, by version.
_MODULES = {
    "serving.knative.dev": "cloudcoil.models.knative_serving.serving",
    "eventing.knative.dev": "cloudcoil.models.knative_eventing.eventing",
    "flows.knative.dev": "cloudcoil.models.knative_eventing.flows",
    "messaging.knative.dev": "cloudcoil.models.knative_eventing.messaging",
    "sinks.knative.dev": "cloudcoil.models.knative_eventing.sinks",
    "sources.knative.dev": "cloudcoil.models.knative_eventing.sources",
    "monitoring.coreos.com": "cloudcoil.models.prometheus_operator",
}


def is_published(manifest: Manifest) -> bool:
    return _schema(manifest["apiVersion"], manifest["kind"]) is not None


def complaint(manifest: Manifest) -> str | None:
    """The fault that says most, with its field; None where there is none."""
    schema = _schema(manifest["apiVersion"], manifest["kind"])
    assert schema is not None, "nobody publishes this kind"
    fault = best_match(Draft202012Validator(schema).iter_errors(manifest))
    return fault and f"{'.'.join(map(str, fault.absolute_path))}: {fault.message[:300]}"


@cache
def _schema(api_version: str, kind: str) -> Schema | None:
    group, _, version = api_version.partition("/")
    file = Path(OPENAPI_DIR or os.devnull) / f"{group}_{version}.json"
    if file.is_file():
        schema = _of_cluster(file, {"group": group, "version": version, "kind": kind})
    else:
        schema = _of_package(group, version, kind)
    return _closed(schema) if schema else None


def _of_package(group: str, version: str, kind: str) -> Schema | None:
    if group not in _MODULES:
        return None
    model = getattr(importlib.import_module(f"{_MODULES[group]}.{version}"), kind, None)
    if model is None:
        return None
    schema: Schema = model.model_json_schema()
    for part in schema["$defs"].values():
        # Knative's CRDs leave `delivery` open, which the packages' models do not say.
        if "backoffPolicy" in part.get("properties", {}):
            part["x-kubernetes-preserve-unknown-fields"] = True
    return schema


def _of_cluster(file: Path, wanted: dict[str, str]) -> Schema | None:
    document: Schema = json.loads(file.read_text())
    for name, schema in document["components"]["schemas"].items():
        if wanted in schema.get("x-kubernetes-group-version-kind", []):
            return {"$ref": f"#/components/schemas/{name}", **document}
    return None


def _closed(schema: Any) -> Any:
    """The schema with no room for fields that it does not name."""
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: _closed(value) for key, value in schema.items()}
    named = isinstance(schema.get("properties"), dict) and schema.get("type") == "object"
    if named and not schema.get("x-kubernetes-preserve-unknown-fields"):
        closed.setdefault("additionalProperties", False)
    return closed
