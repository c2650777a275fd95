"""An agent's Job that a queue suspends in the middle of its work and resumes: one pull request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from knative.demo.github import REPOSITORY
from tests.journey.test_agent_retried import halfway, overlay
from tests.support import eventually
from tests.support.agent_story import FACTS, Story
from tests.support.local_knative import ROOT

pytestmark = [pytest.mark.slow]

ROUTES = ROOT / "knative/base/functions/job-launcher.yaml"


def in_a_queue() -> dict[str, object]:
    """A patch: the route of a label has a queue of Kueue."""
    shipped = next(iter(yaml.safe_load_all(ROUTES.read_text())))
    routes = yaml.safe_load(shipped["data"]["routes.yaml"])
    [route] = [one for one in routes["routes"] if one["name"] == "issue-labelled-agent"]
    route["job"].setdefault("pod", {})["queue"] = "agents"
    patch = {**shipped, "data": {"routes.yaml": yaml.safe_dump(routes)}}
    return {"patch": yaml.safe_dump(patch)}


@pytest.fixture
def story_overlay(tmp_path: Path) -> Path:
    return overlay(tmp_path / "o", in_a_queue())


async def test_a_preempted_agent_goes_on_in_its_next_pod(story: Story) -> None:
    number, _ = await story.labelled()
    job_id = (await halfway(story, number))["job_id"]
    async with kubernetes(story) as api:
        await suspend(api, job_id, True)

        async def has_left() -> bool:
            return not await pods(api, job_id)

        await eventually(has_left, every_s=0.1)
        assert [job["state"] for job in await story.jobs(number)] == ["running"]
        assert "undelivered" not in await story.facts(job_id)
        await suspend(api, job_id, False)

    comment = await story.says(number, "Draft pull request #")
    [pull] = story.pulls(number)
    git = story.github.git
    assert git.file(REPOSITORY, pull.head, "src/first.py") == "first = 1"
    assert git.file(REPOSITORY, pull.head, "src/half.py") == "half = 1\nwhole = True"
    assert "Went on in session-7: the half is left." in comment.body

    async def has_ended() -> bool:
        return [job["state"] for job in await story.jobs(number)] == ["succeeded"]

    assert await eventually(has_ended)
    assert await story.facts(job_id) == sorted(FACTS)
    assert await story.knative.given_up() == []


def kubernetes(story: Story) -> httpx.AsyncClient:
    config = yaml.safe_load((story.knative.data / "kubeconfig").read_text())
    token = config["users"][0]["user"]["token"]
    return httpx.AsyncClient(
        base_url=config["clusters"][0]["cluster"]["server"],
        headers={"authorization": f"Bearer {token}"},
        trust_env=False,
    )


async def suspend(api: httpx.AsyncClient, job_id: str, value: bool) -> None:
    """What Kueue does to a Job."""
    answer = await api.patch(
        f"/apis/batch/v1/namespaces/agents/jobs/{job_id}",
        json={"spec": {"suspend": value}},
        headers={"content-type": "application/merge-patch+json"},
    )
    assert answer.status_code == 200, answer.text


async def pods(api: httpx.AsyncClient, job_id: str) -> list[Any]:
    selector = {"labelSelector": f"job-name={job_id}"}
    answer = await api.get("/api/v1/namespaces/agents/pods", params=selector)
    return list(answer.json()["items"])
