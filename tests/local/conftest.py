"""What the tests of the local Broker and of the local Kubernetes API share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.support.broker import Open, brokers
from tests.support.kube_server import kube_client
from tests.support.receiver import Receiver


@pytest.fixture
async def client(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a fresh API."""
    async with kube_client(tmp_path) as client:
        yield client


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A subscriber on a real socket."""
    receiver = Receiver()
    await receiver.start()
    yield receiver
    await receiver.stop()


@pytest.fixture
def open_broker(tmp_path: Path, receiver: Receiver) -> Open:
    """Runs a broker whose Trigger for type T calls /T, and whose dead letters go to /dead."""
    return brokers(tmp_path, receiver)
