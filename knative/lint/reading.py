"""Directories, files and standard input as trees: a kustomization is built, a folder read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from knative.lint.folders import below, bodies
from knative.lint.thing import Thing
from knative.local.manifests.kustomize import attempt, kustomization
from knative.local.manifests.problems import ManifestError, Problem
from knative.local.manifests.resource import Resource, expanded
from knative.local.manifests.source import Document, as_text, parse_documents, read_bytes

STDIN = Path("<stdin>")
_BREAK = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_KIND = re.compile(r"^kind:[ \t]*[\"']?(\w+)", re.MULTILINE)
# Rules look at what is Knative's and at these: all else need not be built.
_KINDS = {
    "List", "Namespace", "ConfigMap", "Service", "Role", "ClusterRole",
    "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicaSet", "Pod",
}  # fmt: skip


@dataclass
class Reading:
    """What was read.

    `unread` stands in the way of saying that a name does not exist. Of what is `unbuilt` nothing
    can be said at all, so there are no things then.
    """

    things: list[Thing] = field(default_factory=list)
    others: int = 0  # objects of kinds that no rule looks at
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
    loose = _files(found.loose, every=False)
    built = [_kustomized(folder) for folder in found.tops]
    return [loose, *built] if loose.things or loose.broken or loose.others or not built else built


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
    is_component = any(body.get("kind") == "Component" for body in bodies(file))
    reading = Reading()
    try:
        resources, problems = attempt(folder, as_component=is_component)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # The builder trusts shapes that the kustomization of a stranger may not have.
        words = f"cannot be built ({type(error).__name__}: {error}); try kubectl kustomize"
        return Reading(broken=[Problem(file, 1, "kustomization", "", words)])
    if is_component:  # what it patches is not here
        problems = [problem for problem in problems if problem.file != file]
    remote = any("remote resources" in problem.message for problem in problems)
    for problem in problems:
        if remote and "nothing matches" in problem.message:
            continue  # what it patches is elsewhere
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
    if is_component:
        words = "is a Component, looked at without what it goes into"
        reading.unread.append(Problem(file, 1, "kustomization", "", words))
    return reading


def _worded(problem: Problem, words: str) -> Problem:
    return Problem(problem.file, problem.line, problem.thing, problem.field, words)


def _files(files: list[Path], *, every: bool = True) -> Reading:
    """The tree of these files; unless `every`, of those that may hold Kubernetes objects."""
    reading = Reading()
    for file in files:
        try:
            data = read_bytes(file)
            if every or _may_hold_objects(data):
                _parts(as_text(data, file), file, reading)
        except ManifestError as error:
            reading.broken += error.problems
    return reading


def _may_hold_objects(data: bytes) -> bool:
    """Is it worth reading? A folder holds the YAML and JSON of many tools."""
    odd = b"\0" in data or data.startswith((b"\xff\xfe", b"\xfe\xff"))
    return odd or (b"apiVersion" in data and b"kind" in data)


def _parts(text: str, file: Path, reading: Reading) -> None:
    """Take the documents that a rule looks at; where one is broken, the others all the same."""
    cuts = [0, *(match.start() for match in _BREAK.finditer(text)), len(text)]
    line = 1
    for start, end in pairwise(cuts):
        part = text[start:end]
        if not _is_looked_at(part):
            reading.others += 1
        else:
            try:
                _take(parse_documents(part, file, line), reading)
            except ManifestError as error:
                reading.broken += map(_kinder, error.problems)
        line += part.count("\n")


def _is_looked_at(text: str) -> bool:
    """May a document be of a kind that a rule looks at? Without a `kind:` that is plain, it may."""
    kinds = _KIND.findall(text)
    return not kinds or ".knative.dev/" in text or not _KINDS.isdisjoint(kinds)


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
