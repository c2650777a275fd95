"""Fixtures for the functions: services in memory, and failures that are not retried inside."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import stamina

from tests.cluster import Cluster
from tests.function.peers import World


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
