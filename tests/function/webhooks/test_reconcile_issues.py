"""An open issue with a label that asks for work: GitHub may never have tried to tell."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse

from functions.job_launcher.main import job_launcher
from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.deliveries_world import DeliveriesWorld, deliveries_world
from tests.support.github_world import Sent

NOTHING_LISTED = {"GITHUB_HOOKS": "", "GITHUB_REPOSITORIES": "o/r"}


@pytest.fixture
async def world(
    cluster: Cluster, webhook_database: str, tmp_path: Path
) -> AsyncIterator[DeliveriesWorld]:
    async with deliveries_world(cluster, webhook_database, tmp_path, NOTHING_LISTED) as world:
        yield world


async def test_repositories_without_a_hook_say_what_they_do_not_find(
    world: DeliveriesWorld,
) -> None:
    health = await world.health()
    assert [one["problem"] for one in health["hooks"]] == ["GITHUB_HOOKS is not set"]
    assert "no hook is named" in health["message"]


async def labelled(world: DeliveriesWorld, fate: str, label: str = "agent") -> Sent:
    number = await world.github.opened("o/r", "Naïve ☃")
    return await world.github.labelled("o/r", number, label, fate)  # type: ignore[arg-type]


async def requested(world: DeliveriesWorld, count: int = 1) -> list[str]:
    """The ids of requests at the broker, once there are so many."""

    async def there() -> bool:
        return len(world.emitted()) >= count

    await eventually(there)
    return world.emitted()


async def test_an_issue_without_a_delivery_gets_its_request(world: DeliveriesWorld) -> None:
    sent = await labelled(world, "untried", "Agent")
    await world.minute(5)
    assert world.emitted() == [], "a delivery may be under way"
    await world.minute(60)

    assert await requested(world) == ["state:o:r:1:1"]
    [message] = world.cluster.sink.messages
    assert (message.type, message.subject) == ("com.github.issue.labeled", "1")
    assert (message.source, message.extensions["via"]) == (
        "https://api.github.com/repos/o/r",
        "state",
    )
    received, meant = json.loads(message.data), sent.payload
    for part in ("action", "issue", "repository", "sender"):
        assert received[part] == meant[part]
    assert received["label"]["name"] == meant["label"]["name"] == "Agent"


REVIEW = """
  - name: pull-request-labelled
    match: {type: com.github.pull_request.labeled, label: agent}
    job: {kind: review, task_id: "{{ data.number }}", service: s, group: s, command: [claude]}
