"""Who waits for whom.

A function's time limit is about its own work: its events leave after its answer. Three waits
remain. A Trigger waits longer than its function works. A reply is part of its Trigger's attempt on
an in-memory channel, so that Trigger waits for all that the reply sets off. And the attempts and
pauses of one Trigger end before such a channel drops the event, which leaves no dead letter.
"""

from __future__ import annotations

import pytest

from tests.support.repository import (
    ROOT,
    Trigger,
    function_folders,
    hears,
    services,
    spec,
    triggers,
)

# A letter is one row: written, or the database is away. The client gives up connecting at 10 s.
DEAD_LETTER_S = 15.0
LONGEST_S = 600  # Knative's own limit for timeoutSeconds
BREAKER_S = 30.0  # for so long the original orchestrator asks a service no more
# Kubernetes pauses before the retries of a Job with `backoffLimit: 4`, as the CronJobs had.
BACKOFF_LIMIT_4_S = 10.0 + 20.0 + 40.0 + 80.0
FAN_OUT_S = 900.0  # after this an in-memory channel drops the event
ASKS_SERVICES = {"sprint-report", "cycle-trigger", "scrum-simulate", "scrum-report"}
ALL = [pytest.param(trigger, id=trigger.name) for trigger in triggers()]
ASKING = [pytest.param(t, id=t.name) for t in triggers() if t.service in ASKS_SERVICES]


def timeout_s(name: str) -> float:
    """A function's first byte is its answer, and stock Serving waits 300 s for that."""
    pod = services()[name.replace("_", "-")]["spec"]["template"]["spec"]
    return float(min(pod["timeoutSeconds"], pod.get("responseStartTimeoutSeconds", 300)))


def replies(name: str) -> bool:
    """Does a function answer with an event?"""
    if name not in function_folders():
        return False
    labels = services()[name.replace("_", "-")]["metadata"]["labels"]
    return bool(spec(name).emits) and labels.get("dsm.io/outbox") != "true"


def takes_s(trigger: Trigger) -> float:
    """How long the broker may be busy with one event for one Trigger."""
    attempts = (trigger.retry + 1) * timeout_s(trigger.service) + trigger.pauses_s
    return attempts + max(DEAD_LETTER_S, reply_s(trigger.service.replace("-", "_")))


def reply_s(name: str) -> float:
    """How long the broker may be busy with what a function answers, if it answers with events."""
    if not replies(name):
        return 0.0
    emits = set(spec(name).emits)
    behind = [t for t in triggers() if emits & set(hears(t)) and t.service != name]
    return max((takes_s(trigger) for trigger in behind), default=0.0)


def test_the_arithmetic_is_about_something() -> None:
    assert replies("realm_service")
    assert reply_s("realm_service") > 100
    assert not replies("sprint_report")


@pytest.mark.parametrize("trigger", ALL)
def test_a_trigger_waits_longer_than_its_function_may_take(trigger: Trigger) -> None:
    limit = timeout_s(trigger.service)
    assert limit <= LONGEST_S
    assert trigger.timeout_s > limit


@pytest.mark.parametrize("trigger", ALL)
def test_a_trigger_waits_for_all_that_a_reply_sets_off(trigger: Trigger) -> None:
    """Or the broker posts the reply again, and in the end buries an event that was served."""
    assert trigger.timeout_s > reply_s(trigger.service.replace("-", "_"))


@pytest.mark.parametrize("trigger", ASKING)
def test_retries_outlast_a_circuit_breaker_and_the_jobs_that_they_replace(trigger: Trigger) -> None:
    assert trigger.pauses_s > 2 * BREAKER_S
    assert trigger.pauses_s >= BACKOFF_LIMIT_4_S


@pytest.mark.parametrize("trigger", ALL)
def test_an_event_is_a_dead_letter_before_the_channel_gives_up(trigger: Trigger) -> None:
    assert takes_s(trigger) < FAN_OUT_S


@pytest.mark.parametrize("name", services())
def test_what_is_asked_of_serving_is_what_it_gives(name: str) -> None:
    pod = services()[name]["spec"]["template"]["spec"]
    assert timeout_s(name) == pod["timeoutSeconds"], "write responseStartTimeoutSeconds"


def test_a_delivery_of_ones_own_says_why() -> None:
    """A Trigger inherits its Broker's delivery; one that replaces it has a comment on it."""
    silent = []
    for path in sorted((ROOT / "knative/base").rglob("*.yaml")):
        lines = path.read_text().splitlines()
        for place, line in enumerate(lines):
            is_own = line == "  delivery:" and "kind: Trigger" in _document(lines, place)
            if is_own and "#" not in lines[place + 1]:
                silent.append(f"{path.name}:{place + 1}")
    assert silent == []


def _document(lines: list[str], place: int) -> list[str]:
    """The lines of the YAML document that a line belongs to."""
    begin = max((at for at in range(place) if lines[at] == "---"), default=0)
    end = next((at for at in range(place, len(lines)) if lines[at] == "---"), len(lines))
    return lines[begin:end]


@pytest.mark.parametrize("name", [n for n in function_folders() if spec(n).outbox])
def test_the_linter_is_told_whose_events_leave_after_the_answer(name: str) -> None:
    labels = services()[name.replace("_", "-")]["metadata"]["labels"]
    assert not spec(name).emits or labels.get("dsm.io/outbox") == "true"
