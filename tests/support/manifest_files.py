"""Writes small overlays for tests."""

from __future__ import annotations

import os
import textwrap
from pathlib import Path

import pytest
import yaml

from knative.local.manifests.load import World, load
from knative.local.manifests.problems import ManifestError
from tests.support.local_knative import ROOT

BROKER = """
    apiVersion: eventing.knative.dev/v1
    kind: Broker
    metadata: {name: default}
"""
SERVICE = """
    apiVersion: serving.knative.dev/v1
    kind: Service
    metadata: {name: echo}
    spec:
      template:
        spec:
          containers: [{image: echo}]
"""


def on_top_of(overlay: Path, folder: Path, *patches: object) -> Path:
    """Make `folder` an overlay of `overlay`, with `patches` as a kustomization takes them."""
    folder.mkdir(parents=True)
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(overlay, folder)],
        "patches": list(patches),
    }
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return folder


def write(folder: Path, **files: str) -> Path:
    """Write `files` (name without .yaml to text) into `folder`; the kustomization lists them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(textwrap.dedent(text))
    serve = "[python, -m, functions.kit.process.serve]"
    programs = f"images:\n  echo: {{command: {serve}, workingDir: {ROOT}}}\n"
    (folder / "knative-local.yaml").write_text(programs)
    if "kustomization" not in files:
        listed = "".join(f"- {name}.yaml\n" for name in files)
        (folder / "kustomization.yaml").write_text(f"namespace: dsm\nresources:\n{listed}")
    return folder


def world(folder: Path, *documents: str) -> World:
    """The world of `documents`, each the YAML of one object."""
    return load(write(folder, objects="---\n".join(textwrap.dedent(d) for d in documents)))


def problems(folder: Path) -> list[str]:
    """Why `folder` cannot be loaded, each relative to it."""
    with pytest.raises(ManifestError) as refused:
        load(folder)
    return [str(problem).replace(f"{folder}/", "") for problem in refused.value.problems]


def refusals(folder: Path, *documents: str) -> list[str]:
    """Why `documents` are refused."""
    write(folder, objects="---\n".join(textwrap.dedent(d) for d in documents))
    return problems(folder)
