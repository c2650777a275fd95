"""A signed GitHub issue labelled `agent` goes through the receiver and becomes one Job."""

from __future__ import annotations

import hmac
import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from knative.demo.agents import sample_issue
from tests.support import eventually
from tests.support.local_knative import LocalKnative
from tests.support.warm_data import OVERLAY, WarmData
from tests.support.watched import watched_knative

pytestmark = [pytest.mark.slow]


@pytest.fixture(scope="module")
def knative(
    tmp_path_factory: pytest.TempPathFactory, warm_data: WarmData
) -> Iterator[LocalKnative]:
    # A unix socket's path may have 107 characters at most: PostgreSQL's is below the data.
    data = warm_data.copy_to(tmp_path_factory.mktemp("k") / "d", watch=True)
    with watched_knative(OVERLAY, data) as runtime:
        yield runtime


async def deliver(knative: LocalKnative, issue: dict[str, Any], delivery: str) -> httpx.Response:
    """What GitHub does."""
    body = json.dumps(issue).encode()
    key = knative.secret("dsm/webhook-secrets", "github").encode()
    headers = {
        "content-type": "application/json",
        "x-github-event": "issues",
        "x-github-delivery": delivery,
        "x-hub-signature-256": f"sha256={hmac.digest(key, body, 'sha256').hex()}",
    }
    async with knative.client("webhook-receiver", headers=headers) as client:
        return await client.post("/webhook/github", content=body)


async def jobs(knative: LocalKnative, task: str) -> list[dict[str, Any]]:
    async with knative.client("job-launcher") as client:
        answer = await client.get("/jobs", params={"task": task})
        return list(answer.json()["jobs"])


async def facts(knative: LocalKnative, subject: str) -> list[str]:
    """The types said of a Job, each id once."""
    found = [event["attributes"] for event in await knative.ask("events", since=0, limit=1000)]
    said = {e["id"]: e["type"] for e in found if e.get("subject") == subject}
    return [kind for kind in said.values() if kind.startswith("io.dsm.job.")]


async def test_a_labelled_issue_becomes_one_job_however_often_it_is_delivered(
    knative: LocalKnative,
) -> None:
    for _ in range(3):
        assert (await deliver(knative, sample_issue(42), "delivery-42")).status_code == 202

    async def ended() -> list[dict[str, Any]]:
        found = await jobs(knative, "acme/shop#42")
        return found if found and found[0]["ended_at"] else []

    (job,) = await eventually(ended)
    assert (job["state"], job["cause"]["id"]) == ("succeeded", "delivery-42")
    assert job["last_lines"], "a Job whose command this machine lacks says so"

    async def all_is_said() -> bool:
        found = await facts(knative, job["job_id"])
        return sorted(found) == [f"io.dsm.job.{n}.v1" for n in ("queued", "started", "succeeded")]

    await eventually(all_is_said)


async def test_an_issue_with_another_label_launches_nothing(knative: LocalKnative) -> None:
    issue = sample_issue(43) | {"label": {"name": "bug"}}
    assert (await deliver(knative, issue, "delivery-43")).status_code == 202

    await eventually(knative.settled)
    assert await jobs(knative, "acme/shop#43") == []
