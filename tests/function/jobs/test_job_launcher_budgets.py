"""Budgets of a group and a day: warned of at 80 %, no new start at 100 %, and on at midnight."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.events.agent import AgentDelivered, AgentUndelivered, AgentUsage, AgentUsed
from functions.job_launcher.budget_usage import REPORTED_AFTER_S
from functions.kit import cloudevents
from knative.local.kube import timestamps
from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.deliveries_world import Clock
from tests.support.job_world import PYTHON_ROUTES, World, asked, job_world, takes_outputs
from tests.support.listening import listening

ISSUE = """      github: acme/shop
      issue: "{{ data.issue | default(\\"7\\") }}"
      files:"""
BUDGET = "budgets:\n  - {group: acme/*, usd: 10, tokens: 1000000, time_zone: Europe/Zurich}\n"
ROUTES = PYTHON_ROUTES.replace("      files:", ISSUE) + BUDGET
GROUP = "acme/shop"


@pytest.fixture
def clock() -> Clock:
    """At three in the afternoon in Zurich."""
    return Clock()


@pytest.fixture
async def world(
    cluster: Cluster, functions_database: str, tmp_path: Path, clock: Clock
) -> AsyncIterator[World]:
    async with job_world(
        cluster,
        functions_database,
        tmp_path,
        routes=ROUTES,
        environ={"JOB_QUEUE_SECONDS": "3600"},
        now=clock,
    ) as found:
        yield found


async def run(world: World, id: str, *, group: str = GROUP, code: str = "print('done')") -> None:
    """A request, delivered twice."""
    for _ in range(2):
        await world.tell(asked(id, task=f"t-{id}", group=group, code=code))


async def job(world: World, id: str) -> dict[str, Any]:
    return next(one for one in await world.jobs() if one["cause"]["id"] == id)


async def has_cost(world: World, clock: Clock, id: str, usd: float, **usage: int) -> None:
    """Its agent reports what it has used, delivered twice."""
    one = await job(world, id)
    fact = AgentDelivered(
        job_id=one["job_id"],
        task_id=one["task_id"],
        route="run",
        repository="acme/shop",
        issue=7,
        settled_at=clock(),
        usage=AgentUsage(cost_usd=usd, turns=3, **usage),
    )
    for _ in range(2):
        assert (await world.tell(fact)).status_code == 202
    await world.cluster.relayed()


def at_noon(clock: Clock) -> str:
    """Set Kubernetes' own time; return a time zone in which it is noon."""
    clock.time = datetime.now(UTC)
    return f"Etc/GMT{clock.time.hour - 12:+d}"


async def ended(world: World, *ids: str) -> None:
    async def have() -> bool:
        await world.sweep()
        states = {one["cause"]["id"]: one["state"] for one in await world.jobs()}
        return all(states[id] == "succeeded" for id in ids)

    try:
        await eventually(have, every_s=0.05)
    except AssertionError:
        shown = [(one["cause"]["id"], one["state"], one["reason"]) for one in await world.jobs()]
        raise AssertionError(f"{ids} have not ended: {shown}") from None


async def read(world: World, path: str, **query: str) -> Any:
    async with world.cluster.client("job-launcher") as client:
        answer = await client.get(path, params=query)
    assert answer.status_code == 200, answer.text
    return answer.json()


def once(world: World, name: str) -> list[dict[str, Any]]:
    first = {fact.id: fact for fact in world.facts if fact.type.split(".")[2] == name}
    return [json.loads(fact.data) for fact in first.values()]


