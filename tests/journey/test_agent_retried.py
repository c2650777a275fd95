"""An agent that is killed in the middle of its work, and retried: one pull request, all of it."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import yaml

from knative.demo.github import REPOSITORY
from tests.support import eventually
from tests.support.agent_story import Story
from tests.support.local_knative import ROOT
from tests.support.manifest_files import on_top_of
from tests.support.warm_data import OVERLAY

pytestmark = [pytest.mark.slow]


def overlay(folder: Path, *patches: object, agent: str = "tests.support.halting_agent") -> Path:
    """The laptop's, with an agent of ours: one that halts."""
    on_top_of(OVERLAY, folder, *patches)
    image = {
        "command": ["python", "-m", agent],
        "workingDir": os.path.relpath(ROOT, folder),
    }
    images = {"images": {"dsm-sample-agent": image}}
    (folder / "knative-local.yaml").write_text(yaml.safe_dump(images))
    return folder


@pytest.fixture
def story_overlay(tmp_path: Path) -> Path:
    return overlay(tmp_path / "o")


async def halfway(story: Story, number: int) -> dict[str, Any]:
    """The Job of an issue, once its agent halts."""

    async def halts() -> dict[str, Any] | None:
        jobs = await story.jobs(number)
        if not jobs:
            return None
        async with story.knative.client("job-launcher") as client:
            log = await client.get(f"/jobs/{jobs[0]['job_id']}/logs")
        return jobs[0] if "halfway" in log.text else None

    found = await eventually(halts, every_s=0.2)
    assert found is not None
    return found


async def test_a_killed_agent_goes_on_where_it_was(story: Story) -> None:
    number, _ = await story.labelled()
    first = await halfway(story, number)
    records = list(story.knative.data.rglob("agent.pid"))
    [record] = [one for one in records if first["job_id"] in str(one)] or records
    os.killpg(int(record.read_text()), signal.SIGKILL)

    comment = await story.says(number, "The agent ended without saying what it has done.")
    assert "What it has done is kept." in comment.body
    assert story.pulls(number) == []

    await story.github.conversation.writes(REPOSITORY, number, "/agent retry")

    async def delivered() -> bool:
        return "Draft pull request #" in story.comments(number)[0].body

    assert await eventually(delivered, every_s=0.2)
    [pull] = story.pulls(number)
    git = story.github.git
    assert git.file(REPOSITORY, pull.head, "src/first.py") == "first = 1"
    assert git.file(REPOSITORY, pull.head, "src/half.py") == "half = 1\nwhole = True"
    assert "Went on in session-7: the half is left." in story.comments(number)[0].body
    second, _ = await story.jobs(number)
    async with story.knative.client("job-launcher") as client:
        task = (await client.get(f"/tasks/{REPOSITORY.replace('/', '%2F')}%23{number}")).json()
    assert (task["status"], task["outcome"]) == ("completed", "delivered")
    assert task["links"]["pull_request"] == second["result"]["url"]
    assert await story.knative.given_up() == []
