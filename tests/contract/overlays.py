"""The overlays as they are built: what `kubectl apply -k` would send."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path

from knative.local.manifests.kustomize import build
from tests.contract.repository import KNATIVE, Manifest

OVERLAYS = {path.name: path for path in sorted((KNATIVE / "overlays").iterdir()) if path.is_dir()}
# Each can be added to the base; `with_component` says how.
COMPONENTS = {
    path.name: path for path in sorted((KNATIVE / "components").iterdir()) if path.is_dir()
}


@cache
def built(path: Path) -> tuple[Manifest, ...]:
    """Every object of a kustomization."""
    return tuple(copy.deepcopy(resource.body) for resource in build(path))


def objects(overlay: str) -> tuple[Manifest, ...]:
    return built(OVERLAYS[overlay])


def of(overlay: str, kind: str, group: str = "") -> list[Manifest]:
    """The objects of one kind in an overlay."""
    return [m for m in objects(overlay) if m["kind"] == kind and m["apiVersion"].startswith(group)]


def title(manifest: Manifest) -> str:
    meta = manifest["metadata"]
    return f"{manifest['kind']} {meta.get('namespace', '-')}/{meta['name']}"
