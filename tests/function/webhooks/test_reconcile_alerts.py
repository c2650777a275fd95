"""Alerts that fire, or have ended, and of which no notification came."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from functions.events.webhook import GrafanaNotified
from tests.support import eventually
from tests.support import webhook_requests as make
from tests.support.cluster import Cluster
from tests.support.deliveries_world import DeliveriesWorld, deliveries_world
from tests.support.grafana_standin import POINT, GrafanaStandIn

FIRING, RESOLVED = "com.grafana.alert.firing", "com.grafana.alert.resolved"


@dataclass
class World:
    """The receiver, and Grafana."""

    all: DeliveriesWorld
    grafana: GrafanaStandIn

    async def minutes(self, minutes: int) -> None:
        for _ in range(minutes // 5):
            await self.all.minute(5)

    async def received(self, *counts: int) -> tuple[int, int]:
        """How many notifications say that alerts fire and have ended, once there are so many."""

        async def there() -> bool:
            return len(self.all.cluster.sink.messages) >= sum(counts)

        await eventually(there)
        return len(self.all.emitted(FIRING)), len(self.all.emitted(RESOLVED))


@pytest.fixture
async def world(cluster: Cluster, webhook_database: str, tmp_path: Path) -> AsyncIterator[World]:
    asks = {
        "GRAFANA_URL": "http://grafana",
        "GRAFANA_TOKEN": "glsa_token",
        "GRAFANA_CONTACT_POINT": POINT,
    }
    async with (
        deliveries_world(cluster, webhook_database, tmp_path, asks) as everything,
        httpx.AsyncClient(transport=cluster, base_url="http://webhook-receiver") as api,
    ):
        standin = GrafanaStandIn(everything.clock, api, make.GRAFANA)
        cluster.add("grafana", standin)
        yield World(everything, standin)


async def test_an_alert_without_a_notification_is_notified_of_once(world: World) -> None:
    alert = await world.grafana.fires("slow", received=False)
    await world.minutes(10)
    assert await world.received() == (0, 0), "a group may wait"
    await world.minutes(20)
    assert await world.received(1) == (1, 0)

    [message] = world.all.cluster.sink.messages
    assert message.extensions["via"] == "state"
    event = GrafanaNotified.model_validate({**json.loads(message.data), "event_type": FIRING})
    [received] = event.alerts
    assert (received.labels["task_id"], received.fingerprint, event.receiver) == (
        "slow",
        "f-slow",
        POINT,
    )
    assert (await world.grafana.notifies("firing", alert)).json()["repeated"] is True
    assert await world.received(1) == (1, 0)


async def test_one_that_ended_is_notified_as_ended(world: World) -> None:
    await world.grafana.fires("slow")
    await world.minutes(5)
    alert = await world.grafana.ends("slow", received=False)
    await world.minutes(10)
    assert await world.received(1) == (1, 0), "a group may wait"
    await world.minutes(20)
    assert await world.received(1, 1) == (1, 1)
    assert (await world.grafana.notifies("resolved", alert)).json()["repeated"] is True
    await world.minutes(30)
    assert await world.received(1, 1) == (1, 1)


async def test_what_was_notified_is_not_notified_again(world: World) -> None:
    await world.grafana.fires("slow")
    await world.grafana.fires("brief")
    await world.minutes(5)
    await world.grafana.ends("brief")
    await world.minutes(40)
    assert await world.received(2, 1) == (2, 1)


async def test_one_that_came_and_went_between_two_looks_ends_as_well(world: World) -> None:
    await world.grafana.fires("brief")
    await world.grafana.ends("brief", received=False)
    await world.minutes(30)
    assert await world.received(1, 1) == (1, 1)


async def test_a_notification_that_tells_more_is_no_repeat(world: World) -> None:
    slow = await world.grafana.fires("slow", received=False)
    await world.minutes(20)
    await world.received(1)
    other = await world.grafana.fires("other", received=False)
    assert (await world.grafana.notifies("firing", slow, other)).json()["repeated"] is False


async def test_silenced_ones_and_other_contact_points_are_none_of_ours(world: World) -> None:
    (await world.grafana.fires("silenced", received=False)).state = "suppressed"
    await world.grafana.fires("elsewhere", received=False, receiver="email")
    await world.grafana.fires("slow")
    world.grafana.alerts["slow"].state = "suppressed"
    await world.minutes(60)
    assert await world.received(1) == (1, 0), "what is silenced has not ended"


@pytest.mark.parametrize("status", [401, 503])
async def test_grafana_that_does_not_answer_ends_no_alert_and_is_reported(
    world: World, status: int
) -> None:
    await world.grafana.fires("slow")
    await world.minutes(5)
    world.grafana.status = status
    await world.minutes(60)
    assert await world.received(1) == (1, 0)
    [alerts] = (await world.all.health())["alerts"]
    assert f"Grafana answered {status}" in alerts["problem"]

    world.grafana.status = 200
    await world.minutes(10)
    [alerts] = (await world.all.health())["alerts"]
    assert alerts["message"] == "Each alert has its notification, 1 fires."
