"""Which files of a folder are read: kustomizations, and the YAML and JSON that none governs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knative.local.manifests.problems import ManifestError
from knative.local.manifests.source import read_documents

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_NAMING = (
    "resources", "bases", "components", "patches", "patchesStrategicMerge", "patchesJson6902",
    "configMapGenerator", "secretGenerator", "replacements", "transformers", "generators",
    "validators", "crds", "configurations",
)  # fmt: skip
_SUFFIXES = (".yaml", ".yml", ".json")


@dataclass
class Folders:
    """What is below a folder: the kustomizations by themselves, and the files outside of them."""

    tops: list[Path] = field(default_factory=list)
    loose: list[Path] = field(default_factory=list)


def kustomization(folder: Path) -> Path | None:
    """The file that makes `folder` a kustomization."""
    return next((folder / name for name in KUSTOMIZATIONS if (folder / name).is_file()), None)


def bodies(file: Path) -> list[dict[str, Any]]:
    try:
        return [d.body for d in read_documents(file) if isinstance(d.body, dict)]
    except ManifestError:
        return [{}]  # building it will say what is broken


def below(top: Path) -> Folders:
    """What is to be read of `top`, without hidden folders and without following links.

    A kustomization that another one takes in is no tree of its own, nor is a Component. What one
    names, as a resource, a patch or a file to generate from, is not loose.
    """
    found: dict[Path, list[Path]] = {}  # a kustomization, and the files and folders that it names
    components: set[Path] = set()
    for folder in _folders(top):
        file = kustomization(folder)
        if file is not None:
            place = folder.resolve()
            found[place] = [path for body in bodies(file) for path in _named(folder, body)]
            if any(body.get("kind") == "Component" for body in bodies(file)):
                components.add(place)
    taken = {path for paths in found.values() for path in paths}
    tops = [place for place in found if place not in taken | components]
    # Those that take in one another are nobody's: one of each circle stands for it.
    for place in found:
        if place not in components and place not in _reached(tops, found):
            tops.append(place)
    shown = {folder.resolve(): folder for folder in _folders(top)}
    loose = [file for file in _loose(top) if file.resolve() not in taken]
    return Folders([shown[place] for place in tops], loose)


def _reached(tops: list[Path], found: dict[Path, list[Path]]) -> set[Path]:
    reached: set[Path] = set()
    left = [*tops]
    while left:
        place = left.pop()
        if place not in reached:
            reached.add(place)
            left += found.get(place, [])
    return reached


def _named(folder: Path, body: dict[str, Any]) -> Iterator[Path]:
    """Every file and folder that a kustomization names."""
    for name in (text for key in _NAMING for text in _texts(body.get(key))):
        try:
            path = (folder / name.rpartition("=")[2]).resolve()
            if path.exists():
                yield path
        except (OSError, RuntimeError, ValueError):
            continue  # no path at all: a patch that is written in place, perhaps


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
    """The files that are in no kustomization's folder."""
    if kustomization(top):
        return
    for entry in sorted(top.iterdir()):
        if _is_open(entry):
            yield from _loose(entry)
        elif entry.is_file() and entry.suffix in _SUFFIXES:
            yield entry


def _is_open(entry: Path) -> bool:
    return entry.is_dir() and not entry.is_symlink() and not entry.name.startswith(".")
