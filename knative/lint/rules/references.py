"""KN1xx: does every name lead somewhere?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from knative.lint.finding import Found, rule
from knative.lint.matching import refusal_of
from knative.lint.thing import EVENTING, MESSAGING, SOURCES, Key, Path, Thing, named
from knative.lint.tree import Tree, broker_key, ref_key
from knative.local.manifests.problems import show

# Which destination cannot be absent.
_WANTED = {(EVENTING, "Trigger"): "subscriber"} | {
    (SOURCES, kind): "sink"
    for kind in ("PingSource", "ApiServerSource", "SinkBinding", "ContainerSource", "KafkaSource")
}
_SUBSCRIBER_KINDS = {(EVENTING, "Trigger"), (MESSAGING, "Subscription")}


@rule(
    "KN101", "error", "Trigger of a Broker that does not exist",
    why="The API server takes the Trigger, its status stays empty, and no event ever arrives.",
    fix="Name a Broker of the Trigger's own namespace in spec.broker, or add the Broker.",
)  # fmt: skip
def no_such_broker(tree: Tree) -> Iterator[Found]:
    for trigger in tree.triggers:
        key = (EVENTING, "Broker", *broker_key(trigger))
        if tree.is_missing(key):
            yield Found(trigger, ("spec", "broker"), f"there is no {named(key)}")


@rule(
    "KN102", "error", "subscriber that does not exist",
    why="The Trigger never becomes ready (Unable to get the Subscriber's URI): its events wait "
    "for nobody.",
    fix="Correct spec.subscriber.ref, or add what it names.",
)  # fmt: skip
def no_such_subscriber(tree: Tree) -> Iterator[Found]:
    yield from (found for found in _lost(tree) if _role(found) == "subscriber")


@rule(
    "KN103", "error", "destination that does not exist",
    why="What sends there has no address for it: it does not become ready, and nothing arrives.",
    fix="Correct the ref, or add what it names.",
)  # fmt: skip
def no_such_sink(tree: Tree) -> Iterator[Found]:
    yield from (found for found in _lost(tree) if _role(found) == "sink")


@rule(
    "KN104", "error", "dead letter sink that does not exist",
    why="The Broker or Trigger does not become ready, and what fails is lost.",
    fix="Correct deadLetterSink.ref, or add what it names.",
)  # fmt: skip
def no_such_dead_letter_sink(tree: Tree) -> Iterator[Found]:
    yield from (found for found in _lost(tree) if _role(found) == "dead letter")


@rule(
    "KN105", "warning", "SinkBinding that selects nothing",
    why="Nobody gets K_SINK from it: a producer that expects it fails or drops its events.",
    fix="Correct spec.subject: apiVersion, kind, namespace, and name or labels.",
)  # fmt: skip
def binding_without_subject(tree: Tree) -> Iterator[Found]:
    for binding in tree.of(SOURCES, "SinkBinding") if tree.complete else ():
        subject = ref_key(binding.mapping("spec", "subject"), binding)
        judged = tree.holds(*subject[:3]) or subject[:2] == ("batch", "Job")
        if judged and not any(tree.binds(binding, thing) for thing in tree.things):
            yield Found(binding, ("spec", "subject"), "no object of this tree is its subject")


@rule(
    "KN106", "error", "destination without an address",
    why="The API server refuses it: a destination is a ref, an absolute uri, or a ref with a "
    "relative uri.",
    fix="Write a ref, or a whole URL such as http://host/path.",
)  # fmt: skip
def no_address(tree: Tree) -> Iterator[Found]:
    for thing in tree.things:
        wanted = _WANTED.get((thing.group, thing.kind))
        if wanted and not thing.mapping("spec", wanted):
            yield Found(thing, ("spec",), f"there is no spec.{wanted}")
        for path in _destinations(thing):
            body = thing.mapping(*path)
            uri = thing.text(*path, "uri")
            if not body.get("ref") and not uri:
                yield Found(thing, path, "has neither ref nor uri")
            elif not body.get("ref") and "://" not in uri:
                yield Found(thing, (*path, "uri"), f"{uri!r} is relative, but there is no ref")
            elif body.get("ref") and "://" in uri:
                yield Found(thing, (*path, "uri"), f"{uri!r} is absolute, but there is a ref")


@rule(
    "KN107", "warning", "two Triggers that do the same",
    why="Each Trigger delivers on its own, so the subscriber gets every event twice.",
    fix="Delete one of them.",
)  # fmt: skip
def twins(tree: Tree) -> Iterator[Found]:
    alike: dict[str, list[Thing]] = defaultdict(list)
    for trigger in tree.triggers:
        if not refusal_of(trigger):
            ref = trigger.mapping("spec", "subscriber", "ref")
            home = trigger.namespace if ref else ""
            wanted = [trigger.get("spec", name) for name in ("filter", "filters", "subscriber")]
            alike[repr((broker_key(trigger), home, wanted))].append(trigger)
    for first, *others in alike.values():
        for other in others:
            if other.key != first.key:
                words = f"same Broker, filter and subscriber as {first}"
                yield Found(other, ("metadata", "name"), words)


@rule(
    "KN108", "note", "name that cannot be checked here",
    why="Nothing that was read has it, nor anything else of that kind in that namespace: it may "
    "well be in another repository.",
    fix="Lint together what runs together: name all folders.",
)  # fmt: skip
def unchecked(tree: Tree) -> Iterator[Found]:
    brokers = (
        (one, ("spec", "broker"), (EVENTING, "Broker", *broker_key(one))) for one in tree.triggers
    )
    for thing, path, key in (*_refs(tree), *brokers):
        if tree.is_away(key) and not tree.is_missing(key):
            yield Found(thing, path, f"{named(key)} was not read")


@rule(
    "KN109", "warning", "object that is defined twice",
    why="Both are applied, and the one that comes last is what stays.",
    fix="Delete one; two environments in one folder are two trees: lint them one by one.",
)  # fmt: skip
def defined_twice(tree: Tree) -> Iterator[Found]:
    first: dict[Key, Thing] = {}
    for thing in tree.things:
        other = first.setdefault(thing.key, thing)
        if other is not thing and thing.is_knatives and thing.name:
            yield Found(thing, ("metadata", "name"), f"is in {show(other.file)}, too")


def _destinations(thing: Thing) -> Iterator[Path]:
    candidates: tuple[Path, ...] = (("spec", "delivery", "deadLetterSink"),)
    if (thing.group, thing.kind) in _SUBSCRIBER_KINDS:
        candidates += (("spec", "subscriber"),)
    if thing.group == SOURCES:
        candidates += (("spec", "sink"),)
    if thing.is_knatives:
        yield from (path for path in candidates if isinstance(thing.get(*path), dict))


def _lost(tree: Tree) -> Iterator[Found]:
    for thing, path, key in _refs(tree):
        if tree.is_missing(key):
            yield Found(thing, path, f"there is no {named(key)}")


def _refs(tree: Tree) -> Iterator[tuple[Thing, Path, Key]]:
    """What each object of Knative's names as a destination, and where."""
    for thing in tree.things:
        for path, ref in thing.refs() if thing.is_knatives else ():
            yield thing, (*path, "name"), ref_key(ref, thing)


def _role(found: Found) -> str:
    if "deadLetterSink" in found.path:
        return "dead letter"
    return "subscriber" if "subscriber" in found.path or "steps" in found.path else "sink"
