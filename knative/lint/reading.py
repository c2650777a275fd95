"""Read directories, files and standard input as trees; a kustomization is built first."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from knative.lint.folders import below, bodies
from knative.lint.manifest import SERVING, Key, Manifest
from knative.local.manifests.kustomize import attempt, kustomization
from knative.local.manifests.problems import ManifestError, Problem
from knative.local.manifests.resource import Resource, expanded
from knative.local.manifests.yaml_lines import Document, as_text, parse_documents, read_bytes

STDIN = Path("<stdin>")
_CLOUD_RUN = ("run.googleapis.com/", "cloud.googleapis.com/")
_BREAK = re.compile(r"^---(?=\s|$)", re.MULTILINE)
_KIND = re.compile(r"^kind:[ \t]*[\"']?(\w+)", re.MULTILINE)
# Rules check Knative's kinds and these; other documents are not parsed.
_KINDS = {
    "List", "Namespace", "ConfigMap", "Service", "Role", "ClusterRole",
    "Deployment", "StatefulSet", "DaemonSet", "Job", "CronJob", "ReplicaSet", "Pod",
}  # fmt: skip


@dataclass
class Reading:
    """The objects of one tree, and the problems of reading it.

    With `unread` parts no name counts as missing, nor in a single file (`partial`), beside which
    others may be; an `unbuilt` kustomization has no manifests. `loose`: files of no kustomization.
    """

    manifests: list[Manifest] = field(default_factory=list)
    others: int = 0  # objects that no rule checks
    cloud_run: set[Key] = field(default_factory=set)  # those of them that Triggers may name
    broken: list[Problem] = field(default_factory=list)
    unread: list[Problem] = field(default_factory=list)
    unbuilt: list[Problem] = field(default_factory=list)
    partial: bool = False
    loose: bool = False
    kustomized: bool = False


def read(target: Path) -> list[Reading]:
    """Return the trees under `target`; FileNotFoundError when there is no such path.

    A kustomization is one tree. Any other folder is one tree of all its YAML and JSON files,
    and one for each kustomization below it that no other one includes.
    """
    if target.is_file():
        reading = _files([target])
        reading.partial = True
        return [reading]
    if not target.is_dir():
        raise FileNotFoundError(f"{target}: no such file or directory")
    if kustomization(target):
        return [_kustomized(target)]
    found = below(target)
    loose = _files(found.loose, every=False)
    loose.loose = True
    built = [_kustomized(folder) for folder in found.tops]
    return (
        [loose, *built] if loose.manifests or loose.broken or loose.others or not built else built
    )


def read_text(text: str | bytes) -> Reading:
    """Return the tree of `text`, as `kubectl kustomize` or `helm template` print it."""
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
    reading = Reading(kustomized=True)
    try:
        resources, problems = attempt(folder, as_component=is_component)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        # The builder does not validate every field.
        message = f"cannot be built ({type(error).__name__}: {error}); try kubectl kustomize"
        return Reading(broken=[Problem(file, 1, "kustomization", "", message)])
    if is_component:  # its patches' targets are elsewhere
        problems = [problem for problem in problems if problem.file != file]
    remote = any("remote resources" in problem.message for problem in problems)
    for problem in problems:
        if remote and "nothing matches" in problem.message:
            continue  # the target is a remote resource
        if "remote resources" in problem.message:
            message = problem.message.replace("not supported", "not read here")
            reading.unread.append(_with_message(problem, message))
        elif "not supported" in problem.message:
            reading.unbuilt.append(_with_message(problem, "this linter cannot build it"))
        else:
            reading.broken.append(problem)
    if reading.unbuilt:
        return Reading(unbuilt=reading.unbuilt)
    _keep(resources, reading)
    if is_component:
        message = "is a Component, checked without the kustomization that includes it"
        reading.unread.append(Problem(file, 1, "kustomization", "", message))
    return reading


def _with_message(problem: Problem, message: str) -> Problem:
    return Problem(problem.file, problem.line, problem.manifest, problem.field, message)


def _files(files: list[Path], *, every: bool = True) -> Reading:
    """Return the tree of these files; unless `every`, of those that may hold Kubernetes objects."""
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
    """May a file hold Kubernetes objects? A folder has YAML and JSON of other tools too."""
    encoded = b"\0" in data or data.startswith((b"\xff\xfe", b"\xfe\xff"))
    return encoded or (b"apiVersion" in data and b"kind" in data)


def _parts(text: str, file: Path, reading: Reading) -> None:
    """Add the documents that a rule checks; a broken one does not stop the others."""
    cuts = [0, *(match.start() for match in _BREAK.finditer(text)), len(text)]
    line = 1
    for start, end in pairwise(cuts):
        part = text[start:end]
        if not _is_relevant(part):
            reading.others += 1
        else:
            try:
                _take(parse_documents(part, file, line), reading)
            except ManifestError as error:
                reading.broken += map(_with_helm_hint, error.problems)
        line += part.count("\n")


def _is_relevant(text: str) -> bool:
    """May a document be of a kind that a rule checks? One without a plain `kind:` may be."""
    kinds = _KIND.findall(text)
    return not kinds or ".knative.dev/" in text or not _KINDS.isdisjoint(kinds)


def _with_helm_hint(problem: Problem) -> Problem:
    if "templates" not in problem.file.parts:
        return problem
    message = "a Helm template? Try: helm template . | python -m knative.lint -"
    return _with_message(problem, f"{problem.message}; {message}")


def _take(documents: list[Document], reading: Reading) -> None:
    """Add the Kubernetes objects, without other YAML (values, workflows)."""
    found = (
        d for d in documents if isinstance(d.body, dict) and {"apiVersion", "kind"} <= d.body.keys()
    )
    _keep([Resource(document.body, document) for document in found], reading)


def _keep(resources: list[Resource], reading: Reading) -> None:
    for one in (Manifest(one) for resource in resources for one in expanded(resource)):
        if _is_cloud_run(one):
            reading.others += 1
            reading.cloud_run.add(one.key)
        else:
            reading.manifests.append(one)


def _is_cloud_run(manifest: Manifest) -> bool:
    """Is it a Service of Google Cloud Run, which has Knative's kind and limits of its own?"""
    return manifest.group == SERVING and any(
        name.startswith(_CLOUD_RUN)
        for home in (("metadata",), ("spec", "template", "metadata"))
        for part in ("annotations", "labels")
        for name in manifest.texts(*home, part)
    )
