"""An issue that gets the label `agent` becomes one draft pull request, and its comment says so."""

from __future__ import annotations

import pytest

from knative.demo.github import REPOSITORY
from tests.support import eventually
from tests.support.agent_story import FACTS, Story

pytestmark = [pytest.mark.slow]


async def test_the_story_of_a_label(story: Story) -> None:
    number, sent = await story.labelled()
    for _ in range(9):
        answer = await story.github.answered(sent)
        assert answer.status_code == 202, answer.text

    comment = await story.says(number, "Draft pull request #")
    [pull] = story.pulls(number)
    assert f"Draft pull request #{pull.number} is ready for review." in comment.body
    assert (pull.draft, pull.base, f"Closes #{number}" in pull.body) == (True, "main", True)
    file = story.github.git.file(REPOSITORY, pull.head, "src/basket.py")
    assert file == "def reloaded(items):\n    return items"
    [job] = await story.jobs(number)
    assert (job["state"], job["cause"]["id"]) == ("succeeded", sent.guid)
    assert story.github.conversation.reactions, "it was seen at once"
    assert await story.facts(job["job_id"]) == sorted([*FACTS, "used"])

    number, _ = await story.labelled()
    again = await story.github.labelled(REPOSITORY, number, "agent")
    assert (await story.github.answered(again)).status_code == 202
    await story.says(number, "Draft pull request #")
    await eventually(story.knative.settled)
    assert (len(await story.jobs(number)), len(story.pulls(number))) == (1, 1), "set twice"

    number, _ = await story.labelled("Please make it nicer.")
    comment = await story.says(number, "There was nothing to do.")
    assert "In FILE, replace A by B" in comment.body.replace("`", "")
    assert story.pulls(number) == []

    number, _ = await story.labelled(label="bug")
    await eventually(story.knative.settled)
    assert (await story.jobs(number), story.comments(number)) == ([], [])
    assert await story.knative.given_up() == []
