"""Directories, files and standard input as trees: a kustomization is built, a folder read."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from knative.lint.folders import below, bodies
from knative.lint.thing import Thing, expanded
from knative.local.manifests.kustomize import attempt, kustomization
from knative.local.manifests.problems import ManifestError, Problem
from knative.local.manifests.resource import Resource
from knative.local.manifests.source import Document, parse_documents, read_documents

STDIN = Path("<stdin>")
_BREAK = re.compile(r"^---(?=\s|$)", re.MULTILINE)


@dataclass
class Reading:
    """What was read.

    `unread` stands in the way of saying that a name does not exist. Of what is `unbuilt` nothing
    can be said at all, so there are no things then.
    """

    things: list[Thing] = field(default_factory=list)
    broken: list[Problem] = field(default_factory=list)
    unread: list[Problem] = field(default_factory=list)
    unbuilt: list[Problem] = field(default_factory=list)


def read(target: Path) -> list[Reading]:
    """The trees under `target`; FileNotFoundError when there is no such thing.

    A kustomization is one tree. Any other folder is one tree of all its YAML and JSON files,
    beside one for each kustomization below it that no other one takes in.
    """
    if target.is_file():
        return [_files([target])]
    if not target.is_dir():
        raise FileNotFoundError(f"{target}: no such file or directory")
    if kustomization(target):
        return [_kustomized(target)]
    found = below(target)
    loose = _files([file for file in found.loose if _may_hold_objects(file)])
    built = [_kustomized(folder) for folder in found.tops]
    return [loose, *built] if loose.things or loose.broken or not built else built


def read_text(text: str | bytes) -> Reading:
    """The tree of `text`, as `kubectl kustomize` or `helm template` print it."""
    reading = Reading()
    try:
        if isinstance(text, bytes):
            text = text.decode()
        documents = parse_documents(text, STDIN)
        for document in documents:
            document.text = text
        _take(documents, reading)
    except UnicodeDecodeError:
        reading.broken.append(Problem(STDIN, 1, "", "", "is not UTF-8"))
    except ManifestError as error:
        reading.broken += error.problems
    return reading


def _kustomized(folder: Path) -> Reading:
    file = kustomization(folder) or folder
    for body in bodies(file):
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
        if "remote resources" in problem.message:
            words = problem.message.replace("not supported", "not read here")
            reading.unread.append(_worded(problem, words))
        elif "not supported" in problem.message:
            reading.unbuilt.append(_worded(problem, "this linter does not know what it does"))
        else:
            reading.broken.append(problem)
    if reading.unbuilt:
        return Reading(unbuilt=reading.unbuilt)
    _keep(resources, reading)
    return reading


def _worded(problem: Problem, words: str) -> Problem:
    return Problem(problem.file, problem.line, problem.thing, problem.field, words)


def _part(folder: Path, file: Path, body: dict[str, Any]) -> Reading:
    """What a Component brings; what it patches is not here."""
    entries = body.get("resources")
    paths = [folder / str(one) for one in entries] if isinstance(entries, list) else []
    reading = _files([path for path in paths if path.is_file()])
    words = "is a Component, looked at without what it goes into"
    reading.unread.append(Problem(file, 1, "kustomization", "", words))
    return reading


def _may_hold_objects(file: Path) -> bool:
    """Is it worth reading? A folder holds the YAML and JSON of many tools."""
    try:
        text = file.read_bytes()
    except OSError:
        return True  # reading it says why
    odd = b"\0" in text or text.startswith((b"\xff\xfe", b"\xfe\xff"))
    return odd or (b"apiVersion" in text and b"kind" in text)


def _files(files: list[Path]) -> Reading:
    reading = Reading()
    for file in files:
        for documents in _parts(file, reading.broken):
            _take(documents, reading)
    return reading


def _parts(file: Path, broken: list[Problem]) -> Iterator[list[Document]]:
    """The documents of a file; where one is broken, the others all the same."""
    try:
        yield read_documents(file)
        return
    except ManifestError as error:
        problems = error.problems
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        broken += problems
        return
    before = len(broken)
    cuts = [0, *(match.start() for match in _BREAK.finditer(text)), len(text)]
    for start, end in pairwise(cuts):
        try:
            yield parse_documents(text[start:end], file, 1 + text.count("\n", 0, start))
        except ManifestError as error:
            broken += map(_kinder, error.problems)
    if len(broken) == before:
        broken += map(_kinder, problems)


def _kinder(problem: Problem) -> Problem:
    if "templates" not in problem.file.parts:
        return problem
    words = "a Helm template? Try: helm template . | python -m knative.lint -"
    return _worded(problem, f"{problem.message}; {words}")


def _take(documents: list[Document], reading: Reading) -> None:
    """Keep the Kubernetes objects; any other YAML (values, workflows) is none of ours."""
    found = (
        d for d in documents if isinstance(d.body, dict) and {"apiVersion", "kind"} <= d.body.keys()
    )
    _keep([Resource(document.body, document) for document in found], reading)


def _keep(resources: list[Resource], reading: Reading) -> None:
    reading.things += [Thing(one) for resource in resources for one in expanded(resource)]
