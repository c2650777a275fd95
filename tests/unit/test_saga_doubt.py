"""Who undoes a step, and what happens where it is unknown if it was done."""

from __future__ import annotations

from functions.orchestrator.decide.inputs import (
    Answered,
    CancelRequested,
    RetryRequested,
    UndoRequested,
)
from functions.orchestrator.decide.model import Retry
from functions.orchestrator.decide.undo import left_to_undo, plan
from functions.orchestrator.decide.waiting_reason import waiting_for
from tests.support.saga_story import DO, ONCE, UNDO, Story, chain, graph

TWICE = Retry(2, backoff_s=1, jitter=0)


def commands(story: Story) -> list[tuple[str, str, bool]]:
    """What the latest decision sent: which action, to whom, and is an effect known?"""
    return [(f"{c.action} {c.step}", c.worker, c.effect) for c in story.decision.commands]


class TestDoubt:
    def test_a_step_without_an_answer_is_undone_before_what_it_builds_on(self) -> None:
        story = Story(chain("a", "b", retry=ONCE, timeout_s=5))
        story.ok("a")
        story.after(5)
        assert commands(story) == [("UNDO b", "w", False)]
        assert "undo of b, which may have been done, is with w" in str(
            waiting_for(story.run, story.workers)
        )
        story.ok("b", UNDO)
        assert commands(story) == [("UNDO a", "w", True)]
        story.ok("a", UNDO)
        assert (story.status, story.run.reason) == (
            "UNDONE",
            "step b failed: no answer from w within 5 s",
        )

    def test_the_plan_of_an_undo_says_of_which_steps_it_is_not_sure(self) -> None:
        story = Story(chain("a", "b", retry=ONCE, timeout_s=5, hold_on_failure=True))
        story.ok("a")
        story.after(5)
        assert story.status == "FAILED"
        found = plan(story.run, None)
        assert (found.waves, found.unsure) == ((("b",), ("a",)), ("b",))

    def test_what_failed_left_nothing_and_is_not_undone(self) -> None:
        story = Story(chain("a", "b", retry=ONCE))
        story.ok("a")
        story.fails("b")
        assert commands(story) == [("UNDO a", "w", True)]

    def test_an_earlier_attempt_without_an_answer_leaves_a_doubt_after_a_failure(self) -> None:
        story = Story(chain("a", retry=TWICE, timeout_s=5))
        story.after(5)
        story.after(1)
        story.fails("a", attempt=2)
        assert commands(story) == [("UNDO a", "w", False)]

    def test_a_success_leaves_no_doubt_of_earlier_attempts_at_the_same_worker(self) -> None:
        story = Story(chain("a", retry=TWICE, timeout_s=5))
        story.after(5)
        story.after(1)
        story.ok("a", attempt=2)
        story.happens(UndoRequested("ada"))
        story.ok("a", UNDO)
        assert (story.status, story.takes()) == ("UNDONE", ["DO a 1", "DO a 2", "UNDO a 1"])

    def test_a_success_during_the_undo_of_a_doubt_is_covered_by_it(self) -> None:
        story = Story(chain("a", retry=ONCE, timeout_s=5))
        story.after(5)
        story.ok("a", attempt=1)
        assert story.steps() == "a:UNDOING"
        story.ok("a", UNDO)
        assert (story.status, story.takes()) == ("UNDONE", ["DO a 1", "UNDO a 1"])
        assert story.ok("a", attempt=1).refused == "too late: the step is UNDO_SUCCESS already"

    def test_a_doubt_without_an_end_is_left_with_a_reason(self) -> None:
        story = Story(chain("a", retry=ONCE, timeout_s=5))
        story.after(5)
        story.after(5)
        assert (story.status, left_to_undo(story.run)) == ("UNDO_FAILED", ["a"])

    def test_a_cancelled_pause_between_attempts_is_in_doubt_too(self) -> None:
        story = Story(chain("a", retry=TWICE, timeout_s=5))
        story.after(5)
        story.happens(CancelRequested("ada"))
        assert commands(story) == [("UNDO a", "w", False)]
        story.ok("a", UNDO)
        assert story.status == "CANCELLED"

    def test_a_step_with_undo_off_is_not_undone_in_doubt(self) -> None:
        story = Story(chain("a", retry=ONCE, timeout_s=5, undo=False))
        story.after(5)
        assert story.status == "FAILED"