async def test_a_budget_that_is_reached_in_mid_queue_holds_the_rest_until_midnight(
    world: World, clock: Clock
) -> None:
    for id in ("a", "b"):
        await run(world, id)
    await ended(world, "a", "b")
    await has_cost(world, clock, "a", 6.0)
    assert world.emitted("warned") == []
    await has_cost(world, clock, "b", 2.5, input_tokens=1000, output_tokens=500)
    await world.sweep()
    [warned] = once(world, "budget")
    assert (warned["unit"], warned["used"], warned["limit"]) == ("usd", 8.5, 10.0)
    assert warned["issue"] == 7

    await run(world, "c", code="import time; time.sleep(600)")
    await run(world, "d")
    await world.cluster.relayed()
    assert (await job(world, "c"))["state"] in ("starting", "running"), "85 % holds no start"
    await has_cost(world, clock, "c", 1.75)
    await run(world, "e", group="another")
    await ended(world, "e")
    for _ in range(2):
        await world.sweep()
    held = await job(world, "d")
    assert held["state"] == "queued"
    reason = "the budget of group acme/shop is used up: $10.25 of $10.00; it starts at "
    assert held["reason"] == f"{reason}2026-03-03 00:00 CET"
    [fact] = {json.dumps(one) for one in world.emitted("held")}
    assert json.loads(fact)["reason"] == held["reason"]
    assert len(once(world, "budget")) == 1

    clock.passes(hours=8, minutes=59)  # longer than JOB_QUEUE_SECONDS
    await world.sweep()
    await world.sweep()
    assert (await job(world, "d"))["state"] == "queued"
    await world.tell(cancel(world, await job(world, "c")))
    clock.passes(minutes=1)
    await world.sweep()
    await ended(world, "d")
    assert [one["group"] for one in (await read(world, "/budgets"))["budgets"]] == [GROUP]


def cancel(world: World, one: dict[str, Any]) -> cloudevents.Message:
    body = json.dumps({"job": one["job_id"]}).encode()
    return cloudevents.Message("x", "/tests", "io.dsm.job.cancel.requested.v1", body)


async def test_a_budget_that_is_raised_starts_what_waits(
    world: World, clock: Clock, tmp_path: Path
) -> None:
    await run(world, "a")
    await ended(world, "a")
    await has_cost(world, clock, "a", 11.0)
    await run(world, "b")
    assert (await job(world, "b"))["state"] == "queued"
    clock.passes(minutes=50)
    await world.sweep()
    clock.passes(minutes=50)
    (tmp_path / "routes.yaml").write_text(ROUTES.replace("usd: 10", "usd: 20.5"))
    await world.sweep()
    await ended(world, "b")


async def test_a_job_knows_what_its_group_may_still_use(world: World, clock: Clock) -> None:
    await run(world, "a")
    await ended(world, "a")
    await has_cost(world, clock, "a", 1.25, input_tokens=100, output_tokens=900)
    code = "import os; print(os.environ['BUDGET_USD'], os.environ['BUDGET_TOKENS'])"
    await run(world, "b", code=code)
    await ended(world, "b")
    assert (await job(world, "b"))["last_lines"] == ["8.75 999000"]


SLEEPS = "import time; time.sleep(600)"


async def uses(world: World, id: str, **usage: float) -> None:
    """Its agent reports what it has used so far, delivered twice."""
    one = await job(world, id)
    fact = AgentUsed(
        job_id=one["job_id"],
        task_id=one["task_id"],
        route="run",
        used_at=datetime(2026, 3, 2, 14, tzinfo=UTC),
        usage=AgentUsage.model_validate(usage),
    )
    for _ in range(2):
        assert (await world.tell(fact)).status_code == 202
    await world.cluster.relayed()


async def in_kubernetes(world: World) -> list[dict[str, Any]]:
    answer = await world.api.get("/apis/batch/v1/namespaces/agents/jobs")
    found: list[dict[str, Any]] = answer.json()["items"]
    return found


async def becomes(world: World, id: str, *states: str) -> dict[str, Any]:
    async def is_it() -> bool:
        await world.sweep()
        return (await job(world, id))["state"] in states

    await eventually(is_it, every_s=0.05)
    return await job(world, id)


async def test_jobs_that_start_at_once_may_use_no_more_than_is_left(
    cluster: Cluster, functions_database: str, tmp_path: Path, clock: Clock
) -> None:
    routes = ROUTES.replace("group_limit: 1", "group_limit: 4")
    async with job_world(cluster, functions_database, tmp_path, routes=routes, now=clock) as world:
        for id in ("a", "b", "c", "d"):
            await run(world, id, code=SLEEPS)
        for id in ("a", "b", "c", "d"):
            await becomes(world, id, "running")
        granted = [one["granted"]["usd"] for one in await world.jobs()]
        assert granted == [2.5, 2.5, 2.5, 2.5]
        [budget] = (await read(world, "/budgets"))["budgets"]
        assert (budget["used"]["usd"], budget["reserved"]["usd"]) == (0.0, 10.0)
        await uses(world, "a", cost_usd=1.0)
        [budget] = (await read(world, "/budgets"))["budgets"]
        assert (budget["used"]["usd"], budget["reserved"]["usd"]) == (1.0, 9.0)

        await run(world, "e")
        await world.tell(cancel(world, await job(world, "a")))
        await ended(world, "e")
        after = await job(world, "e")
        assert after["granted"]["usd"] == 1.5, "what the first has left of its share"


