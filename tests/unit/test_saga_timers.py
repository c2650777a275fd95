"""Timers: only for instants at which something can be done."""

from __future__ import annotations

from datetime import timedelta

from functions.orchestrator.decide.inputs import (
    CancelRequested,
    PauseRequested,
    ResumeRequested,
    UndoRequested,
)
from functions.orchestrator.decide.model import Definition, Retry, StepDef
from functions.orchestrator.decide.timers import next_due
from tests.support.saga_story import ONCE, UNDO, Story, chain, graph

AGAIN = Retry(4, backoff_s=1, jitter=0)
DAY_S = 86400


def remaining_s(story: Story) -> float | None:
    """Seconds until the next timer."""
    due_at = next_due(story.run, story.workers)
    return None if due_at is None else (due_at - story.now) / timedelta(seconds=1)


def held(deadline_s: float | None = None) -> Story:
    """A run that is to be held: a has failed, b could be tried again, c is in flight."""
    steps = (
        StepDef("a", 1, retry=ONCE),
        StepDef("b", 2, retry=AGAIN),
        StepDef("c", 3, timeout_s=DAY_S),
    )
    story = Story(
        Definition("o", "simultaneous", steps, deadline_s=deadline_s, hold_on_failure=True)
    )
    story.fails("b")
    story.fails("a")
    return story


class TestNextDue:
    def test_a_run_that_will_be_held_awaits_what_is_in_flight_and_nothing_else(self) -> None:
        story = held()
        assert remaining_s(story) == DAY_S
        story.after(10)
        assert remaining_s(story) == DAY_S - 10

    def test_a_run_that_will_be_held_has_no_deadline_any_more(self) -> None:
        story = held(deadline_s=5)
        story.after(10)
        assert remaining_s(story) == DAY_S - 10

    def test_an_undo_that_must_wait_for_another_has_no_time_of_its_own(self) -> None:
        story = Story(graph({"a": "", "b": "a"}, retry=AGAIN, timeout_s=60))
        story.ok("a")
        story.fails("b", final=True)
        story.fails("a", UNDO)
        assert remaining_s(story) == 1
        story.ok("b", attempt=1)
        assert story.takes()[-1] == "UNDO b 1"
        story.after(10)
        assert remaining_s(story) == 50
        story.ok("b", UNDO)
        assert story.takes() == ["UNDO a 2"]

    def test_a_step_to_be_tried_again_by_no_worker_has_no_time(self) -> None:
        story = Story(chain("a", retry=AGAIN))
        story.fails("a")
        assert remaining_s(story) == 1
        del story.workers["a"]
        assert remaining_s(story) is None


class TestPauses:
    def test_a_pause_ends_with_the_run(self) -> None:
        story = Story(chain("a"))
        story.happens(PauseRequested("ada"))
        story.ok("a")
        assert (story.status, story.run.paused_by) == ("COMPLETED", None)
        story.happens(UndoRequested("bob"))
        assert story.takes() == ["DO a 1", "UNDO a 1"]

    def test_who_takes_a_paused_run_back_resumes_it(self) -> None:
        for asked in (UndoRequested("bob"), CancelRequested("bob")):
            story = Story(chain("a", "b"))
            story.happens(PauseRequested("ada"))
            story.ok("a")
            story.happens(asked)
            assert story.takes() == ["DO a 1", "UNDO a 1"]
            assert "WORKFLOW_RESUMED" in [a.type for a in story.decision.audits]
            assert story.happens(ResumeRequested("ada")).refused == "the run is not paused"
