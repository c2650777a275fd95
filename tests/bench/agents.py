"""From a label to the first word on the issue, everything warm, and requests for each edit.

The whole local Knative with GitHub's stand-in beside it: webhook, Broker, launcher, status.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
import time
from pathlib import Path

from knative.demo.github import REPOSITORY
from tests.bench.report import Row
from tests.support import eventually
from tests.support.agent_story import Story, story_of

ROUNDS = 5
# GitHub asks for a second between changes, of which each of two processes takes its half: a label
# that follows closer on an edit waits for that.
BETWEEN_CHANGES_S = 2.1


async def run() -> list[Row]:
    # A unix socket's path may have 107 characters at most.
    with tempfile.TemporaryDirectory(prefix="b") as folder:
        async with story_of(Path(folder) / "d", Path(folder) / "github") as story:
            await _first_comment_s(story)
            seconds = [await _first_comment_s(story) for _ in range(ROUNDS)]
            about = (one for one in story.github.requests if "/comments" in one)
            sent = [one for one in about if not one.endswith("/reactions")]
            comments = story.github.conversation.comments.values()
            edits = sum(len(one.edits) for one in comments)
    return [
        Row(
            "agents: a label to the first status, warm",
            statistics.median(seconds),
            *("s", "limit", 2.0, 1.0, False),
        ),
        Row("agents: requests for each edit", len(sent) / edits, *("", "limit", 1, 1.0, False)),
    ]


async def _first_comment_s(story: Story) -> float:
    """A label is set; how long until there is a comment. Returns once the next is not held up."""
    number = await story.github.opened(REPOSITORY, "The basket forgets", "Nothing to replace.")
    began = time.perf_counter()
    await story.github.labelled(REPOSITORY, number, "agent")

    async def is_seen() -> bool:
        return bool(story.comments(number))

    await eventually(is_seen, every_s=0.01)
    seconds = time.perf_counter() - began
    await story.says(number, "nothing to do")
    await asyncio.sleep(BETWEEN_CHANGES_S)
    return seconds
