"""The morning while all that it stands on is killed: nothing is lost, nothing is done twice.

KILLED_MORNINGS=20 has twenty, each in an order of its own.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from tests.support.morning_story import VICTIMS, Story
from tests.support.warm_data import WarmData

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize("seed", range(1, 1 + int(os.environ.get("KILLED_MORNINGS", "2"))))
async def test_whoever_is_killed_whenever_all_ends_as_if_none_had_been(
    seed: int, tmp_path: Path, warm_data: WarmData
) -> None:
    chance = random.Random(seed)
    victims = chance.sample(VICTIMS, len(VICTIMS))
    await asyncio.to_thread(warm_data.copy_to, tmp_path / "data")
    await Story(tmp_path, chance, "--deliver-twice").whole(victims)
