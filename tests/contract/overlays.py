"""The overlays as they are built: what `kubectl apply -k` would send."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path

import yaml

from knative.local.manifests.kustomize import build
from tests.support.repository import KNATIVE, Manifest

OVERLAYS = {path.name: path for path in sorted((KNATIVE / "overlays").iterdir()) if path.is_dir()}
# Each can be added to the base, by `with_components`.
COMPONENTS = {
    path.name: path for path in sorted((KNATIVE / "components").iterdir()) if path.is_dir()
}


@cache
def built(path: Path) -> tuple[Manifest, ...]:
    """Every object of a kustomization."""
    return tuple(copy.deepcopy(resource.body) for resource in build(path))


def with_components(folder: Path, *names: str) -> tuple[Manifest, ...]:
    """Every object of the base with some components, by a kustomization made in `folder`."""
    body = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "namespace": "dsm",
        "resources": [str(KNATIVE / "base")],
        "components": [str(KNATIVE / "components" / name) for name in names],
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(body))
    return built(folder)


def objects(overlay: str) -> tuple[Manifest, ...]:
    return built(OVERLAYS[overlay])


def of(overlay: str, kind: str, group: str = "") -> list[Manifest]:
    """The objects of one kind in an overlay."""
    return [m for m in objects(overlay) if m["kind"] == kind and m["apiVersion"].startswith(group)]


def title(manifest: Manifest) -> str:
    meta = manifest["metadata"]
    return f"{manifest['kind']} {meta.get('namespace', '-')}/{meta['name']}"
