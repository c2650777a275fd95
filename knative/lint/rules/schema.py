"""KN908 to KN911: what the published schemas and the admission webhooks say of each kind."""

from __future__ import annotations

from collections.abc import Iterator

from knative.lint.delivery import DELIVERY
from knative.lint.finding import Found, rule
from knative.lint.thing import EVENTING, SOURCES, Path, Thing
from knative.lint.tree import Tree
from knative.local.manifests import admission, openapi

# Other rules read these, with more to say: KN906, KN403, KN902.
_TOLD = [
    *((*DELIVERY, name) for name in ("retry", "backoffPolicy", "backoffDelay", "timeout")),
    ("spec", "filters"),
    ("spec", "filter"),
    ("spec", "template", "metadata", "annotations"),
]


@rule(
    "KN908", "error", "field that the kind does not have, or not of this type",
    why="Knative's published schema says which fields there are and of which type; the API server "
    "or the webhook refuses any other.",
    fix="Leave it out, or correct it; a spelling mistake, perhaps.",
)  # fmt: skip
def not_in_the_schema(tree: Tree) -> Iterator[Found]:
    for thing in tree.things:
        for path, words in openapi.faults(thing.resource.body) if thing.is_knatives else ():
            if not any(path[: len(told)] == told for told in _TOLD):
                yield Found(thing, path, words)


@rule(
    "KN909", "error", "object that the webhook refuses",
    why="Beyond the schema, an admission webhook checks what belongs together; it refuses this.",
    fix="Correct the field.",
)  # fmt: skip
def refused(tree: Tree) -> Iterator[Found]:
    for thing in tree.things:
        if not thing.is_knatives or thing.is_a(SOURCES, "PingSource") or _versions(thing):
            continue  # KN703, KN910
        for path, words in admission.refusals(thing.resource.body):
            if not is_extension(path):  # KN705
                yield Found(thing, path, words)


@rule(
    "KN910", "error", "kind in a version that is not served",
    why="Knative 1.22 has this kind, but not in this apiVersion: there is no matching kind.",
    fix="Write the apiVersion that is named; fields may have other names there.",
)  # fmt: skip
def not_served(tree: Tree) -> Iterator[Found]:
    for thing in tree.things:
        if thing.is_knatives and (known := _versions(thing)):
            yield Found(thing, ("apiVersion",), f"{thing.kind} is in {' and '.join(known)}")


@rule(
    "KN911", "error", "name that does not fit into a label",
    why="Knative writes the names of Brokers and Triggers into labels of what it makes for them. "
    "The API server takes the object, which is never ready.",
    fix="At most 63 characters.",
)  # fmt: skip
def long_name(tree: Tree) -> Iterator[Found]:
    for thing in tree.things:
        is_named = thing.group == EVENTING and thing.kind in ("Broker", "Trigger")
        if is_named and (fault := admission.label_fault(thing.name)):
            yield Found(thing, ("metadata", "name"), fault)


def _versions(thing: Thing) -> list[str]:
    """The versions that have its kind, where its own has it not."""
    return openapi.served(str(thing.get("apiVersion")), thing.kind)


def is_extension(path: Path) -> bool:
    """Is it the name of a ceOverrides extension?"""
    return path[:2] == ("spec", "ceOverrides")
