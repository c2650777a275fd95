"""scheduler: a schedule's PingSource is changed, deleted, and made again."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from functions.events.schedule import ScheduleDue
from tests.support.cluster import Cluster
from tests.support.kubernetes_peer import Say
from tests.support.schedule_world import World, schedule_world

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FRIDAY = datetime(2026, 3, 6, tzinfo=UTC)
ALL = {"missed": "all", "missed_window": "3d"}


@pytest.fixture
async def world(cluster: Cluster, functions_database: str, tmp_path: Path) -> AsyncIterator[World]:
    async with schedule_world(cluster, functions_database, tmp_path, FRIDAY) as world:
        yield world


async def test_a_schedule_that_was_deleted_leaves_no_time_without_a_decision(world: World) -> None:
    world.ping("nightly", "*/10 6 * * *", **ALL, overlap="queue-all")
    await world.wake(FRIDAY)
    await world.wake(FRIDAY + 6 * HOUR)
    await world.wake(FRIDAY + 6 * HOUR + 10 * MINUTE)
    assert list((await world.states("nightly")).values()) == ["sent", "due"]
    del world.pings["nightly"]
    await world.wake(FRIDAY + 6 * HOUR + 25 * MINUTE)
    assert await world.states("nightly") == {
        "03-06 06:00": "sent",
        "03-06 06:10": "skipped",
        "03-06 06:20": "skipped",
    }
    assert {row["cause"] for row in (await world.rows("nightly"))[1:]} == {"removed"}
    await world.work()
    await world.wake(FRIDAY + 2 * DAY)
    assert list((await world.states("nightly")).values()) == ["done"] + 2 * ["skipped"]


async def test_a_schedule_that_is_made_again_begins_again(world: World) -> None:
    world.ping("nightly", "0 14 * * *", **ALL)
    await world.wake(FRIDAY)
    kept = world.pings.pop("nightly")
    await world.wake(FRIDAY + HOUR)
    world.pings["nightly"] = kept
    world.ping("nightly", "0 15 * * *", **ALL)  # its creation is that of the first
    await world.wake(FRIDAY + 2 * HOUR)
    await world.wake(FRIDAY + 15 * HOUR)
    assert await world.states("nightly") == {"03-06 15:00": "sent"}


async def test_a_change_is_valid_from_when_it_was_made_not_from_when_it_was_seen(
    world: World,
) -> None:
    world.ping("report", "30 * * * *", **ALL)
    await world.wake(FRIDAY)
    world.ping("report", "15 * * * *", **ALL)
    world.changed("report", FRIDAY + 2 * HOUR)
    await world.wake(FRIDAY + 4 * HOUR)  # nothing looked meanwhile
    assert list(await world.states("report")) == [
        *("03-06 00:30", "03-06 01:30"),
        *("03-06 02:15", "03-06 03:15"),
    ]


async def test_a_change_rewrites_nothing_that_is_decided(world: World) -> None:
    world.ping("report", "30 * * * *", **ALL)
    await world.wake(FRIDAY)
    world.ping("report", "15 * * * *", **ALL)
    world.changed("report", FRIDAY - 5 * DAY)
    await world.wake(FRIDAY + 2 * HOUR)
    await world.wake(FRIDAY + 3 * HOUR)
    assert list(await world.states("report")) == ["03-06 00:30", "03-06 01:30", "03-06 02:15"]


async def test_two_changes_within_a_second_are_both_followed(world: World) -> None:
    world.ping("report", "30 * * * *", **ALL)
    await world.wake(FRIDAY)
    for minute in (15, 20):
        world.ping("report", f"{minute} * * * *", **ALL)
        world.changed("report", FRIDAY + HOUR)
        await world.wake(FRIDAY + HOUR + minute * timedelta(seconds=1))
    await world.wake(FRIDAY + 2 * HOUR)
    assert list(await world.states("report")) == ["03-06 00:30", "03-06 01:20"]


async def test_a_plain_schedule_that_gets_policies_has_a_ledger_from_then_on(world: World) -> None:
    world.ping("other", "0 0 1 1 *", **ALL)
    world.ping("plain", "30 * * * *")
    await world.wake(FRIDAY)
    world.ping("plain", "30 * * * *", **ALL)
    world.changed("plain", FRIDAY + 2 * HOUR)
    await world.wake(FRIDAY + 4 * HOUR)
    assert list(await world.states("plain")) == ["03-06 02:30", "03-06 03:30"]


async def test_a_schedule_without_policies_any_more_is_passed_on(world: World) -> None:
    world.ping("nightly", "0 14 * * *", **ALL)
    await world.wake(FRIDAY)
    world.ping("nightly", "0 14 * * *")
    await world.wake(FRIDAY + HOUR)
    world.peer.judge = lambda request, body: Say(503)
    world.now = FRIDAY + 14 * HOUR
    tick = ScheduleDue(schedule="nightly", time=world.now, project_id="P")
    assert (await world.tick(tick)).status_code == 503, "nobody tells whether it has policies"
    world.peer.judge = world.listed
    assert (await world.tick(tick)).status_code == 202
    assert [message.id for message in world.due()] == ["nightly@2026-03-06T14:00:00Z"]
    del world.pings["nightly"]
    await world.wake(FRIDAY + DAY + 14 * HOUR, "nightly")
    assert len(world.due()) == 1, "a late tick of one that is gone"


async def test_a_past_minute_is_run_with_the_data_of_then(world: World) -> None:
    world.ping("nightly", "0 14 * * *", **ALL)
    await world.wake(FRIDAY)
    world.pings["nightly"]["spec"]["data"] = '{"project_id": "Q"}'
    world.changed("nightly", FRIDAY + HOUR)
    await world.wake(FRIDAY + 2 * HOUR)
    for minutes in (30, 90):
        at = FRIDAY + minutes * MINUTE
        await world.tick(ScheduleDue(schedule="nightly", time=at, requested_by="ada"))
    await world.cluster.relayed()
    assert [json.loads(one.data)["project_id"] for one in world.due()] == ["P", "Q"]
    async with world.cluster.client("scheduler") as scheduler:
        actions = (await scheduler.get("/actions")).json()["actions"]
    assert {(row["who"], row["action"], row["subject"][:8]) for row in actions} == {
        ("ada", "run", "nightly@")
    }


async def test_a_tick_that_no_user_sent_runs_nothing_whenever_it_comes(world: World) -> None:
    world.ping("nightly", "0 14 * * *", **ALL)
    await world.wake(FRIDAY)
    at = FRIDAY + 14 * HOUR
    await world.wake(at + timedelta(seconds=61), "nightly")  # late
    world.ping("nightly", "30 16 * * *", **ALL)
    world.changed("nightly", FRIDAY + 15 * HOUR)
    await world.wake(FRIDAY + 15 * HOUR)
    await world.wake(at + DAY, "nightly")  # the old expression's, delivered again
    assert list(await world.states("nightly")) == ["03-06 14:00", "03-06 16:30"]


async def test_a_changed_expressions_tick_waits_until_kubernetes_tells_of_the_change(
    world: World,
) -> None:
    world.ping("nightly", "0 14 * * *", **ALL, overlap="skip")
    await world.wake(FRIDAY)
    world.peer.judge = lambda request, body: Say(503)
    await world.wake(FRIDAY + 9 * HOUR, "nightly")
    assert await world.states("nightly") == {}
    world.ping("nightly", "0 9 * * *", **ALL, overlap="skip")
    world.changed("nightly", FRIDAY + 8 * HOUR)
    world.peer.judge = world.listed
    await world.wake(FRIDAY + 10 * HOUR)
    (row,) = await world.rows("nightly")
    assert (row["nominal"], row["origin"]) == (FRIDAY + 9 * HOUR, "catch-up")
