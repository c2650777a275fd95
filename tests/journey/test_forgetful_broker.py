"""One morning whose broker forgets again and again what it holds: all is finished all the same."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from functools import partial
from pathlib import Path

import pytest

from tests.support import eventually
from tests.support.morning_story import Story
from tests.support.warm_data import WarmData

LOSSES = 3  # after each schedule
pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
async def story(tmp_path: Path, warm_data: WarmData) -> AsyncIterator[Story]:
    await asyncio.to_thread(warm_data.copy_to, tmp_path / "data")
    # Each event is in the Broker's memory long enough to be lost.
    story = Story(tmp_path, random.Random(3), "--fault", "late=0.5")
    await story.begin()
    yield story
    await story.end()


async def crash(story: Story, is_done: Callable[[], Awaitable[bool]]) -> bool:
    """Lose what the broker holds as soon as it holds something; False where all was done before."""

    async def lost_or_done() -> str:
        if await story.runtime.crash_broker():
            return "lost"
        return "done" if await is_done() else ""

    return await eventually(lost_or_done) == "lost"


async def test_what_a_broker_has_forgotten_is_sent_again_and_done_once(story: Story) -> None:
    losses = 0
    for schedule, is_done in (
        ("sprint-report", story.has_cycled),
        ("scrum-simulate", story.is_reported),
    ):
        await eventually(partial(story.fired, schedule))
        # From here on nothing fires again: the outboxes alone make good what is lost.
        for number in range(LOSSES):
            seen = await story.progress()
            if not await crash(story, is_done):
                break
            losses += 1
            # What is lost comes again: at least an event and an attempt to deliver it.
            await eventually(partial(story.reached, seen + number % 3))
        await eventually(is_done)
    assert losses > LOSSES, "in the middle of both"
    await story.check()