async def test_a_job_waits_while_others_may_use_what_is_left(
    cluster: Cluster, functions_database: str, tmp_path: Path, clock: Clock
) -> None:
    """The route that asks second lets two work at a time, the first one alone."""
    both = ROUTES.replace("group_limit: 1", "group_limit: 2").replace("- name: run", "- name: two")
    both = both.replace("type: test.run", "type: test.two")
    second = both[both.index("  - name: two") : both.index("  - name: never")]
    routes = ROUTES.replace("  - name: never", second + "  - name: never")
    async with job_world(cluster, functions_database, tmp_path, routes=routes, now=clock) as world:
        await run(world, "a", code=SLEEPS)
        await becomes(world, "a", "running")
        await world.tell(replace(asked("b", task="t-b", group=GROUP), type="test.two"))
        await world.sweep()
        waits = await job(world, "b")
        assert waits["state"] == "queued"
        assert waits["reason"].startswith("jobs that run may use what is left of the budget")
        assert world.emitted("held") == [], "it waits for no other day"
        await world.tell(cancel(world, await job(world, "a")))
        await ended(world, "b")


async def test_a_job_that_uses_more_than_it_may_is_ended(world: World) -> None:
    await run(world, "a", code=SLEEPS)
    await becomes(world, "a", "running")
    assert len(await in_kubernetes(world)) == 1
    await uses(world, "a", cost_usd=10.5)
    assert (await job(world, "a"))["state"] == "running", "an agent ends itself a little late"
    await uses(world, "a", cost_usd=11.5, input_tokens=10)
    one = await becomes(world, "a", "failed")
    assert one["reason"] == (
        "BudgetUsedUp: it has used $11.50, and might use $10.00 of the budget of group acme/shop"
    )
    [failed] = once(world, "job")[-1:]
    assert failed["reason"] == "BudgetUsedUp"

    async def is_gone() -> bool:
        await world.sweep()
        return await in_kubernetes(world) == []

    await eventually(is_gone, every_s=0.05)
    assert (await job(world, "a"))["state"] == "failed"


async def test_no_agent_uses_up_its_group_by_what_it_reports(
    cluster: Cluster, functions_database: str, tmp_path: Path, clock: Clock
) -> None:
    """Of a Job counts what it was granted and a quarter, in each unit; its cost is as reported."""
    routes = ROUTES.replace("group_limit: 1", "group_limit: 4")
    async with job_world(cluster, functions_database, tmp_path, routes=routes, now=clock) as world:
        await run(world, "a", code=SLEEPS)
        await becomes(world, "a", "running")
        await uses(world, "a", cost_usd=1e6, input_tokens=10**12, output_tokens=10**12)
        await becomes(world, "a", "failed")
        [budget] = (await read(world, "/budgets"))["budgets"]
        assert budget["used"] == {"usd": 3.125, "tokens": 312_500.0}
        [cost] = (await read(world, "/costs"))["costs"]
        assert cost["usd"] == 1e6
        await run(world, "b")
        await ended(world, "b")


OF_OUTPUTS = {"WORKSPACE_IMAGE": "anthropic/claude-code", "GRANT_KEY": "k" * 40}


