"""The files of a folder to read: its kustomizations, and YAML and JSON outside of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knative.local.manifests.kustomize import kustomization
from knative.local.manifests.problems import ManifestError
from knative.local.manifests.yaml_lines import read_documents

_NAMING = (
    "resources", "bases", "components", "patches", "patchesStrategicMerge", "patchesJson6902",
    "configMapGenerator", "secretGenerator", "replacements", "transformers", "generators",
    "validators", "crds", "configurations",
)  # fmt: skip
_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass
class Folders:
    """The root kustomizations below a folder, and the files outside of kustomizations."""

    tops: list[Path] = field(default_factory=list)
    loose: list[Path] = field(default_factory=list)


def bodies(file: Path) -> list[dict[str, Any]]:
    try:
        return [d.body for d in read_documents(file) if isinstance(d.body, dict)]
    except ManifestError:
        return [{}]  # the build reports the problem


def below(top: Path) -> Folders:
    """Return the kustomizations and files below `top`, without hidden folders and symbolic links.

    A kustomization that another one includes is no root, nor is a Component. A file that one names
    as a resource, a patch or a generator's source is not loose.
    """
    folders: dict[Path, Path] = {}  # each kustomization by its resolved path
    names: dict[Path, set[Path]] = {}  # the files and folders that it names
    components: set[Path] = set()
    for folder in _folders(top):
        if (file := kustomization(folder)) is not None:
            place, found = folder.resolve(), bodies(file)
            folders[place] = folder
            names[place] = {path for body in found for path in _named(folder, body)}
            if any(body.get("kind") == "Component" for body in found):
                components.add(place)
    included = set[Path]().union(*names.values())
    tops = [place for place in folders if place not in included | components]
    reached = _reached(tops, names)
    # Kustomizations that include one another have no root: one of each cycle is taken as its root.
    for place in folders:
        if place not in components | reached:
            tops.append(place)
            reached |= _reached([place], names)
    loose = [file for file in _loose(top) if not included or file.resolve() not in included]
    return Folders([folders[place] for place in tops], loose)


def _reached(tops: list[Path], names: dict[Path, set[Path]]) -> set[Path]:
    reached: set[Path] = set()
    pending = [*tops]
    while pending:
        place = pending.pop()
        if place not in reached:
            reached.add(place)
            pending += names.get(place, ())
    return reached


def _named(folder: Path, body: dict[str, Any]) -> Iterator[Path]:
    """Return every file and folder that a kustomization names."""
    for name in (text for key in _NAMING for text in _texts(body.get(key))):
        try:
            path = (folder / name.rpartition("=")[2]).resolve()
            if path.exists():
                yield path
        except (OSError, RuntimeError, ValueError):
            continue  # no path, such as an inline patch


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, dict):
        for key in ("path", "files", "env", "envs"):
            yield from _texts(value.get(key))


def _folders(top: Path) -> Iterator[Path]:
    yield top
    for entry in sorted(top.iterdir()):
        if _is_open(entry):
            yield from _folders(entry)


def _loose(top: Path) -> Iterator[Path]:
    """Return the files that are in no kustomization's folder."""
    if kustomization(top):
        return
    for entry in sorted(top.iterdir()):
        if _is_open(entry):
            yield from _loose(entry)
        elif entry.is_file() and entry.suffix in _SUFFIXES:
            yield entry


def _is_open(entry: Path) -> bool:
    return entry.is_dir() and not entry.is_symlink() and not entry.name.startswith(".")
