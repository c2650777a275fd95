"""KN5xx: what happens to an event whose subscriber fails?"""

from __future__ import annotations

from collections.abc import Iterator

from knative.lint.delivery import (
    DELIVERY,
    budget_s,
    has_sink,
    holds_for,
    is_channel_based,
    on_channel,
    pauses_s,
    show_s,
    written,
)
from knative.lint.finding import Found, rule
from knative.lint.thing import MESSAGING, SERVING, Thing
from knative.lint.tree import Tree
from knative.local.broker.spec import STOCK_DELIVERY

_FAN_OUT_S = 900  # an in-memory channel gives up on a whole event after this


@rule(
    "KN501", "warning", "no dead letter sink",
    why="After the last retry the event is gone without a trace, and the producer may get a 500 "
    "that makes it send again to everybody. Knative's default delivery has no dead letter sink.",
    fix="Write delivery.deadLetterSink at the Broker; its Triggers inherit that field.",
)  # fmt: skip
def no_dead_letter_sink(tree: Tree) -> Iterator[Found]:
    for trigger in tree.triggers:
        broker = tree.broker_of(trigger)
        if broker is not None and not holds_for(trigger, tree).has_sink:
            words = f"neither it nor Broker {broker.name} has one"
            yield Found(trigger, _delivery_or_spec(trigger), words)
    for subscription in tree.of(MESSAGING, "Subscription"):
        ref = subscription.mapping("spec", "channel")
        channel = tree.resolve(ref, subscription)
        if channel is not None and not has_sink(subscription) and not has_sink(channel):
            words = f"neither it nor {channel} has one"
            yield Found(subscription, _delivery_or_spec(subscription), words)


@rule(
    "KN502", "warning", "Trigger delivery that drops the Broker's",
    why="A Trigger's delivery replaces the Broker's as a whole; only the dead letter sink is "
    "inherited. A delivery with no retry means no retries at all.",
    fix="Write all of retry, backoffPolicy, backoffDelay and timeout again, or none of delivery.",
)  # fmt: skip
def drops_the_brokers(tree: Tree) -> Iterator[Found]:
    for trigger in tree.triggers:
        broker, own = tree.broker_of(trigger), trigger.get(*DELIVERY)
        if broker is None or not is_channel_based(broker) or not isinstance(own, dict):
            continue
        stock = broker.get(*DELIVERY) is None
        theirs = STOCK_DELIVERY if stock else written(broker)
        lost = []
        if theirs.retry and "retry" not in own:
            lost.append(f"retry: {theirs.retry}")
        if own.get("retry") and theirs.backoff_policy and "backoffPolicy" not in own:
            lost.append(f"backoffPolicy: {theirs.backoff_policy}")
        if own.get("retry") and theirs.backoff_delay_s and "backoffDelay" not in own:
            lost.append(f"backoffDelay: {show_s(theirs.backoff_delay_s)}")
        if theirs.timeout_s and "timeout" not in own:
            lost.append(f"timeout: {show_s(theirs.timeout_s)}")
        if lost:
            whose = "Knative's default" if stock else f"Broker {broker.name}'s"
            yield Found(trigger, DELIVERY, f"loses {whose} {', '.join(lost)}")


@rule(
    "KN503", "warning", "linear backoff starts at zero",
    why="The pause before linear retry k is k times the delay, counted from 0: the first retry "
    "follows at once, while the subscriber is still down.",
    fix="Use backoffPolicy: exponential (delay, 2 x delay, 4 x delay ...).",
)  # fmt: skip
def linear(tree: Tree) -> Iterator[Found]:
    for thing in _of_channels(tree):
        delivery = written(thing)
        if delivery.backoff_policy == "linear" and delivery.retry:
            path = (*DELIVERY, "backoffPolicy")
            yield Found(thing, path, f"the first of {delivery.retry} retries comes at once")


@rule(
    "KN504", "warning", "retries without a pause",
    why="Without backoffPolicy or backoffDelay all retries follow at once and are used up before "
    "a restarting subscriber is back.",
    fix="Write backoffPolicy: exponential and a backoffDelay such as PT1S.",
)  # fmt: skip
def hasty(tree: Tree) -> Iterator[Found]:
    for thing in _of_channels(tree):
        delivery = written(thing)
        if delivery.retry and not (delivery.backoff_policy and delivery.backoff_delay_s):
            words = f"{delivery.retry} retries follow one another at once"
            yield Found(thing, (*DELIVERY, "retry"), words)


@rule(
    "KN505", "warning", "more than the quarter of an hour that a channel gives an event",
    why="Fifteen minutes after it came an in-memory channel gives up on an event: no more retries, "
    "no dead letter, and a 500 to the producer. Attempts that hang count, and pauses double.",
    fix="Fewer retries, a shorter timeout or delay; let dead letters be sent again later instead.",
)  # fmt: skip
def endless(tree: Tree) -> Iterator[Found]:
    for thing in _of_channels(tree):
        total_s = pauses_s(written(thing))
        if total_s > _FAN_OUT_S:
            words = f"the pauses alone add up: {show_s(total_s)}"
            yield Found(thing, (*DELIVERY, "retry"), words)
    told: dict[Thing, tuple[float, Thing]] = {}  # by what the delivery is written in
    for trigger in tree.triggers:
        held = holds_for(trigger, tree)
        if not on_channel(trigger, tree) or held.written_in is None:
            continue
        total_s = budget_s(held.delivery, tree.at(trigger, "spec", "subscriber"))
        if pauses_s(held.delivery) <= _FAN_OUT_S < total_s:
            worst_s, _ = told.get(held.written_in, (0.0, trigger))
            if total_s > worst_s:
                told[held.written_in] = total_s, trigger
    for thing, (total_s, trigger) in told.items():
        whose = "" if thing is trigger else f" at {trigger}"
        yield Found(thing, (*DELIVERY, "retry"), f"all attempts{whose} may take {show_s(total_s)}")


@rule(
    "KN506", "note", "no limit to one attempt",
    why="Without delivery.timeout a subscriber that hangs holds its event, and with an in-memory "
    "channel the producer too, for up to fifteen minutes.",
    fix="Write delivery.timeout, above the subscriber's own worst case.",
)  # fmt: skip
def unlimited(tree: Tree) -> Iterator[Found]:
    for trigger in tree.triggers:
        subscriber = tree.at(trigger, "spec", "subscriber")
        if subscriber is not None and subscriber.is_a(SERVING, "Service"):
            continue  # its timeoutSeconds ends the attempt
        if tree.broker_of(trigger) and holds_for(trigger, tree).delivery.timeout_s is None:
            words = "nothing ends an attempt at this subscriber"
            yield Found(trigger, _delivery_or_spec(trigger), words)


def _of_channels(tree: Tree) -> Iterator[Thing]:
    """What has a delivery that a channel carries out, or may."""
    for thing in tree.things:
        if thing.is_knatives and thing.mapping(*DELIVERY):
            broker = tree.broker_of(thing) if thing.kind == "Trigger" else thing
            if thing.kind not in ("Broker", "Trigger") or is_channel_based(broker):
                yield thing


def _delivery_or_spec(thing: Thing) -> tuple[str, ...]:
    return ("spec", "delivery") if thing.mapping(*DELIVERY) else ("spec",)