@pytest.mark.parametrize("reported", [True, False], ids=["reported", "never"])
async def test_what_a_job_may_have_used_is_reserved_until_it_is_known(
    cluster: Cluster, functions_database: str, tmp_path: Path, clock: Clock, reported: bool
) -> None:
    """What comes of its outputs is known after its end: in a quarter of an hour, or never."""
    zone = at_noon(clock)
    routes = ROUTES.replace("      files:", "      outputs: {}\n      files:", 1)
    routes = routes.replace("Europe/Zurich", zone)
    async with listening(takes_outputs) as url:
        # Kubernetes' clock has the Job's begin, and stays behind the one that the test moves.
        environ = OF_OUTPUTS | {"AGENT_OUTPUTS_URL": url, "JOB_START_SECONDS": "7200"}
        made = job_world(
            *(cluster, functions_database, tmp_path), routes=routes, environ=environ, now=clock
        )
        async with made as world:
            await run(world, "a")
            await ended(world, "a")
            await run(world, "b", code=SLEEPS)
            for _ in range(2):
                await world.sweep()
            waits = await job(world, "b")
            assert (waits["state"], waits["reason"][:20]) == ("queued", "jobs that run may us")
            [budget] = (await read(world, "/budgets"))["budgets"]
            assert budget["reserved"] == {"usd": 10.0, "tokens": 1_000_000.0}
            if reported:
                await has_cost(world, clock, "a", 4.0)
            else:
                clock.passes(seconds=2 * REPORTED_AFTER_S)
            await becomes(world, "b", "running")
            assert (await job(world, "b"))["granted"]["usd"] == (6.0 if reported else 10.0)


async def test_what_a_job_that_failed_has_used_counts_once(world: World, clock: Clock) -> None:
    """Reports that come late, twice or after the end change nothing."""
    await run(world, "a", code="raise SystemExit(3)")
    await becomes(world, "a", "failed")
    await uses(world, "a", cost_usd=4.0, input_tokens=100)
    await uses(world, "a", cost_usd=1.0, input_tokens=50)
    await has_cost(world, clock, "a", 4.0, input_tokens=100)
    [budget] = (await read(world, "/budgets"))["budgets"]
    assert budget["used"] == {"usd": 4.0, "tokens": 100.0}
    [cost] = (await read(world, "/costs"))["costs"]
    assert (cost["usd"], cost["tokens"], cost["reported"]) == (4.0, 100, 1)


async def test_minutes_end_a_job_at_what_its_group_has_left(
    cluster: Cluster, functions_database: str, tmp_path: Path, clock: Clock
) -> None:
    zone = at_noon(clock)
    routes = PYTHON_ROUTES + f"budgets: [{{group: shop, minutes: 30, time_zone: {zone}}}]\n"
    async with job_world(cluster, functions_database, tmp_path, routes=routes, now=clock) as world:
        for id, deadline in (("a", "7200"), ("b", "600")):
            await world.tell(asked(id, task=id, group="shop", deadline=deadline))
            await ended(world, id)
        jobs = await in_kubernetes(world)
        seconds = {
            one["metadata"]["annotations"]["jobs.dsm.io/event-id"]: one["spec"][
                "activeDeadlineSeconds"
            ]
            for one in jobs
        }
        assert 1780 <= seconds["a"] <= 1800
        assert seconds["b"] == 600, "its route's"


async def test_minutes_count_while_a_job_runs(
    cluster: Cluster, functions_database: str, tmp_path: Path, clock: Clock
) -> None:
    zone = at_noon(clock)
    routes = PYTHON_ROUTES + f"budgets: [{{group: shop, minutes: 30, time_zone: {zone}}}]\n"
    async with job_world(cluster, functions_database, tmp_path, routes=routes, now=clock) as world:
        await run(world, "a", group="shop", code="import time; time.sleep(600)")
        await world.until("queued", "started")
        clock.passes(minutes=31)
        await run(world, "b", group="shop")
        [used] = (await read(world, "/budgets"))["budgets"]
        assert used["group"] == "shop"
        assert "31 minutes of 30 minutes" in used["reason"]


@pytest.fixture
def everywhere(clock: Clock) -> Iterator[Clock]:
    """The clock of Kubernetes, too."""
    timestamps.follow(lambda: clock().timestamp())
    yield clock
    timestamps.follow(time.time)


async def suspend(world: World, value: bool) -> None:
    """As Kueue does."""
    name = (await job(world, "a"))["job_id"]
    answer = await world.api.patch(
        f"/apis/batch/v1/namespaces/agents/jobs/{name}",
        json={"spec": {"suspend": value}},
        headers={"content-type": "application/merge-patch+json"},
    )
    assert answer.status_code == 200, answer.text


