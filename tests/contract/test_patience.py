"""A timeout is about a function's own work: its events leave after its answer.

So a Trigger waits a little longer than its function works, and the attempts and pauses of one
Trigger end before an in-memory channel drops the event, which leaves no dead letter.
"""

from __future__ import annotations

import pytest

from tests.support.repository import (
    ROOT,
    Trigger,
    function_folders,
    services,
    spec,
    triggers,
)

# A dead letter is one row: written, or the database is away, which takes 10 s to find out.
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


@pytest.mark.parametrize("trigger", ALL)
def test_a_trigger_waits_longer_than_its_function_may_take(trigger: Trigger) -> None:
    limit = timeout_s(trigger.service)
    assert limit <= LONGEST_S
    assert trigger.timeout_s > limit


@pytest.mark.parametrize("trigger", ASKING)
def test_retries_outlast_a_circuit_breaker_and_the_jobs_that_they_replace(trigger: Trigger) -> None:
    assert trigger.pauses_s > 2 * BREAKER_S
    assert trigger.pauses_s >= BACKOFF_LIMIT_4_S


@pytest.mark.parametrize("trigger", ALL)
def test_an_event_is_a_dead_letter_before_the_channel_gives_up(trigger: Trigger) -> None:
    attempts_s = (trigger.retry + 1) * timeout_s(trigger.service) + trigger.pauses_s
    assert attempts_s + DEAD_LETTER_S < FAN_OUT_S


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


@pytest.mark.parametrize("name", [n for n in function_folders() if spec(n).inbox])
def test_the_linter_knows_whose_events_leave_after_the_answer(name: str) -> None:
    labels = services()[name.replace("_", "-")]["metadata"]["labels"]
    assert not spec(name).emits or labels.get("dsm.io/outbox") == "true"
