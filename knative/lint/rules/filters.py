"""KN4xx: does a Trigger's filter say what its author means?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from lark import Token
from lark import Tree as Node

from knative.lint.events import attributes_told
from knative.lint.finding import Found, rule
from knative.lint.matching import ANYTHING, Partial, compiled, filter_of, refusal_of
from knative.lint.thing import Path, Thing
from knative.lint.tree import Tree, broker_key
from knative.lint.vocabulary import attributes_of, parse

_ALWAYS = {"id", "source", "type", "specversion"}


@rule(
    "KN401", "error", "filter that can never match",
    why="Its parts contradict one another, so no event passes. All entries of filters must hold.",
    fix="Use any for alternatives, or one Trigger for each.",
)  # fmt: skip
def impossible(tree: Tree) -> Iterator[Found]:
    for trigger in tree.triggers:
        wanted = filter_of(trigger)
        if wanted is not None and not wanted.may_match(ANYTHING):
            words = f"no event can match this{_crash(trigger)}"
            yield Found(trigger, _path(trigger), words)


@rule(
    "KN402", "warning", "empty value that is ignored",
    why="In filters an exact, prefix or suffix of '' (or of nothing) is accepted and then "
    "skipped: it matches everything. Below a `not` it is worse: at the Trigger's next update the "
    "filter pods crash in a loop, and every Trigger of every Broker stops. Only in "
    "filter.attributes does '' mean: present.",
    fix="Write the value; for 'is present' use cesql: EXISTS name.",
)  # fmt: skip
def empty_value(tree: Tree) -> Iterator[Found]:
    for trigger in tree.triggers:
        if filter_of(trigger) is None:
            continue
        for path, dialect, body in _leaves(trigger.get("spec", "filters"), ("spec", "filters")):
            if dialect == "cesql":
                continue
            if not body:
                words = f"{dialect} of nothing matches everything{_crash(trigger)}"
                yield Found(trigger, path, words)
            for name, value in body.items():
                if not value:
                    words = f"{dialect} {name}: '' is ignored{_crash(trigger)}"
                    yield Found(trigger, (*path, name), words)


@rule(
    "KN403", "error", "filter that the API server refuses",
    why="Dialects, attribute names and CESQL are checked when the Trigger is applied.",
    fix="One dialect for each entry; attribute names in lower case; text values.",
)  # fmt: skip
def refused_filter(tree: Tree) -> Iterator[Found]:
    for trigger in tree.triggers:
        words = refusal_of(trigger)
        if words:
            yield Found(trigger, _path(trigger), words)
        for name in trigger.mapping("spec", "filter"):
            if name != "attributes":
                words = f"there is no {name} here; filter.attributes has what is to match"
                yield Found(trigger, ("spec", "filter", name), words)


@rule(
    "KN404", "warning", "filter beside filters",
    why="Where both are written, filters counts and filter is ignored.",
    fix="Write all of it in filters: an exact entry says what filter.attributes says.",
)  # fmt: skip
def two_filters(tree: Tree) -> Iterator[Found]:
    for trigger in tree.triggers:
        if trigger.items("spec", "filters") and trigger.mapping("spec", "filter", "attributes"):
            yield Found(trigger, ("spec", "filter"), "is ignored, because there is spec.filters")


@rule(
    "KN405", "warning", "filter on an attribute that no producer sets",
    why="Every EventType of this Broker lists its attributes, and this one is on no list. In CESQL "
    "a missing attribute is an error, and an error is no match.",
    fix="Correct the name, or add the attribute to the EventTypes whose events carry it.",
)  # fmt: skip
def unknown_attribute(tree: Tree) -> Iterator[Found]:
    for trigger in tree.triggers:
        wanted, told = filter_of(trigger), attributes_told(tree, broker_key(trigger))
        for name in sorted(wanted.vocabulary.words) if wanted and told is not None else ():
            if told is not None and name not in told:
                yield Found(trigger, _path(trigger), f"no event here has the attribute {name}")


@rule(
    "KN406", "note", "CESQL that excludes events without the attribute",
    why="A missing attribute is an error in CESQL and an error is no match: x != 'a' does not pass "
    "an event without x, while not: {exact: {x: a}} does.",
    fix="Write EXISTS x AND x != 'a' to mean it, or not: {exact: ...} to include those events.",
)  # fmt: skip
def silent_exclusion(tree: Tree) -> Iterator[Found]:
    for trigger in tree.triggers:
        if filter_of(trigger) is None:
            continue
        for path, dialect, body in _leaves(trigger.get("spec", "filters"), ("spec", "filters")):
            if dialect != "cesql" or path.count("not") % 2:
                continue
            expression, wanted = parse(body), compiled(None, [{"cesql": body}])
            known = {str(node.children[0]) for node in expression.find_data("exists")}
            for name in sorted(_denied(expression) - known - _ALWAYS):
                others = frozenset(wanted.vocabulary.words) - {name}
                if not wanted.may_match(Partial(free=others)):
                    yield Found(trigger, path, f"an event without {name} does not pass")


def _crash(trigger: Thing) -> str:
    """What else comes of an empty value that stands below a `not`, in words."""
    for path, dialect, body in _leaves(trigger.get("spec", "filters"), ("spec", "filters")):
        if "not" in path and dialect != "cesql" and not all([body, *body.values()]):
            return "; below a not it makes the filter pods of all Brokers crash in a loop"
    return ""


def _path(trigger: Thing) -> Path:
    return ("spec", "filters") if trigger.get("spec", "filters") else ("spec", "filter")


def _leaves(value: Any, path: Path) -> Iterator[tuple[Path, str, Any]]:
    """The exact, prefix, suffix and cesql parts of a valid filter."""
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
    """The attributes of which the expression says what they are not."""
    found: set[str] = set()
    for node in expression.iter_subtrees():
        signs = [str(part).upper() for part in node.children if isinstance(part, Token)]
        negated = node.data == "logical_not" or "NOT" in signs or "!=" in signs or "<>" in signs
        if negated and node.data in ("logical_not", "comparison", "like", "membership"):
            found |= set(attributes_of(node))
    return found
