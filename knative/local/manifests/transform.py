"""What a kustomization does to all its resources: targets, namespace, labels, images."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from knative.local.manifests.meta import CLUSTER_WIDE
from knative.local.manifests.patches import PatchError
from knative.local.manifests.resource import Resource


def matches(resource: Resource, target: dict[str, Any]) -> bool:
    """Is `resource` what a patch's target selects? PatchError for an unknown field."""
    group, _, version = str(resource.body.get("apiVersion", "")).rpartition("/")
    facts = {
        "group": group,
        "version": version,
        "kind": resource.kind,
        "name": resource.name,
        "namespace": str(resource.metadata.get("namespace", "")),
    }
    for key, wanted in target.items():
        if key in facts:
            if wanted and not re.fullmatch(str(wanted), facts[key]):
                return False
        elif key in ("labelSelector", "annotationSelector"):
            held = resource.metadata.get(key.removesuffix("Selector") + "s") or {}
            if not all(_selects(part.strip(), held) for part in str(wanted).split(",")):
                return False
        else:
            raise PatchError(f"target.{key} is not supported")
    return True


def _selects(part: str, held: dict[str, str]) -> bool:
    key, equals, value = part.replace("==", "=").partition("=")
    if key.endswith("!"):
        return held.get(key[:-1].strip()) != value.strip()
    return held.get(key.strip()) == value.strip() if equals else key in held


def change_names_and_labels(body: dict[str, Any], own: list[Resource]) -> None:
    """Apply namespace, labels, commonLabels and commonAnnotations of the kustomization."""
    namespace = body.get("namespace")
    for resource in own:
        metadata = resource.metadata
        if namespace and resource.kind == "Namespace":
            metadata["name"] = namespace
        elif namespace and resource.kind not in CLUSTER_WIDE:
            metadata["namespace"] = namespace
            for subject in resource.body.get("subjects") or []:
                if subject.get("kind") == "ServiceAccount":
                    subject["namespace"] = namespace
        for labels, in_selectors, in_templates in _labels(body):
            metadata.setdefault("labels", {}).update(labels)
            template = (resource.body.get("spec") or {}).get("template")
            if in_templates and isinstance(template, dict):
                template.setdefault("metadata", {}).setdefault("labels", {}).update(labels)
            selector = (resource.body.get("spec") or {}).get("selector")
            if in_selectors and isinstance(selector, dict):
                chosen = selector if resource.kind == "Service" else selector["matchLabels"]
                chosen.update(labels)
        if body.get("commonAnnotations"):
            metadata.setdefault("annotations", {}).update(body["commonAnnotations"])


def _labels(body: dict[str, Any]) -> Iterator[tuple[dict[str, str], bool, bool]]:
    if body.get("commonLabels"):
        yield body["commonLabels"], True, True
    for entry in body.get("labels") or ():
        selectors = bool(entry.get("includeSelectors"))
        yield entry.get("pairs", {}), selectors, selectors or bool(entry.get("includeTemplates"))


def change_images(entry: dict[str, Any], own: list[Resource]) -> None:
    """Apply one entry of `images`."""
    for resource in own:
        for container in _find(resource.body, ("containers", "initContainers")):
            image = re.match(r"^(.*?)(:[^/:@]+)?(@.+)?$", str(container.get("image", "")))
            if image and image[1] == entry.get("name"):
                tag = f":{entry['newTag']}" if "newTag" in entry else image[2] or ""
                digest = f"@{entry['digest']}" if "digest" in entry else ""
                container["image"] = f"{entry.get('newName', image[1])}{digest or tag}"


def _find(value: Any, keys: tuple[str, ...]) -> Iterator[dict[str, Any]]:
    """Every mapping in the lists that stand under one of `keys`, at any depth."""
    if isinstance(value, dict):
        for key, item in value.items():
            if key in keys and isinstance(item, list):
                yield from (entry for entry in item if isinstance(entry, dict))
            yield from _find(item, keys)
    elif isinstance(value, list):
        for item in value:
            yield from _find(item, keys)
