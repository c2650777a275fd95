"""The schemas that the local Knative and the linter hold, and how they come of a cluster's."""

from __future__ import annotations

import json

from knative.local.manifests.openapi import FILE, LEFT_OUT
from tests.contract.reduced_openapi import reduced, written

PUBLISHED = {
    "description": "left out",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["sink"],
            "properties": {
                "sink": {"type": "string", "description": "left out"},
                "delivery": {"type": "object", "properties": {"retry": {"type": "integer"}}},
                "port": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
                "labels": {"type": "object", "additionalProperties": {"type": "string"}},
            },
        },
        "status": {"type": "object"},
    },
}


def test_a_published_schema_is_reduced_to_its_structure() -> None:
    group = {"group": "sources.knative.dev", "version": "v1"}
    schemas = {
        f"dev.knative.sources.v1.{kind}": PUBLISHED
        | {"x-kubernetes-group-version-kind": [{**group, "kind": kind}]}
        for kind in ("A", "AList", *LEFT_OUT)
    }
    assert reduced([{"components": {"schemas": schemas}}]) == {
        "sources.knative.dev/v1": {
            "A": {
                "type": "object",
                "required": ["sink"],
                "properties": {
                    "sink": {"type": "string"},
                    "delivery": {
                        "type": "object",
                        "properties": {
                            "retry": {"type": "integer"},
                            "format": {"type": "string"},
                            "timeout": {"type": "string"},
                            "retryAfterMax": {"type": "string"},
                        },
                    },
                    "port": {"type": "int-or-string"},
                    "labels": {"type": "object", "additionalProperties": {"type": "string"}},
                },
            }
        }
    }


def test_the_file_is_as_it_would_be_written() -> None:
    assert FILE.read_text() == written(json.loads(FILE.read_text()))