class TestWhoUndoes:
    def test_who_did_it_undoes_it_though_another_has_taken_its_place(self) -> None:
        story = Story(chain("a", "b", retry=ONCE))
        story.ok("a")
        story.workers["a"] = "other"
        story.fails("b")
        assert commands(story) == [("UNDO a", "w", True)]

    def test_who_did_it_undoes_it_though_it_has_left(self) -> None:
        story = Story(chain("a"))
        story.ok("a")
        del story.workers["a"]
        story.happens(UndoRequested("ada"))
        assert commands(story) == [("UNDO a", "w", True)]
        story.ok("a", UNDO)
        assert story.status == "UNDONE"

    def test_a_late_success_of_a_worker_that_was_replaced_counts_and_is_undone_there(self) -> None:
        story = Story(chain("a", retry=TWICE, timeout_s=5))
        story.after(5)
        story.workers["a"] = "other"
        story.after(1)
        assert commands(story) == [("DO a", "other", False)]
        assert story.ok("a", attempt=1).refused is None
        story.fails("a", attempt=2, worker="other", final=True)
        assert commands(story) == [("UNDO a", "w", True)]

    def test_all_who_did_it_or_may_have_undo_it_one_after_the_other(self) -> None:
        story = Story(chain("a", retry=TWICE, timeout_s=5))
        story.after(5)
        story.workers["a"] = "other"
        story.after(1)
        story.happens(Answered("a", DO, True, 2, "other", result="A"))
        assert story.status == "COMPLETED"
        story.happens(UndoRequested("ada"))
        assert commands(story) == [("UNDO a", "other", True)]
        story.happens(Answered("a", UNDO, True, 1, "other"))
        assert commands(story) == [("UNDO a", "w", False)]
        assert story.run.steps["a"].result is None, "it is not the result of this worker's DO"
        story.ok("a", UNDO, attempt=2)
        assert story.status == "UNDONE"

    def test_an_answer_of_another_worker_than_the_attempt_was_sent_to_is_refused(self) -> None:
        story = Story(chain("a", retry=TWICE, timeout_s=5))
        story.after(5)
        story.workers["a"] = "other"
        story.after(1)
        refused = story.happens(Answered("a", DO, True, 1, "other")).refused
        assert refused == "workerName: attempt 1 was sent to w, not other"

    def test_an_operator_hands_over_what_those_did_who_have_left(self) -> None:
        story = Story(chain("a", "b", retry=ONCE, timeout_s=5))
        story.ok("a")
        story.ok("b")
        story.workers["a"] = "other"
        story.happens(UndoRequested("ada"))
        story.ok("b", UNDO)
        story.after(5)
        assert story.status == "UNDO_FAILED"
        story.happens(RetryRequested("ada"))
        assert commands(story) == [("UNDO a", "w", True)]
        story.after(5)
        story.happens(RetryRequested("ada", reassign=True))
        assert commands(story) == [("UNDO a", "other", True)]
        assert ("UNDO_HANDED_OVER", "from w to other") in [
            (a.type, a.detail) for a in story.decision.audits
        ]
        story.happens(Answered("a", UNDO, True, None, "other"))
        assert story.status == "UNDONE"


class TestUndoAttempts:
    def test_a_success_of_an_undo_attempt_that_is_over_ends_the_undo(self) -> None:
        story = Story(chain("a", retry=TWICE, timeout_s=5))
        story.ok("a")
        story.happens(UndoRequested("ada"))
        story.after(5)
        story.after(1)
        assert story.takes() == ["DO a 1", "UNDO a 1", "UNDO a 2"]
        story.ok("a", UNDO, attempt=1)
        assert story.status == "UNDONE"
        late = story.fails("a", UNDO, attempt=2)
        assert late.refused == "too late: the step is UNDO_SUCCESS already"

    def test_a_success_of_an_undo_that_was_given_up_ends_it_after_the_run(self) -> None:
        story = Story(chain("a", retry=TWICE, timeout_s=5))
        story.ok("a")
        story.happens(UndoRequested("ada"))
        story.after(5)
        story.after(1)
        story.fails("a", UNDO, attempt=2, error="not found")
        assert story.status == "UNDO_FAILED"
        story.ok("a", UNDO, attempt=1)
        assert story.status == "UNDONE"

    def test_an_undo_of_an_earlier_round_says_nothing_of_this_one(self) -> None:
        story = Story(graph({"a": "", "b": "a"}, retry=TWICE, timeout_s=5))
        story.ok("a")
        story.fails("b", final=True)
        story.after(5)
        story.after(1)
        story.ok("a", UNDO, attempt=2)
        story.happens(RetryRequested("ada"))
        story.ok("a", attempt=2)
        assert story.ok("a", UNDO, attempt=1).refused is not None
        assert story.run.steps["a"].effect
