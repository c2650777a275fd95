"""KN5xx: what happens to an event whose subscriber fails?"""

from __future__ import annotations

from collections.abc import Iterator

from knative.lint.delivery import (
    DELIVERY,
    effective_delivery,
    format_s,
    has_sink,
    is_channel_based,
    max_duration_s,
    on_channel,
    own_delivery,
    total_backoff_s,
)
from knative.lint.finding import Violation, rule
from knative.lint.manifest import MESSAGING, SERVING, Manifest
from knative.lint.tree import Tree
from knative.local.broker.spec import STOCK_DELIVERY

_FAN_OUT_TIMEOUT_S = 900  # of an in-memory channel, for one event with all retries


@rule(
    "KN501", "warning", "no dead letter sink",
    why="After the last retry the event is gone without a trace, and the producer may get a 500 "
    "that makes it send the event again to all consumers. Knative's default delivery has no dead "
    "letter sink.",
    fix="Write delivery.deadLetterSink at the Broker; its Triggers inherit that field.",
)  # fmt: skip
def no_dead_letter_sink(tree: Tree) -> Iterator[Violation]:
    for trigger in tree.triggers:
        broker = tree.broker_of(trigger)
        if broker is not None and not effective_delivery(trigger, tree).has_sink:
            message = f"neither it nor Broker {broker.name} has one"
            yield Violation(trigger, _delivery_or_spec(trigger), message)
    for subscription in tree.of(MESSAGING, "Subscription"):
        ref = subscription.mapping("spec", "channel")
        channel = tree.resolve(ref, subscription)
        if channel is not None and not has_sink(subscription) and not has_sink(channel):
            message = f"neither it nor {channel} has one"
            yield Violation(subscription, _delivery_or_spec(subscription), message)


@rule(
    "KN502", "warning", "Trigger delivery that drops the Broker's",
    why="A Trigger's delivery replaces the Broker's as a whole; only the dead letter sink is "
    "inherited. A delivery with no retry means no retries at all.",
    fix="Write all of retry, backoffPolicy, backoffDelay and timeout again, or none of delivery.",
)  # fmt: skip
def trigger_replaces_broker_delivery(tree: Tree) -> Iterator[Violation]:
    for trigger in tree.triggers:
        broker, own = tree.broker_of(trigger), trigger.get(*DELIVERY)
        if broker is None or not is_channel_based(broker) or not isinstance(own, dict):
            continue
        stock = broker.get(*DELIVERY) is None
        inherited = STOCK_DELIVERY if stock else own_delivery(broker)
        lost = []
        if inherited.retry and "retry" not in own:
            lost.append(f"retry: {inherited.retry}")
        if own.get("retry") and inherited.backoff_policy and "backoffPolicy" not in own:
            lost.append(f"backoffPolicy: {inherited.backoff_policy}")
        if own.get("retry") and inherited.backoff_delay_s and "backoffDelay" not in own:
            lost.append(f"backoffDelay: {format_s(inherited.backoff_delay_s)}")
        if inherited.timeout_s and "timeout" not in own:
            lost.append(f"timeout: {format_s(inherited.timeout_s)}")
        if lost:
            whose = "Knative's default" if stock else f"Broker {broker.name}'s"
            yield Violation(trigger, DELIVERY, f"loses {whose} {', '.join(lost)}")


@rule(
    "KN503", "warning", "linear backoff starts at zero",
    why="The delay before linear retry k is k times backoffDelay, counted from 0: the first retry "
    "follows at once, while the subscriber is still down.",
    fix="Use backoffPolicy: exponential (delay, 2 x delay, 4 x delay ...).",
)  # fmt: skip
def linear_backoff(tree: Tree) -> Iterator[Violation]:
    for manifest in _of_channels(tree):
        delivery = own_delivery(manifest)
        if delivery.backoff_policy == "linear" and delivery.retry:
            path = (*DELIVERY, "backoffPolicy")
            yield Violation(manifest, path, f"the first of {delivery.retry} retries has no delay")


