"""The morning while all that it stands on is killed: nothing is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from tests.support.morning_story import VICTIMS, Story
from tests.support.warm_data import WarmData

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize("seed", [1, 2], ids=["one order", "another order"])
async def test_whoever_is_killed_whenever_all_ends_as_if_none_had_been(
    seed: int, tmp_path: Path, warm_data: WarmData
) -> None:
    chance = random.Random(seed)
    victims = chance.sample(VICTIMS, len(VICTIMS))
    await asyncio.to_thread(warm_data.copy_to, tmp_path / "data")
    await Story(tmp_path, chance, "--deliver-twice").whole(victims)
