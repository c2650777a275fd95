"""What GitHub's hooks delivered, by its own list: what was lost is fetched, once, and told."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from functions.kit import cloudevents
from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.deliveries_world import DeliveriesWorld, deliveries_world


@pytest.fixture
async def world(
    cluster: Cluster, webhook_database: str, tmp_path: Path
) -> AsyncIterator[DeliveriesWorld]:
    async with deliveries_world(cluster, webhook_database, tmp_path) as world:
        yield world


async def said(world: DeliveriesWorld, count: int) -> list[cloudevents.Message]:
    """The messages at the broker, once there are so many."""

    async def arrived() -> bool:
        return len(world.cluster.sink.messages) >= count

    await eventually(arrived)
    return list(world.cluster.sink.messages)


async def hook_of(world: DeliveriesWorld) -> dict[str, Any]:
    [hook] = (await world.health())["hooks"]
    found: dict[str, Any] = hook
    return found


async def test_a_lost_delivery_is_fetched_as_if_it_had_come(world: DeliveriesWorld) -> None:
    number = await world.github.opened("o/r")
    sent = await world.github.labelled("o/r", number, "agent", "lost")
    await world.minute()

    [message] = await said(world, 1)
    assert (message.id, message.type) == (sent.guid, "com.github.issue.labeled")
    assert (message.source, message.subject) == ("https://api.github.com/repos/o/r", "1")
    assert (message.data, message.extensions["via"]) == (sent.body, "fetched")
    hook = await hook_of(world)
    assert hook["words"] == "GitHub made 1 in the last day, 1 are here."
    assert (hook["fetched"], hook["problem"]) == (1, None)

    assert await world.github.tries(sent, again=True) == 202, "a repeat"
    await world.minute()
    assert len(world.said()) == 1
