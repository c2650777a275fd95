"""A run goes forward: its steps, their attempts, and which answers count."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from functions.orchestrator.decide.inputs import (
    Answered,
    Woken,
)
from functions.orchestrator.decide.model import (
    Retry,
    RunStatus,
    World,
)
from functions.orchestrator.decide.run import decide
from functions.orchestrator.decide.waiting_reason import waiting_for
from tests.support.saga_story import DO, FORBIDDEN, ONCE, START, UNDO, Story, chain, graph


class TestForward:
    def test_a_sequence_goes_one_after_the_other_and_keeps_the_results(self) -> None:
        story = Story(chain("a", "b"))
        assert story.takes() == ["DO a 1"]
        story.ok("a")
        assert story.takes() == ["DO b 1"]
        story.ok("b")
        assert story.status == "COMPLETED"
        assert {n: s.result for n, s in story.run.steps.items()} == {"a": "A", "b": "B"}

    def test_simultaneous_steps_go_at_once_and_a_join_waits_for_all(self) -> None:
        story = Story(graph({"a": "", "b": "", "c": "ab"}))
        assert story.takes() == ["DO a 1", "DO b 1"]
        story.ok("b")
        assert story.takes() == []
        story.ok("a")
        assert story.takes() == ["DO c 1"]

    def test_a_step_whose_condition_does_not_hold_is_skipped_and_the_next_goes(self) -> None:
        definition = chain("a", "b", when="yes")
        assert Story(definition, payload="yes").takes() == ["DO a 1"]
        story = Story(definition, payload="no")
        assert (story.status, story.takes()) == ("COMPLETED", [])
        assert story.steps() == "a:SKIPPED b:SKIPPED"

    def test_a_step_whose_condition_cannot_be_evaluated_fails_with_a_reason(self) -> None:
        definition = graph({"a": "", "b": "a"})
        steps = (definition.steps[0], replace(definition.steps[1], when="never"))
        story = Story(replace(definition, steps=steps), payload=FORBIDDEN)
        story.ok("a")
        assert story.takes() == ["DO a 1", "UNDO a 1"]
        assert story.run.reason == (
            "step b failed: condition 'never' cannot be evaluated: no such payload"
        )
        story.ok("a", UNDO)
        assert (story.status, story.steps()) == ("UNDONE", "a:UNDO_SUCCESS b:DO_FAIL")

    def test_a_run_with_a_missing_worker_does_not_begin_and_says_for_whom_it_waits(self) -> None:
        story = Story(chain("a", "b"), "b")
        assert (story.status, story.takes()) == ("WAITING", [])
        message = waiting_for(story.run, story.workers)
        assert message == (
            "It waits: no service has registered as worker for step b,"
            " since 2026-01-05 09:00:00 UTC."
        )
        story.workers["b"] = "w"
        story.happens(Woken())
        assert (story.status, story.takes()) == ("IN_PROGRESS", ["DO a 1"])

    def test_a_worker_that_goes_in_the_middle_is_waited_for(self) -> None:
        story = Story(chain("a", "b"))
        del story.workers["b"]
        story.ok("a")
        assert story.status == "WAITING"
        story.workers["b"] = "v"
        story.happens(Woken())
        assert (story.status, story.takes()) == ("IN_PROGRESS", ["DO a 1", "DO b 1"])


class TestAttempts:
    def test_a_failed_step_goes_again_after_its_pause_and_not_before(self) -> None:
        story = Story(chain("a", retry=Retry(3, backoff_s=10, jitter=0)))
        story.fails("a")
        story.after(9)
        assert story.takes() == ["DO a 1"]
        assert "attempt 2 of 3 starts" in str(waiting_for(story.run, story.workers))
        story.after(1)
        assert story.takes() == ["DO a 2"]

    @pytest.mark.parametrize(
        ("retry", "answer"),
        [
            (ONCE, {}),
            (Retry(9), {"final": True}),
            (Retry(9, final=("bo*",)), {}),
        ],
        ids=["no attempt left", "the worker says so", "a final error"],
    )
    def test_a_step_fails_for_good(self, retry: Retry, answer: dict[str, Any]) -> None:
        story = Story(chain("a", retry=retry))
        story.fails("a", **answer)
        assert (story.status, story.run.reason) == ("FAILED", "step a failed: boom")

    def test_a_step_that_is_not_answered_times_out_and_goes_again(self) -> None:
        story = Story(chain("a", timeout_s=5, retry=Retry(2, backoff_s=1, jitter=0)))
        story.after(5)
        assert story.run.steps["a"].error == "no answer from w within 5 s"
        story.after(1)
        assert story.takes() == ["DO a 1", "DO a 2"]
        story.after(5)
        assert (story.steps(), story.run.reason) == (
            "a:UNDOING",
            "step a failed: no answer from w within 5 s",
        )

    def test_a_success_during_the_pause_saves_the_next_attempt(self) -> None:
        story = Story(chain("a", timeout_s=5))
        story.after(5)
        story.ok("a", attempt=1)
        assert story.status == "COMPLETED"


class TestFencing:
    @pytest.mark.parametrize(
        ("answer", "reason"),
        [
            (Answered("zz", DO, True, 1, "w"), "stepName: 'zz' is no step of o; it has a, b"),
            (Answered("a", DO, True, 1, "eve"), "workerName: 'eve' has not registered"),
            (Answered("a", DO, True, 2, "w"), "attempt: 2 was never sent; the last one is 1"),
            (Answered("b", DO, True, 1, "w"), "action: step 'b' got no command to DO"),
            (Answered("a", UNDO, True, 1, "w"), "action: step 'a' got no command to UNDO"),
        ],
        ids=["no such step", "foreign worker", "forged attempt", "too early", "wrong action"],
    )
    def test_what_cannot_be_meant_changes_nothing_and_is_audited(
        self, answer: Answered, reason: str
    ) -> None:
        story = Story(chain("a", "b"))
        before = story.run
        decision = story.happens(answer)
        assert decision.run is before
        assert (decision.refused or "").startswith(reason)
        assert [a.type for a in decision.audits] == ["ANSWER_REFUSED"]

    def test_a_duplicate_changes_nothing(self) -> None:
        story = Story(chain("a", "b"))
        story.ok("a", attempt=1)
        before = story.run
        assert story.ok("a", attempt=1).refused == "too late: the step is DO_SUCCESS already"
        assert story.run is before

    def test_an_attempt_that_is_over_does_not_count_for_the_next(self) -> None:
        story = Story(chain("a", timeout_s=5, retry=Retry(3, backoff_s=1, jitter=0)))
        story.after(5)
        story.after(1)
        refused = story.fails("a", attempt=1).refused
        assert refused == "attempt: 1 is over, attempt 2 has taken its place"

    def test_a_success_of_an_attempt_that_is_over_is_remembered_for_the_undo(self) -> None:
        story = Story(chain("a", timeout_s=5, retry=Retry(2, backoff_s=1, jitter=0)))
        story.after(5)
        story.after(1)
        story.ok("a", attempt=1)
        assert story.steps() == "a:IN_PROGRESS"
        story.fails("a", attempt=2)
        assert story.takes()[-1] == "UNDO a 1"

    def test_an_answer_without_a_worker_counts_unless_names_are_demanded(self) -> None:
        run = Story(chain("a")).run
        world = World(START, {"a": "w"})
        answer = Answered("a", DO, True)
        assert decide(run, answer, world).run.status is RunStatus.COMPLETED
        assert "workerName" in (decide(run, replace(answer, named=True), world).refused or "")

    def test_a_success_whose_result_cannot_be_kept_has_failed_and_is_undone(self) -> None:
        story = Story(chain("a", "b"))
        story.happens(Answered("a", DO, True, 1, "w", unstorable="result: is too big"))
        assert story.takes() == ["DO a 1", "UNDO a 1"]
        assert story.run.reason == "step a failed: result: is too big"
        story.ok("a", UNDO)
        assert (story.status, story.steps()) == ("UNDONE", "a:UNDO_SUCCESS b:PENDING")
