"""Mornings one after the other, each with random kills: `python -m tests.journey.mornings 20`.

Each has its own seed, which is printed: `mornings 1 --seed SEED` repeats its kills. The data of one
that fails is kept.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import shutil
import sys
import tempfile
import time
import traceback
from pathlib import Path

from tests.support.morning_story import VICTIMS, Story
from tests.support.watched import watching

WITHIN_S = 600.0
MIN_KILLS, MAX_KILLS = 6, 14


def went_well(seed: int) -> bool:
    """Run a morning, and print what was killed and how it ended."""
    chance = random.Random(seed)
    victims = chance.choices(VICTIMS, k=chance.randint(MIN_KILLS, MAX_KILLS))
    folder = Path(tempfile.mkdtemp(prefix="morning-"))
    print(f"seed {seed}: {', '.join(victims)}", flush=True)
    began = time.monotonic()
    try:
        story = Story(folder, chance, "--deliver-twice")
        with watching():
            asyncio.run(asyncio.wait_for(story.whole(victims), WITHIN_S))
    except Exception:
        traceback.print_exc()
        print(
            f"  failed after {time.monotonic() - began:.0f} s; its data is in {folder}", flush=True
        )
        return False
    print(f"  went well in {time.monotonic() - began:.0f} s", flush=True)
    shutil.rmtree(folder)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mornings", type=int)
    parser.add_argument("--seed", type=int, help="of the first one; any, where it is not given")
    arguments = parser.parse_args()
    first = random.randrange(10**6) if arguments.seed is None else arguments.seed
    well = sum(went_well(seed) for seed in range(first, first + arguments.mornings))
    print(f"{well} of {arguments.mornings} mornings went well")
    return 0 if well == arguments.mornings else 1


if __name__ == "__main__":
    sys.exit(main())
