"""Whatever becomes of deliveries: each labelling that stands is exactly one accepted event."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Literal

import asyncpg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.cluster import Cluster
from tests.support.deliveries_world import HOOK, DeliveriesWorld, deliveries_world
from tests.support.github_world import Sent

Step = tuple[Literal["label", "again", "wait", "late", "repeat"], Any]

FATES = st.sampled_from(["arrives", "lost", "untried", "late"])
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("label"), FATES),
        st.tuples(st.just("again"), st.tuples(st.integers(0, 9), FATES)),
        st.tuples(st.just("wait"), st.sampled_from([1, 5, 20, 60, 600])),
        st.tuples(st.just("late"), st.none()),
        st.tuples(st.just("repeat"), st.integers(0, 9)),
    ),
    min_size=1,
    max_size=12,
)


@pytest.fixture(scope="module")
async def database(webhook_ledger: str) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    connection = await asyncpg.connect(webhook_ledger)
    yield connection
    await connection.close()


@pytest.mark.slow
@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(steps=STEPS)
async def test_each_labelling_is_exactly_one_accepted_event(
    steps: list[Step],
    database: asyncpg.Connection[asyncpg.Record],
    webhook_ledger: str,
    tmp_path: Path,
) -> None:
    await database.execute("TRUNCATE delivery, comparison, hook_delivery")
    cluster = Cluster()
    try:
        async with deliveries_world(cluster, webhook_ledger, tmp_path) as world:
            expected = await played(world, steps)
            for _ in range(3):
                await world.github.arrive_late()
                await world.minute(61)
            rows = await database.fetch(
                "SELECT data FROM delivery WHERE type = 'com.github.issue.labeled'"
            )
            assert Counter(json.loads(row["data"])["issue"]["number"] for row in rows) == expected
            health = await world.health()
            assert [one["problem"] for one in (*health["hooks"], *health["issues"])] == [None] * 2
            assert health["deliveries"] == []
    finally:
        await cluster.close()


async def played(world: DeliveriesWorld, steps: list[Step]) -> Counter[int]:
    """Let it all happen; returns how many requests each issue should have made.

    A labelling that GitHub never delivered, and that was taken back before a look, is none:
    it cannot be known, and nothing stands that asks for work.
    """
    sent: list[Sent] = []
    expected: Counter[int] = Counter()
    for kind, value in steps:
        world.clock.passes(seconds=7)
        number = len(world.github.issues.get("o/r", {}))
        if kind == "label":
            number = await world.github.opened("o/r")
            sent.append(await world.github.labelled("o/r", number, "agent", value))
            expected[number] += 1
        elif kind == "again" and number:
            # Everything before has settled, so that a label is taken off that was seen.
            await world.github.arrive_late()
            await world.minute(90)
            number = value[0] % number + 1
            await world.github.unlabelled("o/r", number, "agent")
            world.clock.passes(seconds=7)
            sent.append(await world.github.labelled("o/r", number, "agent", value[1]))
            expected[number] += 1
        elif kind == "wait":
            await world.minute(value)
        elif kind == "late":
            await world.github.arrive_late()
        elif kind == "repeat" and sent:
            await world.github.tries(sent[value % len(sent)], again=True)
    return expected


async def test_a_morning_of_losses(cluster: Cluster, webhook_database: str, tmp_path: Path) -> None:
    fates = ["arrives"] * 165 + ["lost"] * 30 + ["untried"] * 5
    async with deliveries_world(cluster, webhook_database, tmp_path) as world:
        for number, fate in enumerate(fates):
            await world.github.labelled(
                "o/r",
                await world.github.opened("o/r"),
                "agent",
                fate,  # type: ignore[arg-type]
            )
            if number % 50 == 49:
                await world.minute(5)
        for _ in range(3):
            await world.minute(60)
        health = await world.health()
        assert health["hooks"][0]["message"] == "GitHub made 195 in the last day, 195 are here."
        assert health["issues"][0]["message"].startswith(
            "Each open issue or pull request labelled agent or agent:review has its request; "
            "5 had to be made"
        )
        assert health["hooks"][0]["name"] == HOOK
