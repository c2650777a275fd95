"""The four fronts of the ten inputs, as real processes."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from functions.kit.durable import migrate
from tests.conftest import MakeMigrated
from tests.function.contract.test_serve import served
from tests.support.front_inputs import FRONTS, Process, serving_fronts


@pytest.fixture(scope="module")
async def stores(make_migrated: MakeMigrated) -> dict[str, str]:
    """The database of each front."""
    functions = await make_migrated(*migrate.owners(), "backlog_service")
    own = {"project_service": await make_migrated("project_service")}
    return dict.fromkeys(FRONTS, functions) | own


@pytest.fixture(scope="module")
async def processes(
    request: pytest.FixtureRequest, stores: dict[str, str]
) -> AsyncIterator[dict[str, Process]]:
    """A process of each front, with the module's SETTINGS."""
    async with serving_fronts(served, stores, **request.module.SETTINGS) as found:
        yield found


@pytest.fixture(scope="module")
def fronts(processes: dict[str, Process]) -> dict[str, str]:
    """The URL of each front."""
    return {name: process.url for name, process in processes.items()}
