"""The rules of a run, one fact at a time, told as scripts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.orchestrator.decide.happenings import (
    Answered,
    CancelAsked,
    Happening,
    PauseAsked,
    ResumeAsked,
    RetryAsked,
    UndoAsked,
    Woken,
)
from functions.orchestrator.decide.model import (
    Action,
    Decision,
    Definition,
    Retry,
    RunStatus,
    StepDef,
    World,
)
from functions.orchestrator.decide.run import begin, decide
from functions.orchestrator.decide.undo import left_to_undo, plan
from functions.orchestrator.decide.words import waiting_for

START = datetime(2026, 1, 5, 9, tzinfo=UTC)
ONCE = Retry(attempts=1)
DO, UNDO = Action.DO, Action.UNDO


def chain(*names: str, **options: Any) -> Definition:
    """A sequence of steps; `options` are those of each step or of the definition."""
    whole = {k: options.pop(k) for k in ("deadline_s", "hold_on_failure") if k in options}
    steps = [
        StepDef(name, n + 1, after=(names[n - 1],) if n else (), **options)
        for n, name in enumerate(names)
    ]
    return Definition("o", "sequential", tuple(steps), **whole)


def graph(after: dict[str, str], **options: Any) -> Definition:
    """Steps by name, each with the letters of the steps that it waits for."""
    steps = [StepDef(n, i + 1, after=tuple(b), **options) for i, (n, b) in enumerate(after.items())]
    return Definition("o", "simultaneous", tuple(steps))


class Story:
    """A run that things happen to; it remembers what was sent."""

    def __init__(self, definition: Definition, *missing: str, payload: Any = None) -> None:
        self.now = START
        self.workers = {s.name: "w" for s in definition.steps if s.name not in missing}
        self.sent: list[str] = []
        self.decision = self._keep(begin("f", definition, self.world, payload=payload))

    @property
    def world(self) -> World:
        return World(self.now, self.workers, lambda when, facts: facts["payload"] == when)

    def _keep(self, decision: Decision) -> Decision:
        self.run = decision.run
        self.sent += [f"{c.action} {c.step} {c.attempt}" for c in decision.commands]
        return decision

    def happens(self, happening: Happening) -> Decision:
        self.decision = self._keep(decide(self.run, happening, self.world))
        return self.decision

    def ok(self, step: str, action: Action = DO, attempt: int | None = None) -> Decision:
        return self.happens(Answered(step, action, True, attempt, "w", result=step.upper()))

    def fails(self, step: str, action: Action = DO, **more: Any) -> Decision:
        more = {"error": "boom", "worker": "w", **more}
        return self.happens(Answered(step, action, False, **more))

    def after(self, seconds: float) -> Decision:
        self.now += timedelta(seconds=seconds)
        return self.happens(Woken())

    def takes(self) -> list[str]:
        """What was sent since the last look."""
        sent, self.sent = self.sent, []
        return sent

    @property
    def status(self) -> str:
        return str(self.run.status)

    def steps(self) -> str:
        return " ".join(f"{n}:{s.status}" for n, s in self.run.steps.items())


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

    def test_a_run_with_a_missing_worker_does_not_begin_and_says_for_whom_it_waits(self) -> None:
        story = Story(chain("a", "b"), "b")
        assert (story.status, story.takes()) == ("WAITING", [])
        words = waiting_for(story.run, story.workers)
        assert words == (
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
        story.after(5)
        assert (story.status, story.takes()) == ("FAILED", ["DO a 1", "DO a 2"])

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
            (Answered("b", DO, True, 1, "w"), "action: step 'b' was never told to DO"),
            (Answered("a", UNDO, True, 1, "w"), "action: step 'a' was never told to UNDO"),
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
        assert "workerName" in (decide(run, answer, world, named=True).refused or "")


class TestUndo:
    def test_a_sequence_is_undone_backwards_one_at_a_time(self) -> None:
        story = Story(chain("a", "b", "c", retry=ONCE))
        story.ok("a")
        story.ok("b")
        story.fails("c")
        assert (story.status, story.takes()[3:]) == ("UNDOING", ["UNDO b 1"])
        story.ok("b", UNDO)
        assert story.takes() == ["UNDO a 1"]
        story.ok("a", UNDO)
        assert story.status == "UNDONE"
        assert story.steps() == "a:UNDO_SUCCESS b:UNDO_SUCCESS c:DO_FAIL"

    def test_a_graph_is_undone_in_reverse_and_branches_go_together(self) -> None:
        story = Story(graph({"a": "", "b": "a", "c": "a", "d": "bc"}, retry=ONCE))
        for name in "abc":
            story.ok(name)
        story.fails("d")
        assert story.takes()[4:] == ["UNDO b 1", "UNDO c 1"]
        story.ok("c", UNDO)
        assert story.takes() == []
        story.ok("b", UNDO)
        assert story.takes() == ["UNDO a 1"]

    def test_a_step_in_flight_is_awaited_and_then_undone_before_what_it_builds_on(self) -> None:
        story = Story(graph({"a": "", "b": "a", "c": "a"}, retry=ONCE))
        story.ok("a")
        story.fails("b")
        assert story.takes() == ["DO a 1", "DO b 1", "DO c 1"]
        story.ok("c")
        assert story.takes() == ["UNDO c 1"]

    def test_a_step_in_flight_is_awaited_no_longer_than_its_timeout(self) -> None:
        story = Story(graph({"a": "", "b": "a", "c": "a"}, retry=ONCE, timeout_s=30))
        story.ok("a")
        story.fails("b")
        story.after(30)
        assert story.takes()[3:] == ["UNDO a 1"]

    def test_a_step_that_succeeds_after_the_end_is_undone_too(self) -> None:
        story = Story(chain("a", retry=ONCE, timeout_s=5))
        story.after(5)
        assert story.status == "FAILED"
        story.ok("a", attempt=1)
        assert (story.status, story.takes()) == ("UNDOING", ["DO a 1", "UNDO a 1"])
        story.ok("a", UNDO)
        assert story.status == "UNDONE"

    def test_a_turned_back_run_tries_no_do_again(self) -> None:
        story = Story(graph({"a": "", "b": ""}, retry=Retry(4)))
        story.fails("a", final=True)
        story.fails("b")
        assert (story.status, story.steps()) == ("FAILED", "a:DO_FAIL b:DO_FAIL")

    def test_undo_has_its_own_attempts_and_what_is_left_is_listed(self) -> None:
        story = Story(chain("a", "b", retry=Retry(2, backoff_s=1, jitter=0)))
        story.ok("a")
        story.ok("b")
        story.happens(UndoAsked("ada"))
        story.fails("b", UNDO)
        story.after(1)
        assert story.takes()[2:] == ["UNDO b 1", "UNDO b 2"]
        story.fails("b", UNDO)
        assert (story.status, left_to_undo(story.run)) == ("UNDO_FAILED", ["a", "b"])
        story.happens(RetryAsked("ada"))
        assert story.takes() == ["UNDO b 3"]
        story.ok("b", UNDO)
        story.ok("a", UNDO)
        assert story.status == "UNDONE"

    def test_a_step_with_undo_off_keeps_its_effect(self) -> None:
        story = Story(chain("a", undo=False))
        story.ok("a")
        assert plan(story.run, None).kept == ("a",)
        assert story.happens(UndoAsked("ada")).refused is not None

    def test_undo_to_a_step_keeps_that_step_and_what_it_builds_on(self) -> None:
        story = Story(chain("a", "b", "c"))
        for name in "abc":
            story.ok(name)
        assert plan(story.run, "a").waves == (("c",), ("b",))
        story.happens(UndoAsked("ada", to="a"))
        story.ok("c", UNDO)
        story.ok("b", UNDO)
        assert story.steps() == "a:DO_SUCCESS b:UNDO_SUCCESS c:UNDO_SUCCESS"
        assert (story.status, story.run.reason) == ("UNDONE", "undone back to a by ada")

    def test_a_run_past_its_deadline_turns_back(self) -> None:
        story = Story(chain("a", "b", deadline_s=60))
        story.ok("a")
        story.after(60)
        assert (story.status, story.run.reason) == ("UNDOING", "not done within 60 s")


class TestOperators:
    def test_pause_sends_nothing_new_and_still_takes_answers(self) -> None:
        story = Story(chain("a", "b"))
        story.happens(PauseAsked("ada"))
        story.ok("a")
        assert story.takes() == ["DO a 1"]
        assert "paused by ada" in str(waiting_for(story.run, story.workers))
        story.happens(ResumeAsked("ada"))
        assert story.takes() == ["DO b 1"]

    def test_cancel_undoes_what_was_done(self) -> None:
        story = Story(chain("a", "b"))
        story.ok("a")
        story.happens(CancelAsked("ada"))
        story.fails("b")
        story.ok("a", UNDO)
        assert (story.status, story.run.reason) == ("CANCELLED", "cancelled by ada")

    def test_on_failure_hold_leaves_the_run_to_an_operator(self) -> None:
        story = Story(chain("a", "b", retry=ONCE, hold_on_failure=True))
        story.ok("a")
        story.fails("b")
        assert (story.status, story.steps()) == ("FAILED", "a:DO_SUCCESS b:DO_FAIL")
        story.happens(RetryAsked("ada"))
        assert story.takes() == ["DO a 1", "DO b 1", "DO b 2"]
        story.ok("b")
        assert story.status == "COMPLETED"

    def test_a_retry_of_an_undone_run_does_its_steps_anew_in_another_round(self) -> None:
        story = Story(chain("a", "b", retry=ONCE))
        story.ok("a")
        story.fails("b")
        story.ok("a", UNDO)
        story.happens(RetryAsked("ada"))
        assert story.takes() == ["DO a 1", "DO b 1", "UNDO a 1", "DO a 2"]
        assert story.run.steps["a"].round == 2
        assert story.ok("a", attempt=1).refused is not None
        story.ok("a", attempt=2)
        story.ok("b")
        assert story.status == "COMPLETED"

    @pytest.mark.parametrize(
        ("happening", "reason"),
        [
            (PauseAsked("ada"), "the run has ended as COMPLETED"),
            (ResumeAsked("ada"), "the run has ended as COMPLETED"),
            (CancelAsked("ada"), "the run has ended as COMPLETED; undo it to take it back"),
            (RetryAsked("ada"), "the run has completed: there is nothing to retry"),
            (UndoAsked("ada", to="zz"), "to: 'zz' is no step of o; it has a"),
            (UndoAsked("ada", to="a"), "nothing is left to undo: the run has ended as COMPLETED"),
        ],
        ids=["pause", "resume", "cancel", "retry", "undo to nowhere", "undo of nothing"],
    )
    def test_what_makes_no_sense_for_a_completed_run_is_refused(
        self, happening: Happening, reason: str
    ) -> None:
        story = Story(chain("a"))
        story.ok("a")
        decision = story.happens(happening)
        assert decision.refused == reason
        assert decision.audits[0].type.endswith("_REFUSED")
