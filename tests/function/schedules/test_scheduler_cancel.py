"""scheduler: `overlap: cancel` stops the earlier run, which commits nothing from then on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from functions.events.schedule import ScheduleDue
from functions.kit.context import Context
from functions.kit.contract import function
from functions.kit.durable import Connection
from functions.scheduler.fire import run_now
from tests.support.cluster import Cluster
from tests.support.schedule_world import World, schedule_world

MINUTE = timedelta(minutes=1)
NOON = datetime(2026, 3, 6, 12, tzinfo=UTC)
TIMEOUT_S = 60


@dataclass
class Slow:
    """What a run does step by step, and where it waits for a test."""

    steps: list[str] = field(default_factory=list)
    committed: list[str] = field(default_factory=list)
    waits_in: str = ""
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def at(self, place: str) -> None:
        self.steps.append(place)
        if place == self.waits_in:
            self.waiting.set()
            async with asyncio.timeout(TIMEOUT_S):
                await self.released.wait()


SLOW = Slow()


@function(schedules=["*"], inbox=True)
async def slow(event: ScheduleDue, ctx: Context) -> None:
    minute = f"{event.nominal:%M}"
    steps = ctx.checkpoints(ctx.key)
    await steps.step("first", lambda: SLOW.at(f"{minute} first"))
    await steps.step("second", lambda: SLOW.at(f"{minute} second"))
    await SLOW.at(f"{minute} end")

    async def write(tx: Connection) -> None:
        SLOW.committed.append(minute)

    ctx.settle(write)


@function(schedules=["*"], inbox="transaction")
async def booked(event: ScheduleDue, ctx: Context) -> None:
    await SLOW.at(f"{event.nominal:%M} end")


@pytest.fixture
async def world(cluster: Cluster, functions_database: str, tmp_path: Path) -> AsyncIterator[World]:
    SLOW.__init__()  # type: ignore[misc]  # as at the start of a process
    async with schedule_world(cluster, functions_database, tmp_path, NOON) as world:
        cluster.deploy(slow, world.environ, now=lambda: world.now)
        cluster.deploy(booked, world.environ, now=lambda: world.now)
        world.ping("s", "*/5 * * * *", missed="latest", overlap="cancel", pause_after="1")
        await world.wake(NOON)
        yield world


async def delivered(world: World, number: int, to: str = "slow") -> Any:
    return await world.cluster.tell(to, world.due()[number])


async def replaced(world: World, place: str, to: str = "slow") -> int:
    """A run waits at a place while the next one is due; the status that its Broker gets."""
    SLOW.waits_in = place
    await world.wake(NOON + 5 * MINUTE)
    first = asyncio.create_task(delivered(world, 0, to))
    async with asyncio.timeout(TIMEOUT_S):
        await SLOW.waiting.wait()
    await world.wake(NOON + 10 * MINUTE)
    SLOW.released.set()
    return int((await first).status_code)


@pytest.mark.parametrize(
    ("place", "steps"),
    [
        ("05 first", ["05 first"]),
        ("05 second", ["05 first", "05 second", "05 end"]),
        ("05 end", ["05 first", "05 second", "05 end"]),
    ],
)
async def test_a_run_that_is_replaced_begins_no_step_and_commits_nothing(
    world: World, place: str, steps: list[str]
) -> None:
    assert await replaced(world, place) == 202, "its Broker does not try it again"
    assert SLOW.steps == steps
    assert SLOW.committed == []
    await delivered(world, 1)
    assert SLOW.committed == ["10"]
    await world.wake(NOON + 11 * MINUTE)
    first, second = await world.rows("s")
    assert (first["state"], first["cause"]) == ("failed", "cancelled")
    assert first["reason"] == "cancelled: 2026-03-06T12:10:00Z is due"
    assert second["state"] == "done", "and a cancelled run counts for no pause"
    async with world.cluster.client("slow") as client:
        runs = (await client.get("/runs")).json()["runs"]
    assert [run["outcome"] for run in runs] == ["ok", "failed"]
    assert runs[1]["detail"] == "Cancelled: cancelled: 2026-03-06T12:10:00Z is due"


async def test_a_transaction_that_is_replaced_is_rolled_back(world: World) -> None:
    assert await replaced(world, "05 end", "booked") == 202
    async with world.cluster.client("booked") as client:
        runs = (await client.get("/runs")).json()["runs"]
    assert [run["outcome"] for run in runs] == ["failed"]


async def test_a_run_that_is_replaced_before_it_began_does_not_begin(world: World) -> None:
    await world.wake(NOON + 5 * MINUTE)
    await world.wake(NOON + 10 * MINUTE)
    assert (await delivered(world, 0)).status_code == 202
    assert SLOW.steps == []


async def test_what_was_cancelled_runs_where_a_user_says_so(world: World) -> None:
    await world.wake(NOON + 5 * MINUTE)
    await world.wake(NOON + 10 * MINUTE)
    await delivered(world, 0)
    await delivered(world, 1)
    await world.wake(NOON + 11 * MINUTE)
    await run_now("s", "ada", NOON + 5 * MINUTE, world.ctx)
    await world.cluster.relayed()
    await delivered(world, 2)
    assert SLOW.committed == ["10", "05"]
    await world.wake(NOON + 12 * MINUTE)
    assert {row["state"] for row in await world.rows("s")} == {"done"}


async def test_a_run_that_had_ended_when_it_was_cancelled_counts_as_done(world: World) -> None:
    await world.wake(NOON + 5 * MINUTE)
    await delivered(world, 0)
    await world.wake(NOON + 10 * MINUTE)
    first, _ = await world.rows("s")
    assert (first["state"], SLOW.committed) == ("done", ["05"])
