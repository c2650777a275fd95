"""Fixtures for the functions: services in memory, and failures that are not retried inside."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime

import asyncpg
import httpx
import pytest
import stamina

from functions.console.main import console
from functions.dead_letter.main import dead_letter
from functions.kit import cloudevents
from functions.webhook_receiver.main import webhook_receiver
from tests.conftest import MakeMigrated
from tests.support import webhook_requests as make
from tests.support.cluster import Cluster
from tests.support.console_browser import LOCAL
from tests.support.dsm_services import World


@pytest.fixture(autouse=True)
def one_attempt() -> Iterator[None]:
    """A client tries once, so that each failure reaches the function, and no test waits."""
    with stamina.set_testing(True, attempts=1):
        yield


@pytest.fixture
def world(cluster: Cluster) -> World:
    """The DSM services, empty."""
    world = World()
    world.join(cluster)
    return world


@pytest.fixture(scope="module")
async def webhook_ledger(make_migrated: MakeMigrated) -> str:
    """A database with the receiver's tables, for a whole module: making one takes half a second."""
    return await make_migrated("webhook_receiver")


@pytest.fixture
async def webhook_database(webhook_ledger: str) -> str:
    """The module's database, with an empty ledger."""
    connection = await asyncpg.connect(webhook_ledger)
    await connection.execute("TRUNCATE delivery, comparison, hook_delivery, outbox_event")
    await connection.close()
    return webhook_ledger


@pytest.fixture
async def receiver(cluster: Cluster, webhook_database: str) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a receiver with all sources configured."""
    cluster.deploy(
        webhook_receiver, {"DATABASE_URL": webhook_database, **make.SECRETS}, now=make.clock
    )
    # It waits for no event to leave, as tests look at events that do not.
    url = "http://webhook-receiver.dsm.svc.cluster.local"
    async with httpx.AsyncClient(transport=cluster, base_url=url) as client:
        yield client


def lost(number: int) -> cloudevents.Message:
    """An event as the dead letter sink gets it."""
    return cloudevents.Message(
        id=f"lost-{number}",
        source="/people/ada",
        type="io.dsm.cycle.requested.v1",
        data=b'{"project_id":"<b>NOBODY</b>"}',
        datacontenttype="application/json",
        extensions={
            "knativeerrordest": "http://cycle-trigger.dsm.svc.cluster.local/",
            "knativeerrorcode": "422",
            "knativeerrordata": "eyJkZXRhaWwiOiAibm8gc3VjaCBwcm9qZWN0In0=",
        },
    )


@pytest.fixture
async def dead_letters(cluster: Cluster, functions_database: str) -> Cluster:
    """The console, and dead-letter with three dead letters."""
    cluster.deploy(console, LOCAL, now=lambda: datetime(2026, 3, 2, 15, tzinfo=UTC))
    cluster.deploy(dead_letter, {"DATABASE_URL": functions_database})
    for number in range(3):
        assert (await cluster.tell("dead-letter", lost(number))).status_code == 202
    return cluster
