"""What users do on an issue to the Jobs there: commands, closing it, removing the label."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.kit import cloudevents
from tests.support.cluster import Cluster
from tests.support.job_world import World, job_world

ROUTES = """
version: 1
routes:
  - name: work
    match: {type: com.github.issue.labeled, label: agent, actor: triage}
    job:
      kind: execute
      task_id: "acme/shop#{{ data.issue.number }}"
      service: shop
      github: acme/shop
      issue: "{{ data.issue.number }}"
      command: [python, -c, "{{ data.issue.title }}"]
"""
MANY_LABELS = ROUTES.replace("label: agent,", "label: 'agent*',")
SLEEPS, ENDS = "import time; time.sleep(600)", "print('done')"


@pytest.fixture
async def world(cluster: Cluster, functions_database: str, tmp_path: Path) -> AsyncIterator[World]:
    async with job_world(cluster, functions_database, tmp_path, routes=ROUTES) as found:
        yield found


async def happens(
    world: World,
    type: str,
    id: str,
    *,
    title: str = SLEEPS,
    permission: str = "write",
    at: datetime | None = None,
    **data: Any,
) -> None:
    payload = {
        "action": type.rpartition(".")[2],
        "issue": {"number": 7, "title": title},
        "repository": {"full_name": "acme/shop"},
        "sender": {"login": "octocat", "type": "User"},
        **data,
    }
    extensions = {"actorpermission": permission}
    body = json.dumps(payload).encode()
    time = cloudevents.format_time(at) if at else None
    message = cloudevents.Message(
        id, "/github", f"com.github.{type}", body, time=time, extensions=extensions
    )
    answer = await world.tell(message)
    assert answer.status_code == 202, answer.text


async def labelled(world: World, id: str = "l", title: str = SLEEPS) -> None:
    await happens(world, "issue.labeled", id, title=title, label={"name": "agent"})


async def says(
    world: World,
    text: str,
    id: str = "c",
    permission: str = "write",
    at: datetime | None = None,
) -> None:
    comment = {"id": 5, "body": text}
    await happens(world, "issue_comment.created", id, permission=permission, at=at, comment=comment)


def replies(world: World) -> list[tuple[str, str]]:
    """The short types of the answers to users, and what they say."""
    found = {m.id: m for m in world.cluster.sink.messages if m.type.startswith("io.dsm.agent.")}
    data = [(m.type.split(".")[3], json.loads(m.data)) for m in found.values()]
    return [(kind, one.get("answer") or one["reason"]) for kind, one in data]


async def test_a_user_with_write_access_stops_and_retries(world: World) -> None:
    await labelled(world)
    await world.until("queued", "started")
    await says(world, "/agent retry", "c1")
    await says(world, "/agent stop", "c2")
    await world.until("queued", "started", "cancelled")
    await says(world, "/agent retry", "c3")
    await says(world, "/agent retry", "c3")
    await world.until("queued", "started", "cancelled", "queued", "started")
    await world.cluster.relayed()

    second, first = await world.jobs()
    assert (first["reason"], first["state"]) == ("stopped by octocat", "cancelled")
    assert (second["task_id"], second["cause"]["id"]) == (first["task_id"], "c3")
    assert replies(world) == [
        ("answered", f"{first['job_id']} has not ended"),
        ("answered", f"stops {first['job_id']}"),
        ("answered", f"{second['job_id']} follows {first['job_id']}"),
    ]


@pytest.mark.parametrize("permission", ["triage", "read", "none", ""])
async def test_without_write_access_a_user_stops_nothing(world: World, permission: str) -> None:
    await labelled(world)
    await world.until("queued", "started")
    await says(world, "/agent stop", permission=permission)
    await world.cluster.relayed()
    held = permission or "unknown"
    assert replies(world) == [("refused", f"actor is {held}, not write or more")]
    assert world.types() == ["queued", "started"]


async def test_why_and_status_say_what_is(world: World) -> None:
    await says(world, "/agent why", "c1")
    await labelled(world, title=ENDS)
    await world.until("queued", "started", "succeeded")
    await says(world, "/agent status", "c2")
    await says(world, "/agent stop", "c3")
    await world.cluster.relayed()
    [job] = await world.jobs()
    first, second, third = replies(world)
    assert first == ("answered", "no agent has worked here")
    assert second[1].startswith(f"{job['job_id']} is succeeded")
    assert third == ("answered", "nothing runs here")


@pytest.mark.parametrize(
    ("type", "data", "reason"),
    [
        ("issue.closed", {}, "closed by octocat"),
        ("issue.unlabeled", {"label": {"name": "Agent"}}, "octocat removed the label Agent"),
    ],
)
async def test_closing_the_issue_and_removing_the_label_cancel(
    world: World, type: str, data: dict[str, Any], reason: str
) -> None:
    await labelled(world)
    await world.until("queued", "started")
    await happens(world, type, "x", permission="", **data)
    await world.until("queued", "started", "cancelled")
    [job] = await world.jobs()
    assert job["reason"] == reason
    assert replies(world) == []


async def test_another_label_another_issue_and_a_bot_stop_nothing(world: World) -> None:
    await labelled(world)
    await world.until("queued", "started")
    await happens(world, "issue.unlabeled", "a", label={"name": "bug"})
    await happens(world, "issue.closed", "b", issue={"number": 8, "title": ""})
    bot = {"login": "dsm[bot]", "type": "Bot"}
    await happens(world, "issue_comment.created", "c", sender=bot, comment={"body": "/agent stop"})
    await says(world, "I would say /agent stop", "d")
    await world.cluster.relayed()
    assert (world.types(), replies(world)) == (["queued", "started"], [])


async def test_a_command_that_is_older_than_the_job_does_nothing_to_it(world: World) -> None:
    before = datetime.now(UTC) - timedelta(minutes=5)
    await labelled(world)
    await world.until("queued", "started")
    await says(world, "/agent stop", "c1", at=before)
    await world.cluster.relayed()
    [first] = await world.jobs()
    assert first["state"] == "running"
    await says(world, "/agent stop", "c2")
    await world.until("queued", "started", "cancelled")
    await says(world, "/agent retry", "c3", at=before)
    await world.cluster.relayed()
    later = ("answered", f"nothing is done: {first['job_id']} was asked for after this")
    assert replies(world) == [later, ("answered", f"stops {first['job_id']}"), later]
    assert len(await world.jobs()) == 1


@pytest.mark.parametrize("type", ["issue.closed", "issue.unlabeled"])
async def test_what_a_bot_closes_is_closed(world: World, type: str) -> None:
    await labelled(world)
    await world.until("queued", "started")
    bot = {"login": "stale[bot]", "type": "Bot"}
    await happens(world, type, "x", permission="", sender=bot, label={"name": "agent"})
    await world.until("queued", "started", "cancelled")


async def test_a_label_of_a_pattern_cancels_what_it_started(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    async with job_world(cluster, functions_database, tmp_path, routes=MANY_LABELS) as world:
        await happens(world, "issue.labeled", "l", label={"name": "agent-fast"})
        await world.until("queued", "started")
        await happens(world, "issue.unlabeled", "x", label={"name": "Agent-fast"})
        await world.until("queued", "started", "cancelled")


async def test_a_stranger_lets_us_write_nothing_where_no_agent_has_worked(world: World) -> None:
    for number, word in enumerate(("status", "why", "stop", "approve")):
        await says(world, f"/agent {word}", f"c{number}", permission="read")
    await world.cluster.relayed()
    assert replies(world) == []


async def presses(
    world: World,
    button: str,
    id: str,
    *,
    permission: str = "write",
    repository: str = "acme/shop",
    job: str | None = None,
) -> None:
    """A user presses a button of the newest Job's check run; `rerun` is GitHub's own."""
    newest = (await world.jobs())[0]["job_id"]
    action = "rerequested" if button == "rerun" else "requested_action"
    data: dict[str, Any] = {
        "check_run": {"external_id": newest if job is None else job},
        "requested_action": {"identifier": button},
        "repository": {"full_name": repository},
    }
    await happens(world, f"check_run.{action}", id, permission=permission, issue=None, **data)


async def test_buttons_of_a_check_run_are_commands(world: World) -> None:
    await labelled(world)
    await world.until("queued", "started")
    for _ in range(2):
        await presses(world, "stop", "b1")
    await world.until("queued", "started", "cancelled")
    for _ in range(2):
        await presses(world, "retry", "b2")
    await world.until("queued", "started", "cancelled", "queued", "started")
    await presses(world, "stop", "b3")
    await world.until(*(("queued", "started", "cancelled") * 2))
    await presses(world, "rerun", "b4")
    await world.cluster.relayed()
    assert len(await world.jobs()) == 3
    answers = [m for m in world.cluster.sink.messages if m.type == "io.dsm.agent.answered.v1"]
    asked = [json.loads(m.data)["asked"] for m in {m.id: m for m in answers}.values()]
    assert asked == ["button stop", "button retry", "button stop", "button retry"]


async def test_a_button_takes_write_access_and_a_job_of_its_repository(world: World) -> None:
    await labelled(world)
    await world.until("queued", "started")
    await presses(world, "stop", "b1", permission="triage")
    await presses(world, "stop", "b2", repository="evil/shop")
    await presses(world, "stop", "b3", job="execute-unknown")
    await presses(world, "stop", "b4", job="")
    await presses(world, "delete", "b5")
    await world.cluster.relayed()
    assert replies(world) == [("refused", "actor is triage, not write or more")]
    assert world.types() == ["queued", "started"]


async def test_a_button_acts_on_the_job_of_its_check_run_alone(world: World) -> None:
    await labelled(world, "l1")
    await labelled(world, "l2")
    await world.until("queued", "started", "queued", "started")
    second, first = await world.jobs()
    await presses(world, "stop", "b1", job=first["job_id"])
    await world.until("queued", "started", "queued", "started", "cancelled")
    await presses(world, "retry", "b2", job=first["job_id"])
    await world.cluster.relayed()
    states = {one["job_id"]: one["state"] for one in await world.jobs()}
    assert states == {first["job_id"]: "cancelled", second["job_id"]: "running"}
    assert replies(world) == [
        ("answered", f"stops {first['job_id']}"),
        ("answered", f"{second['job_id']} has not ended"),
    ]
    await presses(world, "stop", "b3", job=second["job_id"])
    await world.until("queued", "started", "queued", "started", "cancelled", "cancelled")
    await presses(world, "retry", "b4", job=first["job_id"])
    await world.cluster.relayed()
    assert replies(world)[-1][1].endswith(f"follows {first['job_id']}")
