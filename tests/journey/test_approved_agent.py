"""A route that asks for approval twice: nothing starts and nothing is pushed before a user says so.

Each delivery of GitHub comes twice, and the functions are killed while they wait.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
import yaml

from knative.demo.github import REPOSITORY
from tests.support.agent_story import Story
from tests.support.job_world import shipped_routes
from tests.support.manifest_files import on_top_of
from tests.support.warm_data import OVERLAY

pytestmark = [pytest.mark.slow]

OUTPUTS = "      outputs: {}\n"
APPROVAL = "      approval: {before: [start, outputs]}\n"
VICTIMS = ("job-launcher", "agent-outputs", "agent-status")


def approved(folder: Path) -> Path:
    """The overlay, with a first route that waits for approval before its start and its outputs."""
    routes = shipped_routes()
    assert OUTPUTS in routes
    config = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "job-routes", "namespace": "dsm"},
        "data": {"routes.yaml": routes.replace(OUTPUTS, OUTPUTS + APPROVAL, 1)},
    }
    return on_top_of(OVERLAY, folder, {"patch": yaml.safe_dump(config)})


@pytest.fixture
def story_overlay(tmp_path: Path) -> Path:
    return approved(tmp_path / "overlay")


async def kill(story: Story) -> None:
    """Kill those that wait; the next request starts them anew."""
    pids = {one["name"]: one["pid"] for one in await story.knative.ask("services")}
    for name in VICTIMS:
        if pid := pids[name]:
            os.kill(pid, signal.SIGKILL)


async def says(story: Story, number: int, text: str, by: str = "octocat") -> None:
    """A user comments; GitHub delivers it twice."""
    _, sent = await story.github.conversation.writes(REPOSITORY, number, text, by)
    assert (await story.github.answered(sent)).status_code == 202


async def test_an_agent_that_is_approved_twice_makes_one_pull_request(story: Story) -> None:
    number, sent = await story.labelled()
    assert (await story.github.answered(sent)).status_code == 202
    await story.shows(number, "An agent waits for approval before it starts.")
    [job] = await story.jobs(number)
    assert (job["state"], job["approval"], job["launched_at"]) == ("queued", "start", None)
    await says(story, number, "/agent approve", by="stranger")
    await story.shows(number, "by stranger: not started: actor is none")

    await kill(story)
    await says(story, number, "/agent approve")
    await story.shows(number, "what it has made waits for approval.")
    comment = await story.shows(number, "| `src/basket.py` | 1 | 1 |")
    assert "commit(s) to 1 file(s), +1 -1:" in comment
    assert story.pulls(number) == []
    assert story.github.git.branches(REPOSITORY) == ["main"]

    await kill(story)
    await says(story, number, "/agent approve well done")
    await story.shows(number, "Draft pull request #")
    [pull] = story.pulls(number)
    assert pull.draft
    [job] = await story.jobs(number)
    assert [(one["before"], one["by"]) for one in job["approvals"]] == [
        ("start", "octocat"),
        ("outputs", "octocat"),
    ]

    number, _ = await story.labelled()
    await story.shows(number, "An agent waits for approval before it starts.")
    await says(story, number, "/agent reject not now")
    await story.shows(number, "rejected by octocat: not now")
    [job] = await story.jobs(number)
    assert (job["state"], job["launched_at"]) == ("cancelled", None)
    assert await story.knative.given_up() == []
