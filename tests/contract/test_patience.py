"""Who waits for whom: each patience is longer than what it waits for.

A broker may answer a producer only once everything behind it is done, retries and all, and it
counts as a producer itself when it posts the reply of a subscriber: each post has the time limit
of the Trigger that the reply came through. So, for a function f and those it tells:

    attempts and pauses of each Trigger that f's events pass, and then what *their* replies set off,
        or one delivery to the dead letter
    < f's PUBLISH_TIMEOUT_S < f's timeoutSeconds < timeout of the Triggers to f

and each such sum ends within the quarter of an hour that an in-memory channel gives an event. An
attempt is as long as Serving lets it be; where nobody answers at all, a node being lost, only the
Trigger's timeout ends it, and a channel may give up first: a saga then says its command again. A
worker of sagas publishes nothing: there only the Trigger's timeout is longer than the sum.

A function that tells itself cannot outwait itself, and one that keeps its events until the broker
has taken them need not: cut short, they send again, under the same ids.
"""

from __future__ import annotations

import pytest

from functions.events.saga import StepCommanded
from functions.kit.settings import ProcessSettings
from tests.contract.repository import (
    Trigger,
    environment,
    function_folders,
    hears,
    services,
    spec,
    triggers,
)

# A letter is one row: written, or the database is away. The client gives up connecting at 10 s.
DEAD_LETTER_S = 15.0
KEEPS_ITS_EVENTS = ("job_launcher", "orchestrator", "scheduler", "webhook_receiver")
LONGEST_S = 600  # Knative's own limit for timeoutSeconds
FAN_OUT_S = 900.0  # after this an in-memory channel drops the event, without a dead letter


def timeout_s(name: str) -> float:
    """A function's first byte is its answer, and stock Serving waits 300 s for that."""
    pod = services()[name.replace("_", "-")]["spec"]["template"]["spec"]
    return float(min(pod["timeoutSeconds"], pod.get("responseStartTimeoutSeconds", 300)))


def publish_s(name: str) -> float:
    return ProcessSettings.read(environment(services()[name.replace("_", "-")])).publish_timeout_s


def behind(name: str) -> list[Trigger]:
    """The Triggers that a function's events pass."""
    emits = set(spec(name).emits)
    own = name.replace("_", "-")
    return [t for t in triggers() if emits & set(hears(t)) and t.service != own]


def takes_s(trigger: Trigger) -> float:
    """How long the broker may be busy with one event for one Trigger."""
    attempts = (trigger.retry + 1) * timeout_s(trigger.service) + trigger.pauses_s
    return attempts + max(DEAD_LETTER_S, reply_s(trigger.service.replace("-", "_")))


def reply_s(name: str) -> float:
    """How long the broker may be busy with what a function answers, if it answers with events."""
    if name in KEEPS_ITS_EVENTS or name not in function_folders():
        return 0.0
    return max((takes_s(trigger) for trigger in behind(name)), default=0.0)


def blame(name: str) -> str:
    """Who of those behind a function takes longest, and what to do about it."""
    slowest = max(behind(name), key=takes_s)
    return (
        f"Trigger {slowest.name} may keep the broker busy for {takes_s(slowest):.0f} s: fewer or "
        f"shorter attempts there (or a lower timeoutSeconds of {slowest.service}), or {name} "
        "waits longer"
    )


def test_the_arithmetic_is_about_something() -> None:
    assert {t.service for t in behind("sprint_report")} >= {"cycle-trigger"}
    assert {t.service for t in behind("scrum_simulate")} >= {"scrum-report"}


@pytest.mark.parametrize("trigger", [pytest.param(t, id=t.name) for t in triggers()])
def test_a_trigger_waits_longer_than_its_function_may_take(trigger: Trigger) -> None:
    limit = timeout_s(trigger.service)
    assert limit <= LONGEST_S
    assert trigger.timeout_s > limit


@pytest.mark.parametrize("trigger", [pytest.param(t, id=t.name) for t in triggers()])
def test_a_trigger_waits_for_all_that_a_reply_sets_off(trigger: Trigger) -> None:
    """Or the broker posts the reply again, and in the end buries an event that was served."""
    name = trigger.service.replace("-", "_")
    assert trigger.timeout_s > reply_s(name), blame(name)


@pytest.mark.parametrize("name", services())
def test_what_is_asked_of_serving_is_what_it_gives(name: str) -> None:
    pod = services()[name]["spec"]["template"]["spec"]
    assert timeout_s(name) == pod["timeoutSeconds"], "write responseStartTimeoutSeconds"


@pytest.mark.parametrize("trigger", [pytest.param(t, id=t.name) for t in triggers()])
def test_an_event_is_a_dead_letter_before_the_channel_gives_up(trigger: Trigger) -> None:
    assert takes_s(trigger) < FAN_OUT_S


@pytest.mark.parametrize("name", [n for n in function_folders() if spec(n).emits])
def test_a_function_waits_for_all_that_its_events_set_off(name: str) -> None:
    assert publish_s(name) < timeout_s(name), "it must be able to say that publishing failed"
    waits = name not in KEEPS_ITS_EVENTS and spec(name).inputs != (StepCommanded,)
    for trigger in behind(name) if waits else ():
        assert publish_s(name) > takes_s(trigger), blame(name)
