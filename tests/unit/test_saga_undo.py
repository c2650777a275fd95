"""A run turns back: what is undone, in which order, and what is left."""

from __future__ import annotations

from functions.orchestrator.decide.inputs import (
    RetryRequested,
    UndoRequested,
)
from functions.orchestrator.decide.model import (
    Cause,
    Retry,
)
from functions.orchestrator.decide.undo import left_to_undo, plan
from tests.support.saga_story import ONCE, UNDO, Story, chain, graph


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
        story.after(29)
        assert story.takes()[3:] == []
        story.after(1)
        assert story.takes() == ["UNDO c 1"]

    def test_a_step_that_succeeds_after_the_end_is_undone_too(self) -> None:
        story = Story(chain("a", retry=ONCE))
        story.fails("a")
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
        story.happens(UndoRequested("ada"))
        story.fails("b", UNDO)
        story.after(1)
        assert story.takes()[2:] == ["UNDO b 1", "UNDO b 2"]
        story.fails("b", UNDO)
        assert (story.status, left_to_undo(story.run)) == ("UNDO_FAILED", ["a", "b"])
        story.happens(RetryRequested("ada"))
        assert story.takes() == ["UNDO b 3"]
        story.ok("b", UNDO)
        story.ok("a", UNDO)
        assert story.status == "UNDONE"

    def test_a_run_that_a_user_lets_go_back_is_undone_by_a_user(self) -> None:
        story = Story(chain("a", "b", retry=ONCE))
        story.ok("a")
        story.fails("b")
        story.fails("a", UNDO)
        assert (story.status, story.run.cause) == ("UNDO_FAILED", Cause.FAILURE)
        story.happens(RetryRequested("ada"))
        story.ok("a", UNDO)
        assert (story.status, story.run.cause) == ("UNDONE", Cause.UNDO)

    def test_a_step_with_undo_off_keeps_its_effect(self) -> None:
        story = Story(chain("a", undo=False))
        story.ok("a")
        assert plan(story.run, None).kept == ("a",)
        assert story.happens(UndoRequested("ada")).refused is not None

    def test_undo_to_a_step_keeps_that_step_and_what_it_builds_on(self) -> None:
        story = Story(chain("a", "b", "c"))
        for name in "abc":
            story.ok(name)
        assert plan(story.run, "a").waves == (("c",), ("b",))
        story.happens(UndoRequested("ada", to="a"))
        story.ok("c", UNDO)
        story.ok("b", UNDO)
        assert story.steps() == "a:DO_SUCCESS b:UNDO_SUCCESS c:UNDO_SUCCESS"
        assert (story.status, story.run.reason) == ("UNDONE", "undone back to a by ada")

    def test_a_run_past_its_deadline_turns_back(self) -> None:
        story = Story(chain("a", "b", deadline_s=60))
        story.ok("a")
        story.after(60)
        assert (story.status, story.run.reason) == ("UNDOING", "not done within 60 s")
