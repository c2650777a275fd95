"""What waits for a user's approval: a Job before it starts, and its outputs, whoever decides."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.events.approval import ApprovalRequested
from tests.function.jobs.test_job_launcher_commands import (
    ENDS,
    ROUTES,
    happens,
    labelled,
    presses,
    replies,
    says,
)
from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.deliveries_world import Clock
from tests.support.job_world import World, job_world, queue_locked

WAITS = ROUTES + "      approval: {before: start, timeout_seconds: 3600}\n"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def world(
    cluster: Cluster, functions_database: str, tmp_path: Path, clock: Clock
) -> AsyncIterator[World]:
    # The queue's limit is shorter than the approval's.
    environ = {"JOB_QUEUE_SECONDS": "60"}
    async with job_world(
        cluster, functions_database, tmp_path, routes=WAITS, environ=environ, now=clock
    ) as found:
        yield found


async def decide(world: World, job: str, word: str, **query: str) -> Any:
    async with world.cluster.client("job-launcher") as client:
        answer = await client.post(f"/jobs/{job}/{word}", params=query, headers={"X-User": "alice"})
    await world.cluster.relayed()
    return answer


async def actions(world: World) -> list[tuple[str, str, str, str]]:
    async with world.cluster.client("job-launcher") as client:
        found = (await client.get("/actions")).json()["actions"]
    return [(one["who"], one["action"], one["subject"], one["reason"]) for one in found]


async def test_a_request_waits_until_a_user_approves_it_and_then_starts_once(world: World) -> None:
    await labelled(world, title=ENDS)
    await world.sweep()
    await world.until("queued", "requested")
    [job] = await world.jobs()
    assert (job["state"], job["approval"]) == ("queued", "start")
    assert job["reason"] == "it waits for approval, until 2026-03-02T15:00:00Z"
    assert job["launched_at"] is None

    for _ in range(2):
        await says(world, "/agent approve looks good", "c1")
    await says(world, "/agent approve", "c2")
    await world.until("queued", "requested", "decided", "started", "succeeded")
    await world.cluster.relayed()
    [job] = await world.jobs()
    assert (job["approval"], job["state"]) == (None, "succeeded")
    assert replies(world) == [
        ("answered", f"the start of {job['job_id']} is approved by octocat: looks good"),
        ("answered", "nothing waits for approval here"),
    ]
    subject = f"start of job {job['job_id']}"
    assert await actions(world) == [("octocat", "approved", subject, "looks good")]
    [fact] = {json.dumps(one) for one in world.emitted("decided")}
    assert json.loads(fact)["decision"] == "approved"


async def test_a_process_that_dies_after_an_approval_loses_nothing(
    world: World, functions_database: str
) -> None:
    await labelled(world, title=ENDS)
    async with queue_locked(functions_database) as waiting:
        telling = asyncio.create_task(says(world, "/agent approve"))

        async def looks_at_the_queue() -> bool:
            return await waiting() == 1

        await eventually(looks_at_the_queue)
        await world.cluster.crash("job-launcher")
        await telling
        assert [one["state"] for one in await world.jobs()] == ["queued"]
    await world.sweep()
    await world.until("queued", "requested", "decided", "started", "succeeded")


async def test_a_rejected_request_never_starts_and_has_the_reason(world: World) -> None:
    await labelled(world)
    await says(world, "/agent reject  not   this week")
    await world.sweep()
    await world.until("queued", "requested", "decided", "cancelled")
    [job] = await world.jobs()
    assert (job["state"], job["launched_at"]) == ("cancelled", None)
    assert job["reason"] == "rejected by octocat: not this week"


@pytest.mark.parametrize("permission", ["triage", "read", ""])
async def test_without_write_access_no_user_approves(world: World, permission: str) -> None:
    await labelled(world)
    await says(world, "/agent approve", permission=permission)
    await world.sweep()
    await world.until("queued", "requested")
    assert [kind for kind, _ in replies(world)] == ["refused"]


async def test_what_no_user_approves_ends_when_its_route_says(world: World, clock: Clock) -> None:
    await labelled(world)
    clock.passes(seconds=3599)
    await world.sweep()
    await world.until("queued", "requested")
    clock.passes(seconds=1)
    await world.sweep()
    await world.sweep()
    await world.until("queued", "requested", "decided", "cancelled")
    [job] = await world.jobs()
    assert job["reason"] == "no user approved it in time"
    assert await actions(world) == [], "no user did it"


async def test_the_time_of_an_approval_is_none_of_the_queue(world: World, clock: Clock) -> None:
    """JOB_QUEUE_SECONDS counts from when a request could start."""
    await labelled(world, title=ENDS)
    clock.passes(seconds=3000)
    await world.sweep()
    await says(world, "/agent approve")
    await world.until("queued", "requested", "decided", "started", "succeeded")


async def test_a_request_that_waits_for_approval_blocks_no_other(world: World) -> None:
    await labelled(world)
    issue = {"number": 8, "title": ENDS}
    await happens(world, "issue.labeled", "m", issue=issue, label={"name": "agent"})
    second = next(one for one in await world.jobs() if one["task_id"] == "acme/shop#8")
    assert (await decide(world, second["job_id"], "approve")).status_code == 202
    await world.until(
        "queued", "requested", "queued", "requested", "decided", "started", "succeeded"
    )


async def test_over_http_a_decision_counts_once_and_is_on_record(world: World) -> None:
    await labelled(world)
    [job] = await world.jobs(approval="start")
    answer = await decide(world, job["job_id"], "reject", reason="too vague")
    assert (answer.status_code, answer.json()["decision"]) == (202, "rejected")
    answer = await decide(world, job["job_id"], "approve")
    assert answer.status_code == 409
    assert "waits for no approval: it is cancelled" in answer.json()["detail"]
    assert await world.jobs(approval="start") == []
    assert await actions(world) == [
        ("alice", "rejected", f"start of job {job['job_id']}", "too vague")
    ]
    [job] = await world.jobs()
    assert job["approvals"][0] | {"at": ""} == {
        "before": "start",
        "decision": "rejected",
        "by": "alice",
        "reason": "too vague",
        "at": "",
    }


async def test_closing_the_issue_ends_what_waits(world: World) -> None:
    await labelled(world)
    await happens(world, "issue.closed", "x", permission="")
    await world.until("queued", "requested", "cancelled")
    assert await world.jobs(approval="start") == []
    [job] = await world.jobs()
    assert job["reason"] == "closed by octocat"


def outputs_of(job: dict[str, Any], clock: Clock) -> ApprovalRequested:
    return ApprovalRequested(
        job_id=job["job_id"],
        task_id=job["task_id"],
        route=job["route"],
        repository="acme/shop",
        issue=7,
        before="outputs",
        expires_at=clock() + timedelta(hours=1),
    )


async def done(world: World) -> dict[str, Any]:
    """A Job that was approved and has ended."""
    await labelled(world, title=ENDS)
    await says(world, "/agent approve", "first")
    await world.until("queued", "requested", "decided", "started", "succeeded")
    [job] = await world.jobs()
    return job


@pytest.mark.parametrize(
    ("type", "data", "decision", "reason"),
    [
        ("issue_comment.created", "/agent approve", "approved", ""),
        ("issue_comment.created", "/agent reject tests fail", "rejected", "tests fail"),
        ("issue_comment.created", "/agent stop", "rejected", "stopped by octocat"),
        ("issue.closed", None, "rejected", "closed by octocat"),
        ("expired", None, "expired", ""),
    ],
)
async def test_outputs_that_wait_are_decided_once(
    world: World, clock: Clock, type: str, data: str | None, decision: str, reason: str
) -> None:
    job = await done(world)
    for _ in range(2):
        await world.tell(outputs_of(job, clock))
    [job] = await world.jobs(approval="outputs")
    assert job["reason"] == "its outputs wait for approval, until 2026-03-02T15:00:00Z"
    for again in "ab":
        if type == "expired":
            clock.passes(minutes=60)
            await world.sweep()
        else:
            comment: dict[str, Any] = {"comment": {"id": 5, "body": data}} if data else {}
            await happens(world, type, again, **comment)
    await world.tell(outputs_of(job, clock).model_copy(update={"wants": ["again"]}))
    await world.cluster.relayed()

    assert await world.jobs(approval="outputs") == []
    found = {one["before"]: one for one in world.emitted("decided")}
    assert (found["outputs"]["decision"], found["outputs"]["reason"]) == (decision, reason)
    assert len([one for one in world.types() if one == "decided"]) == 2, "start, and outputs"


async def test_a_comment_that_is_older_than_the_wait_approves_nothing(
    world: World, clock: Clock
) -> None:
    """Its delivery was lost, and comes again."""
    job = await done(world)
    written = clock()
    clock.passes(seconds=60)
    await world.tell(outputs_of(job, clock))
    await says(world, "/agent approve", "late", at=written)
    await says(world, "/agent reject", "late too", at=written)
    await world.cluster.relayed()
    assert len(await world.jobs(approval="outputs")) == 1
    nothing = f"nothing is done: {job['job_id']} began to wait after this"
    assert [answer for _, answer in replies(world)][1:] == [nothing, nothing]
    await says(world, "/agent approve", "now", at=clock())
    assert await world.jobs(approval="outputs") == []


async def test_a_button_approves_its_own_job_and_what_it_was_about(
    world: World, clock: Clock
) -> None:
    job = await done(world)
    await world.tell(outputs_of(job, clock))
    await labelled(world, "l2")
    newest, _ = await world.jobs()
    await presses(world, "approve-start", "b1", job=job["job_id"])
    waiting = {one["job_id"]: one["approval"] for one in await world.jobs()}
    assert waiting == {newest["job_id"]: "start", job["job_id"]: "outputs"}
    await presses(world, "approve-outputs", "b2", job=job["job_id"])
    waiting = {one["job_id"]: one["approval"] for one in await world.jobs()}
    assert waiting == {newest["job_id"]: "start", job["job_id"]: None}


async def test_a_task_without_an_issue_is_approved_over_http(world: World, clock: Clock) -> None:
    job = await done(world)
    await world.tell(outputs_of(job, clock))
    assert (await decide(world, job["job_id"], "approve", reason="fine")).status_code == 202
    assert (await decide(world, job["job_id"], "approve")).status_code == 409
    assert [one["decision"] for one in world.emitted("decided")][-1] == "approved"
