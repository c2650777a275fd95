"""KN1xx: does every reference resolve?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from knative.lint.finding import Violation, rule
from knative.lint.manifest import EVENTING, MESSAGING, SOURCES, Key, Manifest, Path, format_key
from knative.lint.matching import filter_of
from knative.lint.tree import Tree, broker_key, ref_key
from knative.local.manifests.problems import show

# The required destination of each kind.
_WANTED = {(EVENTING, "Trigger"): "subscriber"} | {
    (SOURCES, kind): "sink"
    for kind in ("PingSource", "ApiServerSource", "SinkBinding", "ContainerSource", "KafkaSource")
}
_SUBSCRIBER_KINDS = {(EVENTING, "Trigger"), (MESSAGING, "Subscription")}


@rule(
    "KN101", "error", "Trigger of a Broker that does not exist",
    why="The API server accepts the Trigger, its status stays empty, and no event ever arrives.",
    fix="Name a Broker of the Trigger's own namespace in spec.broker, or add the Broker.",
)  # fmt: skip
def no_such_broker(tree: Tree) -> Iterator[Violation]:
    for trigger in tree.triggers:
        key = (EVENTING, "Broker", *broker_key(trigger))
        if tree.is_missing(key, trigger):
            yield Violation(trigger, ("spec", "broker"), f"there is no {format_key(key)}")


@rule(
    "KN102", "error", "subscriber that does not exist",
    why="The Trigger never becomes ready (Unable to get the Subscriber's URI): its events are "
    "dropped.",
    fix="Correct spec.subscriber.ref, or add what it names.",
)  # fmt: skip
def no_such_subscriber(tree: Tree) -> Iterator[Violation]:
    yield from (found for found in _lost(tree) if _role(found) == "subscriber")


@rule(
    "KN103", "error", "destination that does not exist",
    why="The sender has no address for it: it does not become ready, and nothing arrives.",
    fix="Correct the ref, or add what it names.",
)  # fmt: skip
def no_such_sink(tree: Tree) -> Iterator[Violation]:
    yield from (found for found in _lost(tree) if _role(found) == "sink")


@rule(
    "KN104", "error", "dead letter sink that does not exist",
    why="The Broker or Trigger does not become ready, and what fails is lost.",
    fix="Correct deadLetterSink.ref, or add what it names.",
)  # fmt: skip
def no_such_dead_letter_sink(tree: Tree) -> Iterator[Violation]:
    yield from (found for found in _lost(tree) if _role(found) == "dead letter")


@rule(
    "KN105", "warning", "SinkBinding that selects nothing",
    why="It injects K_SINK into no object: a producer that expects it fails or drops its events.",
    fix="Correct spec.subject: apiVersion, kind, namespace, and name or labels.",
)  # fmt: skip
def binding_without_subject(tree: Tree) -> Iterator[Violation]:
    for binding in tree.of(SOURCES, "SinkBinding") if tree.complete else ():
        subject = ref_key(binding.mapping("spec", "subject"), binding)
        known = tree.has_kind(*subject[:3]) or subject[:2] == ("batch", "Job")
        if known and not any(tree.binds(binding, manifest) for manifest in tree.manifests):
            yield Violation(binding, ("spec", "subject"), "no object of this tree is its subject")


@rule(
    "KN106", "error", "destination without an address",
    why="The API server rejects it: a destination is a ref, an absolute uri, or a ref with a "
    "relative uri.",
    fix="Write a ref, or a whole URL such as http://host/path.",
)  # fmt: skip
def no_address(tree: Tree) -> Iterator[Violation]:
    for manifest in tree.manifests:
        wanted = _WANTED.get((manifest.group, manifest.kind))
        if wanted and not manifest.mapping("spec", wanted):
            yield Violation(manifest, ("spec",), f"there is no spec.{wanted}")
        for path in _destinations(manifest):
            body = manifest.mapping(*path)
            uri = manifest.text(*path, "uri")
            if not body.get("ref") and not uri:
                yield Violation(manifest, path, "has neither ref nor uri")
            elif not body.get("ref") and "://" not in uri:
                yield Violation(
                    manifest, (*path, "uri"), f"{uri!r} is relative, but there is no ref"
                )
            elif body.get("ref") and "://" in uri:
                yield Violation(
                    manifest, (*path, "uri"), f"{uri!r} is absolute, but there is a ref"
                )


@rule(
    "KN107", "warning", "duplicate Trigger",
    why="Each Trigger delivers on its own, so the subscriber gets every event twice.",
    fix="Delete one of them.",
)  # fmt: skip
def duplicate_triggers(tree: Tree) -> Iterator[Violation]:
    alike: dict[str, list[Manifest]] = defaultdict(list)
    for trigger in tree.triggers:
        if filter_of(trigger) is not None:
            ref = trigger.mapping("spec", "subscriber", "ref")
            home = trigger.namespace if ref else ""
            wanted = [trigger.get("spec", name) for name in ("filter", "filters", "subscriber")]
            alike[repr((broker_key(trigger), home, wanted))].append(trigger)
    for first, *others in alike.values():
        for other in others:
            if other.key != first.key:
                message = f"same Broker, filter and subscriber as {first}"
                yield Violation(other, ("metadata", "name"), message)


@rule(
    "KN108", "note", "name that cannot be checked here",
    why="No manifest that was read has it: it may be in another file, or in another repository.",
    fix="Lint all folders of the application together.",
)  # fmt: skip
def unchecked(tree: Tree) -> Iterator[Violation]:
    brokers = (
        (one, ("spec", "broker"), (EVENTING, "Broker", *broker_key(one))) for one in tree.triggers
    )
    for manifest, path, key in (*_refs(tree), *brokers):
        if tree.is_unknown(key) and not tree.is_missing(key, manifest):
            yield Violation(manifest, path, f"{format_key(key)} was not read")


@rule(
    "KN109", "warning", "object that is defined twice",
    why="Both are applied, and the last one wins.",
    fix="Delete one; two environments in one folder are two trees: lint them one by one.",
)  # fmt: skip
def defined_twice(tree: Tree) -> Iterator[Violation]:
    first: dict[Key, Manifest] = {}
    for manifest in tree.manifests:
        other = first.setdefault(manifest.key, manifest)
        if other is not manifest and manifest.is_knative and manifest.name:
            yield Violation(manifest, ("metadata", "name"), f"is in {show(other.file)}, too")


def _destinations(manifest: Manifest) -> Iterator[Path]:
    candidates: tuple[Path, ...] = (("spec", "delivery", "deadLetterSink"),)
    if (manifest.group, manifest.kind) in _SUBSCRIBER_KINDS:
        candidates += (("spec", "subscriber"),)
    if manifest.group == SOURCES:
        candidates += (("spec", "sink"),)
    if manifest.is_knative:
        yield from (path for path in candidates if isinstance(manifest.get(*path), dict))


def _lost(tree: Tree) -> Iterator[Violation]:
    for manifest, path, key in _refs(tree):
        if tree.is_missing(key, manifest):
            yield Violation(manifest, path, f"there is no {format_key(key)}")


def _refs(tree: Tree) -> Iterator[tuple[Manifest, Path, Key]]:
    """Return each destination of Knative's objects, with its path."""
    for manifest in tree.manifests:
        for path, ref in manifest.refs if manifest.is_knative else ():
            yield manifest, (*path, "name"), ref_key(ref, manifest)


def _role(found: Violation) -> str:
    if "deadLetterSink" in found.path:
        return "dead letter"
    return "subscriber" if "subscriber" in found.path or "steps" in found.path else "sink"
