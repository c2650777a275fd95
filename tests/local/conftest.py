"""What the tests of the local Kubernetes API share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.support.kube_server import kube_client


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a fresh API."""
    async with kube_client(tmp_path) as client:
        yield client