"""


async def test_a_pull_request_without_a_delivery_gets_its_request_where_a_route_names_its_label(
    world: DeliveriesWorld, tmp_path: Path
) -> None:
    number = world.github.proposed("o/r", "Mend it")
    sent = await world.github.labelled("o/r", number, "Agent", "untried")
    await world.minute(60)
    assert world.emitted("com.github.pull_request.labeled") == [], "no route names it"

    routes = tmp_path / "routes.yaml"
    routes.write_text(f"version: 1\nroutes:{REVIEW}")
    world.cluster.deploy(job_launcher, {"ROUTES_FILE": str(routes)})
    await world.minute(61)

    async def there() -> bool:
        return bool(world.emitted("com.github.pull_request.labeled"))

    await eventually(there)
    [message] = world.cluster.sink.messages
    assert (message.id, message.subject) == ("state:o:r:1:1", "1")
    received, meant = json.loads(message.data), sent.payload
    for part in ("action", "number", "pull_request", "repository", "sender"):
        assert received[part] == meant[part], part
    health = await world.health()
    assert "open issue or pull request labelled agent or agent:review has" in health["message"]
    await world.github.answered(sent)
    await world.minute(61)
    assert len(world.emitted("com.github.pull_request.labeled")) == 1, "it is a repeat"


async def test_it_is_made_once_and_the_delivery_that_comes_later_is_a_repeat(
    world: DeliveriesWorld,
) -> None:
    sent = await labelled(world, "untried")
    for _ in range(4):
        await world.minute(60)
    await requested(world)
    answer = await world.github.answered(sent)

    assert (answer.status_code, answer.json()["repeated"]) == (202, True)
    await world.minute(60)
    assert world.emitted() == ["state:o:r:1:1"]


async def test_a_label_that_is_put_there_again_is_another_request(world: DeliveriesWorld) -> None:
    await labelled(world, "untried")
    await world.minute(60)
    await requested(world)
    await world.minute(1)
    await world.github.unlabelled("o/r", 1, "agent")
    await world.minute(1)
    again = await world.github.labelled("o/r", 1, "agent")
    assert await requested(world, 2) == ["state:o:r:1:1", again.guid]

    await world.github.unlabelled("o/r", 1, "agent")
    await world.minute(1)
    await world.github.labelled("o/r", 1, "agent", "untried")
    await world.minute(60)
    await world.minute(60)
    assert len(await requested(world, 3)) == 3


@pytest.mark.parametrize("fate", ["arrives", "late"])
async def test_what_was_delivered_is_not_made(world: DeliveriesWorld, fate: str) -> None:
    sent = await labelled(world, fate)
    await world.github.arrive_late()
    await world.minute(60)
    await world.minute(60)
    assert await requested(world) == [sent.guid]


async def test_what_does_not_stand_is_not_made(world: DeliveriesWorld) -> None:
    await labelled(world, "untried", "bug")
    await labelled(world, "untried")
    await world.github.unlabelled("o/r", 2, "agent")
    await labelled(world, "untried")
    world.github.issues["o/r"][3].state = "closed"
    await world.minute(60)
    assert world.emitted() == []


async def test_what_began_long_before_the_first_look_is_left_alone(
    world: DeliveriesWorld,
) -> None:
    await labelled(world, "untried")
    world.clock.passes(days=4)
    await labelled(world, "untried")
    await world.minute(60)
    assert await requested(world) == ["state:o:r:2:2"]


async def test_what_the_ledger_has_forgotten_is_not_made_again(
    world: DeliveriesWorld,
) -> None:
    await world.minute()
    await labelled(world, "untried")
    world.clock.passes(days=30)
    await world.minute(60)
    assert world.emitted() == []


async def test_issues_that_have_not_changed_cost_a_request_for_each_label_that_costs_nothing(
    world: DeliveriesWorld,
) -> None:
    for _ in range(3):
        await labelled(world, "arrives")
    world.github.requests.clear()
    await world.minute(60)
    asked, left = len(world.github.requests), world.github.remaining
    assert asked == 2
    await world.minute(60)
    assert (len(world.github.requests) - asked, left - world.github.remaining) == (2, 0)
    world.github.commented("o/r", 2)
    for _ in range(2):
        await world.minute(60)
    assert len(world.github.requests) - asked == 6 + 1, "the lists, and once a timeline"


async def test_a_hundred_issues_and_a_limit_in_the_middle(world: DeliveriesWorld) -> None:
    for _ in range(120):
        await labelled(world, "untried")
    world.github.refuses(40, 403, {"Retry-After": "60"})
    await world.minute(60)
    assert "wants no request" in (await world.health())["issues"][0]["problem"]
    for _ in range(3):
        await world.minute(60)
    assert len(set(await requested(world, 120))) == len(world.emitted()) == 120


@pytest.mark.parametrize("hours", [-3, 3])
async def test_github_s_clock_decides(world: DeliveriesWorld, hours: int) -> None:
    world.github.skew = timedelta(hours=hours)
    await labelled(world, "untried")
    await world.minute(5)
    assert world.emitted() == [], "a delivery may be under way"
    await world.minute(60)
    assert await requested(world) == ["state:o:r:1:1"]


async def test_health_says_that_each_has_its_request(world: DeliveriesWorld) -> None:
    await labelled(world, "untried")
    await world.minute(60)
    [issues] = (await world.health())["issues"]
    assert issues["name"] == "repos/o/r/issues"
    assert issues["message"] == (
        "Each open issue or pull request labelled agent or agent:review has its request; "
        "1 had to be made, the last one "
        "2026-03-02T15:00:00Z."
    )


async def test_looking_and_late_deliveries_at_once_are_one_request_each(
    world: DeliveriesWorld,
) -> None:
    world.github.late_now = [await labelled(world, "untried") for _ in range(20)]
    await world.minute(60)
    await world.github.arrived()
    await world.minute(60)

    await requested(world, 20)
    messages = world.cluster.sink.messages
    assert sorted(int(message.subject or 0) for message in messages) == list(range(1, 21))


async def test_an_issue_whose_timeline_is_not_given_out_holds_up_no_other(
    world: DeliveriesWorld,
) -> None:
    for _ in range(3):
        await labelled(world, "untried")

    async def poisoned(scope: Any, receive: Any, send: Any) -> None:
        is_poison = scope["path"].endswith("/issues/2/timeline")
        answer = JSONResponse({"message": "no"}, 502)
        await (answer if is_poison else world.github)(scope, receive, send)

    world.cluster.add("api", poisoned)
    await world.minute(60)
    assert sorted(await requested(world, 2)) == ["state:o:r:1:1", "state:o:r:3:3"]
    assert "GitHub answered 502" in (await world.health())["issues"][0]["problem"]
    world.cluster.add("api", world.github)
    await world.minute(5)
    assert len(await requested(world, 3)) == 3
    assert (await world.health())["issues"][0]["problem"] is None
