"""A kustomization directory, built: what `kubectl kustomize DIR` prints, as resources.

Order, as in kustomize: resources, generators, components, then patches, namespace, labels,
annotations and images; content hashes of generated names come last. A field that is not
listed in _FIELDS is refused by name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from knative.local.manifests.generators import GeneratorError, generate
from knative.local.manifests.hashes import hash_names
from knative.local.manifests.patches import PatchError, json_patch, strategic_merge
from knative.local.manifests.problems import ManifestError, Problem
from knative.local.manifests.resource import Resource, expanded
from knative.local.manifests.transform import change_images, change_names_and_labels, matches
from knative.local.manifests.yaml_lines import Document, FieldPath, parse_documents, read_documents

_FIELDS = {
    "apiVersion", "kind", "metadata", "resources", "components", "namespace", "commonLabels",
    "labels", "commonAnnotations", "configMapGenerator", "secretGenerator", "generatorOptions",
    "images", "patches", "patchesStrategicMerge", "patchesJson6902",
    # These change nothing that is applied.
    "sortOptions", "buildMetadata", "openapi", "crds",
}  # fmt: skip
PROGRAMS_FILE = "knative-local.yaml"
KUSTOMIZATIONS = ("kustomization.yaml", "kustomization.yml", "Kustomization")
# A URL, or one of git's shorter ways to name a repository.
_REMOTE = re.compile(r"\w+://|[\w.-]+@[\w.-]+:|[\w-]+(\.[\w-]+)+/|.*(//|\?ref=)")


def kustomization(directory: Path) -> Path | None:
    """The file that makes `directory` a kustomization."""
    return next((p for name in KUSTOMIZATIONS if (p := directory / name).is_file()), None)


@dataclass
class Built:
    """`folders`: the kustomizations, outermost first. `renamed`: an image's old name by its new."""

    resources: list[Resource] = field(default_factory=list)
    folders: list[Path] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)


def build(directory: Path) -> list[Resource]:
    """Every resource of the kustomization in `directory`; raises ManifestError with all faults."""
    return build_all([directory]).resources


def build_all(targets: Sequence[Path]) -> Built:
    """What kustomizations, folders of plain YAML and single files hold together.

    Raises ManifestError with all faults.
    """
    builder = _Builder()
    found: list[Resource] = []
    for target in targets:
        files = [] if kustomization(target) else plain_files(target)
        if not files:
            builder.accumulate(target, found, as_component=False)
        else:
            builder.built.folders.append(files[0].parent)
        for file in files:
            builder.read(file, found)
    builder.add(builder.built.resources, found)
    if problems := builder.problems + hash_names(builder.built.resources):
        raise ManifestError(problems)
    return builder.built


def plain_files(target: Path) -> list[Path]:
    """What `kubectl apply -f` reads: the YAML and JSON files of a folder, or the one file."""
    if target.is_file():
        return [target]
    found = target.iterdir() if target.is_dir() else ()
    return sorted(
        file
        for file in found
        if file.suffix in (".yaml", ".yml", ".json")
        and not file.name.startswith(".")
        and file.name not in (PROGRAMS_FILE, "package.json", "package-lock.json", "tsconfig.json")
    )


def attempt(directory: Path, *, as_component: bool = False) -> tuple[list[Resource], list[Problem]]:
    """Like `build`, for a reader that goes on with what can be read: resources and all faults.

    A Component by itself is what it brings, changed by itself and by those that it takes in.
    """
    builder = _Builder()
    resources: list[Resource] = []
    builder.accumulate(directory, resources, as_component=as_component)
    return resources, builder.problems + hash_names(resources)


def build_component(directory: Path) -> list[Resource]:
    """Like `build`, of a Component that stands by itself."""
    builder = _Builder()
    resources: list[Resource] = []
    builder.accumulate(directory, resources, as_component=True)
    if builder.problems:
        raise ManifestError(builder.problems)
    return resources


