"""Directories, files and standard input as trees: a kustomization is built, a folder read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knative.lint.thing import Thing, expanded
from knative.local.manifests.kustomize import attempt
from knative.local.manifests.problems import ManifestError, Problem
from knative.local.manifests.resource import Resource
from knative.local.manifests.source import Document, parse_documents, read_documents

KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
STDIN = Path("<stdin>")


@dataclass
class Reading:
    """What was read. `unread` is what stands in the way of saying that a name does not exist."""

    things: list[Thing] = field(default_factory=list)
    broken: list[Problem] = field(default_factory=list)
    unread: list[Problem] = field(default_factory=list)


def read(target: Path) -> list[Reading]:
    """The trees under `target`; FileNotFoundError when there is no such thing.

    A kustomization is one tree. Any other folder is one tree of all its YAML files, beside one
    for each kustomization below it that no other one takes in.
    """
    if target.is_file():
        return [_files([target])]
    if not target.is_dir():
        raise FileNotFoundError(f"{target}: no such file or directory")
    if _kustomization(target):
        return [_kustomized(target)]
    loose = _files(sorted(_loose(target)))
    built = [_kustomized(folder) for folder in _tops(target)]
    return [loose, *built] if loose.things or loose.broken or not built else built


def read_text(text: str | bytes) -> Reading:
    """The tree of `text`, as `kubectl kustomize` or `helm template` print it."""
    reading = Reading()
    try:
        if isinstance(text, bytes):
            text = text.decode()
        _take(parse_documents(text, STDIN), reading)
    except UnicodeDecodeError:
        reading.broken.append(Problem(STDIN, 1, "", "", "is not UTF-8"))
    except ManifestError as error:
        reading.broken += error.problems
    return reading


def _kustomized(folder: Path) -> Reading:
    file = _kustomization(folder) or folder
    for body in _bodies(file):
        if body.get("kind") == "Component":
            return _part(folder, file, body)
    reading = Reading()
    try:
        resources, problems = attempt(folder)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # The builder trusts shapes that the kustomization of a stranger may not have.
        words = f"cannot be built ({type(error).__name__}: {error}); try kubectl kustomize"
        return Reading(broken=[Problem(file, 1, "kustomization", "", words)])
    for problem in problems:
        foreign = "not supported" in problem.message or "//" in problem.message
        (reading.unread if foreign else reading.broken).append(problem)
    _keep(resources, reading)
    return reading


def _part(folder: Path, file: Path, body: dict[str, Any]) -> Reading:
    """What a Component brings; what it patches is not here."""
    entries = body.get("resources")
    paths = [folder / str(one) for one in entries] if isinstance(entries, list) else []
    reading = _files([path for path in paths if path.is_file()])
    words = "is a Component, looked at without what it goes into"
    reading.unread.append(Problem(file, 1, "kustomization", "", words))
    return reading


def _files(files: list[Path]) -> Reading:
    reading = Reading()
    for file in files:
        try:
            _take(read_documents(file), reading)
        except ManifestError as error:
            reading.broken += [_kinder(problem) for problem in error.problems]
    return reading


def _kinder(problem: Problem) -> Problem:
    if problem.file.parent.name != "templates":
        return problem
    words = "a Helm template? Try: helm template . | python -m knative.lint -"
    return Problem(problem.file, problem.line, "", "", f"{problem.message}; {words}")


def _take(documents: list[Document], reading: Reading) -> None:
    """Keep the Kubernetes objects; any other YAML (values, workflows) is none of ours."""
    bodies = (
        d for d in documents if isinstance(d.body, dict) and {"apiVersion", "kind"} <= d.body.keys()
    )
    _keep([Resource(document.body, document) for document in bodies], reading)


def _keep(resources: list[Resource], reading: Reading) -> None:
    reading.things += [Thing(one) for resource in resources for one in expanded(resource)]


def _kustomization(folder: Path) -> Path | None:
    return next((folder / name for name in KUSTOMIZATIONS if (folder / name).is_file()), None)


def _bodies(file: Path) -> list[dict[str, Any]]:
    try:
        return [d.body for d in read_documents(file) if isinstance(d.body, dict)]
    except ManifestError:
        return [{}]  # building it will say what is broken


def _folders(top: Path) -> Iterator[Path]:
    """`top` and what is below it, without hidden folders and without following links."""
    yield top
    for entry in sorted(top.iterdir()):
        if entry.is_dir() and not entry.is_symlink() and not entry.name.startswith("."):
            yield from _folders(entry)


def _loose(top: Path) -> Iterator[Path]:
    """The YAML files that no kustomization governs."""
    if _kustomization(top):
        return
    for entry in sorted(top.iterdir()):
        if entry.is_dir() and not entry.is_symlink() and not entry.name.startswith("."):
            yield from _loose(entry)
        elif entry.is_file() and entry.suffix in (".yaml", ".yml"):
            yield entry


def _tops(top: Path) -> list[Path]:
    """The kustomizations below `top` that no other one takes in, and that are no Component."""
    found: dict[Path, Path] = {}
    taken: set[Path] = set()
    for folder in _folders(top):
        file = _kustomization(folder)
        if file is None:
            continue
        for body in _bodies(file):
            if body.get("kind") != "Component":
                found[folder.resolve()] = folder
            for key in ("resources", "bases", "components"):
                entries = body.get(key)
                for entry in entries if isinstance(entries, list) else ():
                    if isinstance(entry, str) and "://" not in entry:
                        taken.add((folder / entry).resolve())
    return [folder for place, folder in found.items() if place not in taken]