async def test_minutes_do_not_count_while_a_queue_suspends_a_job(
    cluster: Cluster, functions_database: str, tmp_path: Path, everywhere: Clock
) -> None:
    clock, zone = everywhere, at_noon(everywhere)
    routes = PYTHON_ROUTES + f"budgets: [{{group: shop, minutes: 1400, time_zone: {zone}}}]\n"

    async with job_world(cluster, functions_database, tmp_path, routes=routes, now=clock) as world:

        async def in_a_minute() -> float:
            """What is used in the next minute."""
            before = await used()
            clock.passes(minutes=1)
            return await used() - before

        async def used() -> float:
            [budget] = (await read(world, "/budgets"))["budgets"]
            return float(budget["used"]["minutes"])

        async def stands() -> bool:
            return await in_a_minute() == 0

        async def counts() -> bool:
            return await in_a_minute() > 0.9

        await run(world, "a", group="shop", code=SLEEPS)
        await world.until("queued", "started")
        assert await counts()
        await suspend(world, True)
        await eventually(stands)
        held = await used()
        clock.passes(minutes=300)
        assert await used() == held
        await suspend(world, False)
        await eventually(counts)
        assert await used() < held + 60


async def test_a_job_that_is_resumed_has_what_is_left_of_its_minutes(
    cluster: Cluster, functions_database: str, tmp_path: Path, everywhere: Clock
) -> None:
    """Kubernetes grants them anew."""
    clock, zone = everywhere, at_noon(everywhere)
    routes = PYTHON_ROUTES + f"budgets: [{{group: shop, minutes: 30, time_zone: {zone}}}]\n"
    async with job_world(cluster, functions_database, tmp_path, routes=routes, now=clock) as world:

        async def has_pods(count: int) -> bool:
            found = (await in_kubernetes(world))[0]["status"].get("ready", 0)
            return bool(found == count)

        await run(world, "a", group="shop", code=SLEEPS)
        await world.until("queued", "started")
        for minutes in (20, 9):
            await eventually(lambda: has_pods(1))
            await suspend(world, True)
            await eventually(lambda: has_pods(0))
            await suspend(world, False)
            await eventually(lambda: has_pods(1))
            clock.passes(minutes=minutes)
            await world.sweep()
            assert (await job(world, "a"))["state"] == "running"
        clock.passes(minutes=5)
        await world.sweep()
        one = await becomes(world, "a", "failed")
        assert one["reason"] == (
            "BudgetUsedUp: it has used 34 minutes, and might use 30 minutes "
            "of the budget of group shop"
        )


async def test_what_an_issue_cost_is_added_up(world: World, clock: Clock) -> None:
    for id in ("a", "b"):
        await run(world, id)
    await ended(world, "a", "b")
    await has_cost(world, clock, "a", 0.5, input_tokens=10, output_tokens=5)
    one = await job(world, "b")
    nothing = AgentUndelivered(
        job_id=one["job_id"],
        task_id="t-b",
        route="run",
        repository="acme/shop",
        issue=7,
        settled_at=clock() + timedelta(seconds=1),
        usage=AgentUsage(cost_usd=0.25, turns=2),
        reason="no_commits",
    )
    await world.tell(nothing)
    [cost] = (await read(world, "/costs"))["costs"]
    assert (cost["repository"], cost["issue"], cost["jobs"]) == ("acme/shop", "7", 2)
    assert (cost["usd"], cost["tokens"], cost["turns"], cost["reported"]) == (0.75, 15, 5, 2)
    [budget] = (await read(world, "/budgets"))["budgets"]
    assert (budget["ratio"], budget["used"]) == (0.075, {"usd": 0.75, "tokens": 15.0})
    assert budget["ends_at"] == "2026-03-02T23:00:00Z"


async def test_without_a_budget_nothing_is_held(world: World, clock: Clock) -> None:
    await run(world, "a", group="other")
    await ended(world, "a")
    await has_cost(world, clock, "a", 1000.0)
    await run(world, "b", group="other")
    await ended(world, "b")
    assert (await read(world, "/budgets"))["budgets"] == []
