"""KN4xx: does a Trigger's filter match what its author intends?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lark import Token
from lark import Tree as Node

from knative.lint.events import declared_attributes
from knative.lint.filter_atoms import attributes_of, parse
from knative.lint.finding import Violation, rule
from knative.lint.manifest import Manifest, Path
from knative.lint.matching import ANYTHING, PartialEvent, compiled, filter_errors, filter_of
from knative.lint.tree import Tree, broker_key

_ALWAYS = {"id", "source", "type", "specversion"}


@rule(
    "KN401", "error", "filter that can never match",
    why="Its parts contradict one another, so no event passes. All entries of filters must hold.",
    fix="Use any for alternatives, or one Trigger for each.",
)  # fmt: skip
def impossible(tree: Tree) -> Iterator[Violation]:
    for trigger in tree.triggers:
        wanted = filter_of(trigger)
        if wanted is not None and not wanted.may_match(ANYTHING):
            message = f"no event can match this{_crash(trigger)}"
            yield Violation(trigger, _path(trigger), message)


@rule(
    "KN402", "warning", "empty value that is ignored",
    why="In filters an exact, prefix or suffix of '' (or of nothing) is accepted and then "
    "skipped: it matches everything. Below a `not` it is worse: at the Trigger's next update the "
    "filter pods crash in a loop, and every Trigger of every Broker stops. Only in "
    "filter.attributes does '' mean: present.",
    fix="Write the value; for 'is present' use cesql: EXISTS name.",
)  # fmt: skip
def empty_value(tree: Tree) -> Iterator[Violation]:
    for trigger in tree.triggers:
        if filter_of(trigger) is None:
            continue
        for path, dialect, body in _leaves(trigger.get("spec", "filters"), ("spec", "filters")):
            if dialect == "cesql":
                continue
            if not body:
                message = f"{dialect} of nothing matches everything{_crash(trigger)}"
                yield Violation(trigger, path, message)
            for name, value in body.items():
                if not value:
                    message = f"{dialect} {name}: '' is ignored{_crash(trigger)}"
                    yield Violation(trigger, (*path, name), message)


@rule(
    "KN403", "error", "filter that the API server rejects",
    why="Dialects, attribute names and CESQL are validated when the Trigger is applied.",
    fix="One dialect for each entry; attribute names in lower case; text values.",
)  # fmt: skip
def refused_filter(tree: Tree) -> Iterator[Violation]:
    for trigger in tree.triggers:
        for path, message in filter_errors(trigger):
            yield Violation(trigger, path, message)
        for name in trigger.mapping("spec", "filter"):
            if name != "attributes":
                message = f"filter has no {name}; write the attributes in filter.attributes"
                yield Violation(trigger, ("spec", "filter", name), message)


@rule(
    "KN404", "warning", "filter beside filters",
    why="Where both are set, filters applies and filter is ignored.",
    fix="Write all of it in filters: an exact entry equals filter.attributes.",
)  # fmt: skip
def two_filters(tree: Tree) -> Iterator[Violation]:
    for trigger in tree.triggers:
        if trigger.items("spec", "filters") and trigger.mapping("spec", "filter", "attributes"):
            yield Violation(
                trigger, ("spec", "filter"), "is ignored, because there is spec.filters"
            )


@rule(
    "KN405", "warning", "filter on an attribute that no producer sets",
    why="Every EventType of this Broker lists its attributes, and none lists this one. In CESQL "
    "a missing attribute is an error, and an error is no match.",
    fix="Correct the name, or add the attribute to the EventTypes whose events have it.",
)  # fmt: skip
def unknown_attribute(tree: Tree) -> Iterator[Violation]:
    for trigger in tree.triggers:
        wanted, declared = filter_of(trigger), declared_attributes(tree, broker_key(trigger))
        for name in sorted(wanted.atoms.by_attribute) if wanted and declared is not None else ():
            if declared is not None and name not in declared:
                yield Violation(trigger, _path(trigger), f"no event here has the attribute {name}")


@rule(
    "KN406", "note", "CESQL that excludes events without the attribute",
    why="A missing attribute is an error in CESQL and an error is no match: x != 'a' does not pass "
    "an event without x, while not: {exact: {x: a}} does.",
    fix="Write EXISTS x AND x != 'a' to mean it, or not: {exact: ...} to include those events.",
)  # fmt: skip
def silent_exclusion(tree: Tree) -> Iterator[Violation]:
    for trigger in tree.triggers:
        if filter_of(trigger) is None:
            continue
        for path, dialect, body in _leaves(trigger.get("spec", "filters"), ("spec", "filters")):
            if dialect != "cesql" or path.count("not") % 2:
                continue
            expression, wanted = parse(body), compiled(None, [{"cesql": body}])
            known = {str(node.children[0]) for node in expression.find_data("exists")}
            for name in sorted(_denied(expression) - known - _ALWAYS):
                others = frozenset(wanted.atoms.by_attribute) - {name}
                if not wanted.may_match(PartialEvent(free=others)):
                    yield Violation(trigger, path, f"an event without {name} does not pass")


def _crash(trigger: Manifest) -> str:
    """Return the message about an empty value below a `not`."""
    for path, dialect, body in _leaves(trigger.get("spec", "filters"), ("spec", "filters")):
        if "not" in path and dialect != "cesql" and not all([body, *body.values()]):
            return "; below a not it makes the filter pods of all Brokers crash in a loop"
    return ""


def _path(trigger: Manifest) -> Path:
    return ("spec", "filters") if trigger.get("spec", "filters") else ("spec", "filter")


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, str, Any]]:
    """Return the exact, prefix, suffix and cesql parts of a valid filter."""
    for number, item in enumerate(value or ()):
        ((dialect, body),) = item.items()
        here = (*path, number, dialect)
        while dialect == "not":
            ((dialect, body),) = body.items()
            here = (*here, dialect)
        if dialect in ("all", "any"):
            yield from _leaves(body, here)
        else:
            yield here, dialect, body


def _denied(expression: Node[Token]) -> set[str]:
    """Return the attributes that the expression negates."""
    found: set[str] = set()
    for node in expression.iter_subtrees():
        signs = [str(part).upper() for part in node.children if isinstance(part, Token)]
        negated = node.data == "logical_not" or "NOT" in signs or "!=" in signs or "<>" in signs
        if negated and node.data in ("logical_not", "comparison", "like", "membership"):
            found |= set(attributes_of(node))
    return found
