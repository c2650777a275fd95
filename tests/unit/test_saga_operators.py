"""What operators do to a run: pause, resume, cancel, retry."""

from __future__ import annotations

import pytest

from functions.orchestrator.decide.inputs import (
    CancelRequested,
    Input,
    PauseRequested,
    ResumeRequested,
    RetryRequested,
    UndoRequested,
)
from functions.orchestrator.decide.waiting_reason import waiting_for
from tests.support.saga_story import ONCE, UNDO, Story, chain


class TestOperators:
    def test_pause_sends_nothing_new_and_still_takes_answers(self) -> None:
        story = Story(chain("a", "b"))
        story.happens(PauseRequested("ada"))
        story.ok("a")
        assert story.takes() == ["DO a 1"]
        assert "paused by ada" in str(waiting_for(story.run, story.workers))
        story.happens(ResumeRequested("ada"))
        assert story.takes() == ["DO b 1"]

    def test_cancel_undoes_what_was_done(self) -> None:
        story = Story(chain("a", "b"))
        story.ok("a")
        story.happens(CancelRequested("ada"))
        story.fails("b")
        story.ok("a", UNDO)
        assert (story.status, story.run.reason) == ("CANCELLED", "cancelled by ada")

    def test_on_failure_hold_leaves_the_run_to_an_operator(self) -> None:
        story = Story(chain("a", "b", retry=ONCE, hold_on_failure=True))
        story.ok("a")
        story.fails("b")
        assert (story.status, story.steps()) == ("FAILED", "a:DO_SUCCESS b:DO_FAIL")
        story.happens(RetryRequested("ada"))
        assert story.takes() == ["DO a 1", "DO b 1", "DO b 2"]
        story.ok("b")
        assert story.status == "COMPLETED"

    def test_a_retry_of_an_undone_run_does_its_steps_anew_in_another_round(self) -> None:
        story = Story(chain("a", "b", retry=ONCE))
        story.ok("a")
        story.fails("b")
        story.ok("a", UNDO)
        story.happens(RetryRequested("ada"))
        assert story.takes() == ["DO a 1", "DO b 1", "UNDO a 1", "DO a 2"]
        assert story.run.steps["a"].round == 2
        assert story.ok("a", attempt=1).refused is not None
        story.ok("a", attempt=2)
        story.ok("b")
        assert story.status == "COMPLETED"

    @pytest.mark.parametrize(
        ("given", "reason"),
        [
            (PauseRequested("ada"), "the run has ended as COMPLETED"),
            (ResumeRequested("ada"), "the run has ended as COMPLETED"),
            (CancelRequested("ada"), "the run has ended as COMPLETED; undo it to take it back"),
            (RetryRequested("ada"), "the run has completed: there is nothing to retry"),
            (UndoRequested("ada", to="zz"), "to: 'zz' is no step of o; it has a"),
            (
                UndoRequested("ada", to="a"),
                "nothing is left to undo: the run has ended as COMPLETED",
            ),
        ],
        ids=["pause", "resume", "cancel", "retry", "undo to nowhere", "undo of nothing"],
    )
    def test_what_makes_no_sense_for_a_completed_run_is_refused(
        self, given: Input, reason: str
    ) -> None:
        story = Story(chain("a"))
        story.ok("a")
        decision = story.happens(given)
        assert decision.refused == reason
        assert decision.audits[0].type.endswith("_REFUSED")
