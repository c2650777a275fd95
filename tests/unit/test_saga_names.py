"""Why is it waiting, and since when? True instants, in one sentence."""

from __future__ import annotations

from functions.orchestrator.decide.inputs import Answered, PauseRequested, Woken
from functions.orchestrator.decide.model import Retry
from functions.orchestrator.decide.waiting_reason import waiting_for
from tests.support.saga_story import DO, UNDO, Story, chain, graph

AGAIN = Retry(4, backoff_s=10, jitter=0.2)


def message(story: Story) -> str:
    return str(waiting_for(story.run, story.workers))


def test_a_step_to_be_tried_again_says_when_it_failed() -> None:
    story = Story(chain("a", retry=AGAIN))
    story.after(7)
    story.fails("a")
    assert "step a failed at 2026-01-05 09:00:07 UTC (boom), attempt 2 of 4 starts" in message(
        story
    )


def test_a_branch_without_a_worker_waits_since_it_could_have_gone() -> None:
    story = Story(graph({"a": "", "b": "", "c": "a"}))
    story.after(7)
    del story.workers["c"]
    story.ok("a")
    story.after(5)
    assert message(story) == (
        "It waits: step b is with w since 2026-01-05 09:00:00 UTC"
        " (attempt 1 of 4, times out 2026-01-05 09:05:00 UTC);"
        " no service has registered as worker for step c, since 2026-01-05 09:00:07 UTC."
    )


def test_an_undo_that_another_keeps_back_says_so() -> None:
    story = Story(graph({"a": "", "b": "a"}, retry=AGAIN))
    story.ok("a")
    story.fails("b", final=True)
    story.fails("a", UNDO)
    story.happens(Answered("b", DO, True, 1, "w"))
    story.happens(Woken())
    assert (
        "undo of a failed at 2026-01-05 09:00:00 UTC (boom),"
        " attempt 2 of 4 waits for the undo of what builds on it; undo of b is with w"
    ) in message(story)


def test_a_paused_run_says_all_in_one_sentence() -> None:
    story = Story(chain("a"))
    story.happens(PauseRequested("ada"))
    assert message(story) == (
        "It is paused by ada since 2026-01-05 09:00:00 UTC; meanwhile step a is with w"
        " since 2026-01-05 09:00:00 UTC (attempt 1 of 4, times out 2026-01-05 09:05:00 UTC)."
    )
