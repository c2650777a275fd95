"""An overlay and its rendered manifests."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from knative.deploy.kubectl import Kubectl

Manifest = Mapping[str, Any]

WORKSPACE_IMAGE = "WORKSPACE_IMAGE"

OVERLAYS = Path(__file__).resolve().parents[1] / "overlays"


def folder(overlay: str) -> Path:
    """Return an overlay's folder, by its name in knative/overlays or by its path."""
    for path in (Path(overlay), OVERLAYS / overlay):
        if (path / "kustomization.yaml").is_file():
            return path.resolve()
    names = ", ".join(sorted(path.name for path in OVERLAYS.iterdir() if path.is_dir()))
    raise SystemExit(f"there is no overlay {overlay}: name a folder, or one of {names}")


def render(kubectl: Kubectl, overlay: Path, image: str, tag: str) -> str:
    """Return the overlay as YAML; `image` and `tag` (or digest, `sha256:...`) replace its own."""
    text = kubectl("kustomize", str(overlay))
    if not image and not tag:
        return text
    with tempfile.TemporaryDirectory(prefix="deploy-") as name:
        above = Path(name).resolve()
        other = {"newName": image, "digest" if tag.startswith("sha256:") else "newTag": tag}
        body: dict[str, Any] = {
            "apiVersion": "kustomize.config.k8s.io/v1beta1",
            "kind": "Kustomization",
            "resources": [os.path.relpath(overlay, above)],
            "images": [{"name": _image(text)} | {key: new for key, new in other.items() if new}],
        }
        body["patches"] = list(_workspace_patches(text, image, tag))
        (above / "kustomization.yaml").write_text(yaml.safe_dump(body))
        return kubectl("kustomize", str(above))


def _workspace_patches(text: str, image: str, tag: str) -> Iterator[Manifest]:
    """Give the containers around agents, which a variable names, the same image."""
    for service in of_kind(objects(text), "Service"):
        container = service["spec"]["template"]["spec"]["containers"][0]
        for number, variable in enumerate(container.get("env", [])):
            if variable["name"] == WORKSPACE_IMAGE:
                name = image or _name(container["image"])
                mark = "@" if tag.startswith("sha256:") else ":"
                end = container["image"].removeprefix(_name(container["image"]))
                path = f"/spec/template/spec/containers/0/env/{number}/value"
                value = name + (f"{mark}{tag}" if tag else end)
                patch = [{"op": "replace", "path": path, "value": value}]
                target = {"kind": "Service", "name": service["metadata"]["name"]}
                yield {"target": target, "patch": yaml.safe_dump(patch)}


def _image(text: str) -> str:
    """Return the name of the functions' image, without tag and digest."""
    names = {
        _name(container["image"])
        for service in of_kind(objects(text), "Service")
        for container in service["spec"]["template"]["spec"]["containers"]
    }
    if len(names) != 1:
        raise SystemExit(f"IMAGE and TAG are for one image; the overlay has {sorted(names)}")
    return names.pop()


def _name(image: str) -> str:
    """
    >>> _name("registry:5000/functions"), _name("registry:5000/functions:v1@sha256:0")
    ('registry:5000/functions', 'registry:5000/functions')
    """
    home, slash, last = image.partition("@")[0].rpartition("/")
    return home + slash + last.partition(":")[0]


def objects(text: str) -> list[Manifest]:
    return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]


def of_kind(manifests: Sequence[Manifest], kind: str) -> Iterator[Manifest]:
    """Return the objects of a kind; `Service` is Knative's."""
    own = {"Service": "serving.knative.dev/", "Job": "batch/"}.get(kind, "")
    return (m for m in manifests if m["kind"] == kind and m["apiVersion"].startswith(own))


def group(api_version: str) -> str:
    return api_version.rpartition("/")[0]


def namespace_of(manifest: Manifest) -> str:
    """Return the object's namespace; an overlay may leave it to kubectl."""
    namespace: str = manifest["metadata"].get("namespace", "default")
    return namespace


def kubectl_name(manifest: Manifest) -> str:
    """Return the name that kubectl prints.

    >>> kubectl_name({"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "migrate"}})
    'job.batch/migrate'
    """
    kind = ".".join(filter(None, (manifest["kind"].lower(), group(manifest["apiVersion"]))))
    return f"{kind}/{manifest['metadata']['name']}"
