"""The morning while all that it stands on is killed: nothing is lost, nothing is done twice."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tests.support.morning_story import VICTIMS, Story

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.mark.parametrize("seed", [1, 2], ids=["one order", "another order"])
async def test_whoever_is_killed_whenever_all_ends_as_if_nobody_had_been(
    seed: int, tmp_path: Path
) -> None:
    chance = random.Random(seed)
    victims = chance.sample(VICTIMS, len(VICTIMS))
    await Story(tmp_path, chance, "--deliver-twice").whole(victims)