@rule(
    "KN504", "warning", "retries without backoff",
    why="Without backoffPolicy or backoffDelay all retries follow at once and are used up before "
    "a restarting subscriber is ready.",
    fix="Write backoffPolicy: exponential and a backoffDelay such as PT1S.",
)  # fmt: skip
def retries_without_backoff(tree: Tree) -> Iterator[Violation]:
    for manifest in _of_channels(tree):
        delivery = own_delivery(manifest)
        if delivery.retry and not (delivery.backoff_policy and delivery.backoff_delay_s):
            message = f"{delivery.retry} retries follow one another at once"
            yield Violation(manifest, (*DELIVERY, "retry"), message)


@rule(
    "KN505", "warning", "retries longer than the 15 minutes of an in-memory channel",
    why="An in-memory channel drops an event 15 minutes after its arrival: no more retries, no "
    "dead letter, and a 500 to the producer. Attempts that hang count, and delays double.",
    fix="Fewer retries, a shorter timeout or delay; let dead letters be sent again later instead.",
)  # fmt: skip
def retries_exceed_channel_limit(tree: Tree) -> Iterator[Violation]:
    for manifest in _of_channels(tree):
        total_s = total_backoff_s(own_delivery(manifest))
        if total_s > _FAN_OUT_TIMEOUT_S:
            message = f"the delays alone add up: {format_s(total_s)}"
            yield Violation(manifest, (*DELIVERY, "retry"), message)
    longest: dict[Manifest, tuple[float, Manifest]] = {}  # by the object that defines the delivery
    for trigger in tree.triggers:
        effective = effective_delivery(trigger, tree)
        if not on_channel(trigger, tree) or effective.defined_in is None:
            continue
        total_s = max_duration_s(effective.delivery, tree.at(trigger, "spec", "subscriber"))
        if total_backoff_s(effective.delivery) <= _FAN_OUT_TIMEOUT_S < total_s:
            longest_s, _ = longest.get(effective.defined_in, (0.0, trigger))
            if total_s > longest_s:
                longest[effective.defined_in] = total_s, trigger
    for manifest, (total_s, trigger) in longest.items():
        whose = "" if manifest is trigger else f" at {trigger}"
        yield Violation(
            manifest, (*DELIVERY, "retry"), f"all attempts{whose} may take {format_s(total_s)}"
        )


@rule(
    "KN506", "note", "no limit to one attempt",
    why="Without delivery.timeout a subscriber that hangs blocks its event, and with an in-memory "
    "channel the producer too, for up to 15 minutes.",
    fix="Write delivery.timeout, above the subscriber's longest response time.",
)  # fmt: skip
def no_delivery_timeout(tree: Tree) -> Iterator[Violation]:
    for trigger in tree.triggers:
        subscriber = tree.at(trigger, "spec", "subscriber")
        if subscriber is not None and subscriber.is_a(SERVING, "Service"):
            continue  # its timeoutSeconds ends the attempt
        if tree.broker_of(trigger) and effective_delivery(trigger, tree).delivery.timeout_s is None:
            message = "nothing ends an attempt at this subscriber"
            yield Violation(trigger, _delivery_or_spec(trigger), message)


def _of_channels(tree: Tree) -> Iterator[Manifest]:
    """Return the objects with a delivery that a channel may execute."""
    for manifest in tree.manifests:
        if manifest.is_knative and manifest.mapping(*DELIVERY):
            broker = tree.broker_of(manifest) if manifest.kind == "Trigger" else manifest
            if manifest.kind not in ("Broker", "Trigger") or is_channel_based(broker):
                yield manifest


def _delivery_or_spec(manifest: Manifest) -> tuple[str, ...]:
    return ("spec", "delivery") if manifest.mapping(*DELIVERY) else ("spec",)
