"""Each journey is watched, from its first process to its last."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from tests.support.agent_story import Story, story_of
from tests.support.warm_data import OVERLAY, WarmData
from tests.support.watched import Findings, watching


@pytest.fixture(scope="package", autouse=True)
def findings() -> Iterator[Findings]:
    with watching() as found:
        yield found


@pytest.fixture(autouse=True)
def no_loop_is_held(findings: Findings) -> Iterator[None]:
    """Fail a journey that holds an event loop, or calls a service while a transaction is open."""
    yield
    if found := findings.take():
        pytest.fail("\n".join(found))


@pytest.fixture
def story_overlay() -> Path:
    """What the story of an agent is deployed from; a journey may have its own."""
    return OVERLAY


@pytest.fixture
async def story(
    tmp_path_factory: pytest.TempPathFactory, warm_data: WarmData, story_overlay: Path
) -> AsyncIterator[Story]:
    # A unix socket's path may have 107 characters at most: PostgreSQL's is below the data.
    folder = tmp_path_factory.mktemp("k")
    data = warm_data.copy_to(folder / "d")
    async with story_of(data, folder / "github", story_overlay) as found:
        yield found