class _Builder:
    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.built = Built()
        self._within: list[Path] = []  # the kustomizations that are being built, outermost first

    def accumulate(self, directory: Path, into: list[Resource], *, as_component: bool) -> None:
        """Add what the kustomization in `directory` holds to `into` and apply its changes there."""
        if directory.resolve() in self._within:
            self.problems.append(Problem(directory, None, "kustomization", "", "contains itself"))
            return
        document = self._read(directory, as_component)
        if document is None:
            return
        self._within.append(directory.resolve())
        self.built.folders.append(directory.resolve())
        body = document.body
        own: list[Resource] = into if as_component else []
        found: list[Resource] = []
        for at, entry in enumerate(_list(body, "resources")):
            self._resource(document, directory, ("resources", at), str(entry), found)
        self.add(own, found)
        self._generate(document, directory, own)
        for at, entry in enumerate(_list(body, "components")):
            target = _target(directory, str(entry))
            if target is not None and target.is_dir():
                self.accumulate(target, own, as_component=True)
            else:
                self._fault(document, ("components", at), f"{entry} is not a directory")
        self._patch(document, directory, own)
        change_names_and_labels(body, own)
        self._images(document, own)
        if not as_component:
            into += own
        self._within.pop()

    def _fault(self, document: Document, path: FieldPath, message: str) -> None:
        dotted = ".".join(str(part) for part in path)
        at = document.line_of(path)
        self.problems.append(Problem(document.file, at, "kustomization", dotted, message))

    def _read(self, directory: Path, as_component: bool) -> Document | None:
        file = kustomization(directory)
        if file is None:
            problem = (
                "there is no kustomization.yaml and no other YAML in this directory"
                if directory.is_dir()
                else "there is no such file or directory"
            )
            self.problems.append(Problem(directory, None, "", "", problem))
            return None
        try:
            documents = read_documents(file)
        except ManifestError as error:
            self.problems += error.problems
            return None
        if len(documents) != 1 or not isinstance(documents[0].body, dict):
            self.problems.append(Problem(file, 1, "kustomization", "", "must be one mapping"))
            return None
        document = documents[0]
        for name in document.body.keys() - _FIELDS:
            self._fault(document, (str(name),), "is not supported by the local Knative")
        kind, wanted = document.body.get("kind"), "Component" if as_component else "Kustomization"
        if (kind or "Kustomization") != wanted:
            self._fault(document, ("kind",), f"must be {wanted} here, it is {kind}")
        return document

    def _resource(
        self, parent: Document, home: Path, at: FieldPath, entry: str, into: list[Resource]
    ) -> None:
        target = _target(home, entry)
        if target is None or (_REMOTE.match(entry) and not target.exists()):
            problem = "remote resources are not supported" if target else "is a link to itself"
            self._fault(parent, at, f"{entry}: {problem}")
            return
        if target.is_dir():
            self.accumulate(target, into, as_component=False)
            return
        if not target.is_file():
            self._fault(parent, at, f"{entry} does not exist")
            return
        self.read(target, into)

    def read(self, target: Path, into: list[Resource]) -> None:
        """Add the objects of one file, unasked whether they are there already."""
        try:
            documents = read_documents(target)
        except ManifestError as error:
            self.problems += error.problems
            return
        for document in documents:
            if not isinstance(document.body, dict) or not {"kind", "apiVersion"} <= set(
                document.body
            ):
                problem = "is not a Kubernetes object: apiVersion or kind is missing"
                self.problems.append(Problem(target, document.line, "", "", problem))
            else:
                into += expanded(Resource(document.body, document))

    def add(self, into: list[Resource], more: Iterable[Resource]) -> None:
        """Add objects, each once."""
        known = {resource.identity for resource in into}
        for resource in more:
            if resource.identity in known:
                self.problems.append(resource.problem(("metadata", "name"), "is defined twice"))
            else:
                known.add(resource.identity)
                into.append(resource)

    def _generate(self, document: Document, home: Path, own: list[Resource]) -> None:
        defaults = document.body.get("generatorOptions") or {}
        for key, kind in (("configMapGenerator", "ConfigMap"), ("secretGenerator", "Secret")):
            for at, entry in enumerate(_list(document.body, key)):
                options = {**defaults, **(entry.get("options") or {})}
                try:
                    body = generate(kind, entry, options, home)
                except GeneratorError as error:
                    self._fault(document, (key, at), str(error))
                    continue
                hashed = not options.get("disableNameSuffixHash", False)
                resource = Resource(body, document, hashed, generated=True)
                self._place(document, (key, at), resource, entry.get("behavior", "create"), own)

    def _place(
        self, document: Document, at: FieldPath, new: Resource, behaviour: str, own: list[Resource]
    ) -> None:
        old = next((r for r in own if (r.kind, r.name) == (new.kind, new.name)), None)
        if behaviour == "create":
            self.add(own, [new])
        elif behaviour not in ("merge", "replace"):
            self._fault(document, (*at, "behavior"), "must be create, merge or replace")
        elif old is None:
            self._fault(document, at, f"there is no {new.kind} {new.name} to {behaviour}")
        elif behaviour == "merge":
            for field_name in ("data", "binaryData"):
                if field_name in new.body:
                    old.body.setdefault(field_name, {}).update(new.body[field_name])
        else:
            old.body = {**new.body, "metadata": {**new.metadata, **old.metadata}}

    def _patch(self, document: Document, home: Path, own: list[Resource]) -> None:
        for path, entry in _patches(document.body):
            for name in entry.keys() - {"patch", "path", "target"}:
                self._fault(document, (*path, name), "is not supported by the local Knative")
            try:
                if "path" in entry:
                    parts = read_documents(home / entry["path"])
                else:
                    first = document.line_of((*path, "patch")) + 1  # below its `|`
                    parts = parse_documents(str(entry.get("patch", "")), document.file, first)
                for part in parts:
                    self._apply(part.body, entry.get("target"), own)
            except ManifestError as error:
                self.problems += error.problems
            except PatchError as error:
                self._fault(document, path, str(error))

    def _apply(self, patch: Any, target: dict[str, Any] | None, own: list[Resource]) -> None:
        may_be_none = target is not None
        if target is None:
            if not isinstance(patch, dict):
                raise PatchError("a JSON patch needs a target")
            target = {"kind": patch.get("kind"), "name": (patch.get("metadata") or {}).get("name")}
            group, _, version = str(patch.get("apiVersion", "")).rpartition("/")
            target |= {"group": group, "version": version}
        chosen = [resource for resource in own if matches(resource, target)]
        if not chosen and not may_be_none:
            raise PatchError(f"nothing matches the target {target}")
        for resource in chosen:
            if isinstance(patch, list):
                resource.body = json_patch(resource.body, patch)
                continue
            # With a target, the name that the patch carries is only a placeholder.
            clean = {
                key: value for key, value in patch.items() if key not in ("kind", "apiVersion")
            }
            if isinstance(clean.get("metadata"), dict):
                clean["metadata"] = {k: v for k, v in clean["metadata"].items() if k != "name"}
            merged = strategic_merge(resource.body, clean)
            if merged is None:
                own.remove(resource)
            else:
                resource.body = merged

    def _images(self, document: Document, own: list[Resource]) -> None:
        for at, entry in enumerate(_list(document.body, "images")):
            for name in entry.keys() - {"name", "newName", "newTag", "digest"}:
                self._fault(document, ("images", at, name), "is not supported")
            if "newName" in entry:
                self.built.renamed[str(entry["newName"])] = str(entry.get("name"))
            change_images(entry, own)


def _target(home: Path, entry: str) -> Path | None:
    """Where an entry leads; None where a link leads to itself."""
    try:
        return (home / entry).resolve()
    except (OSError, RuntimeError):
        return None


def _patches(body: dict[str, Any]) -> Iterator[tuple[FieldPath, dict[str, Any]]]:
    """The patches, those of the older fields as `patches` has them, in kustomize's order."""
    for at, entry in enumerate(_list(body, "patchesStrategicMerge")):
        held = "patch" if "\n" in str(entry) else "path"
        yield ("patchesStrategicMerge", at), {held: str(entry)}
    for at, entry in enumerate(_list(body, "patches")):
        yield ("patches", at), entry
    for at, entry in enumerate(_list(body, "patchesJson6902")):
        yield ("patchesJson6902", at), entry


def _list(body: dict[str, Any], key: str) -> list[Any]:
    value = body.get(key)
    return value if isinstance(value, list) else []
