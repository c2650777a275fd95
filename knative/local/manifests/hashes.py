"""Content hashes at the end of generated names, and the references to them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from knative.local.manifests.generators import name_suffix
from knative.local.manifests.problems import Problem
from knative.local.manifests.resource import Resource
from knative.local.manifests.yaml_lines import FieldPath


def hash_names(resources: list[Resource]) -> list[Problem]:
    """Give generated objects their hashed names, and rewrite who refers to them.

    In a Knative Service kustomize rewrites secretKeyRef only; any other reference would lead
    nowhere on a cluster, so it is a problem.
    """
    problems = []
    renamed: dict[tuple[str, str], str] = {}
    for resource in resources:
        if resource.hashed:
            new = f"{resource.name}-{name_suffix(resource.body)}"
            renamed[resource.kind, resource.name] = new
            resource.metadata["name"] = new
    for resource in resources:
        for path, holder, key in _references(resource.body, ()):
            kind = "Secret" if "ecret" in str(path[-1] if path else "") else "ConfigMap"
            new_name = renamed.get((kind, holder[key]))
            if new_name is None:
                continue
            if "knative.dev" in str(resource.body["apiVersion"]) and path[-1] != "secretKeyRef":
                message = (
                    f"kustomize does not rewrite the generated name {holder[key]} here in a "
                    "Knative Service; set disableNameSuffixHash: true on its generator"
                )
                problems.append(resource.problem((*path, key), message))
            holder[key] = new_name
    return problems


def _references(value: Any, path: FieldPath) -> Iterator[tuple[FieldPath, dict[str, Any], str]]:
    """Where a pod refers to a ConfigMap or Secret: (path, the mapping, the key of the name)."""
    by_name = {"configMapKeyRef", "secretKeyRef", "configMapRef", "secretRef", "configMap"}
    if isinstance(value, dict):
        for key, item in value.items():
            here = (*path, key)
            if key in by_name and isinstance(item, dict) and "name" in item:
                yield here, item, "name"
            elif key == "secret" and isinstance(item, dict):
                named = "secretName" if "secretName" in item else "name"
                if named in item:
                    yield here, item, named
            yield from _references(item, here)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _references(item, (*path, number))
