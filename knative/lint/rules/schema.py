"""KN908 to KN911: do the published schemas and the admission webhooks accept an object?"""

from __future__ import annotations

from collections.abc import Iterator

from knative.lint.delivery import DELIVERY
from knative.lint.finding import Violation, rule
from knative.lint.manifest import EVENTING, SOURCES, Manifest, Path
from knative.lint.tree import Tree
from knative.local.manifests import admission, openapi

# Reported by KN906, KN403 and KN902.
_OTHER_RULES = [
    *((*DELIVERY, name) for name in ("retry", "backoffPolicy", "backoffDelay", "timeout")),
    ("spec", "filters"),
    ("spec", "filter"),
    ("spec", "template", "metadata", "annotations"),
]


@rule(
    "KN908", "error", "field that the kind does not have, or not of this type",
    why="The API server or the webhook rejects a field that Knative's published schema does not "
    "define, or of another type.",
    fix="Leave it out, or correct its name or type.",
)  # fmt: skip
def not_in_the_schema(tree: Tree) -> Iterator[Violation]:
    for manifest in tree.manifests:
        for path, message in openapi.faults(manifest.resource.body) if manifest.is_knative else ():
            if not any(path[: len(other)] == other for other in _OTHER_RULES):
                yield Violation(manifest, path, message)


@rule(
    "KN909", "error", "object that the webhook rejects",
    why="An admission webhook validates more than the schema; it rejects this.",
    fix="Correct the field.",
)  # fmt: skip
def refused(tree: Tree) -> Iterator[Violation]:
    for manifest in tree.manifests:
        if not manifest.is_knative or manifest.is_a(SOURCES, "PingSource") or _versions(manifest):
            continue  # KN703, KN910
        for path, message in manifest.refusals:
            if not is_extension(path):  # KN705
                yield Violation(manifest, path, message)


@rule(
    "KN910", "error", "kind in a version that is not served",
    why="Knative 1.22 serves this kind, but not in this apiVersion; or the kind is misspelt.",
    fix="Write the named apiVersion, whose fields may have other names; or the named kind.",
)  # fmt: skip
def not_served(tree: Tree) -> Iterator[Violation]:
    for manifest in tree.manifests:
        if manifest.is_knative and (known := _versions(manifest)):
            yield Violation(
                manifest, ("apiVersion",), f"{manifest.kind} is in {' and '.join(known)}"
            )
        version = str(manifest.get("apiVersion"))
        if manifest.is_knative and (near := openapi.misspelt(version, manifest.kind)):
            yield Violation(manifest, ("kind",), f"{manifest.kind} is no kind; {near} is")


@rule(
    "KN911", "error", "name that does not fit into a label",
    why="Knative labels objects with the names of their Brokers and Triggers. The API server "
    "accepts the object, which never becomes ready.",
    fix="At most 63 characters.",
)  # fmt: skip
def long_name(tree: Tree) -> Iterator[Violation]:
    for manifest in tree.manifests:
        is_named = manifest.group == EVENTING and manifest.kind in ("Broker", "Trigger")
        if is_named and (fault := admission.label_fault(manifest.name)):
            yield Violation(manifest, ("metadata", "name"), fault)


def _versions(manifest: Manifest) -> list[str]:
    """Return the versions that serve the kind, if its own does not."""
    return openapi.served(str(manifest.get("apiVersion")), manifest.kind)


def is_extension(path: Path) -> bool:
    """Is it the name of a ceOverrides extension?"""
    return path[:2] == ("spec", "ceOverrides")
