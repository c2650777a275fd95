"""From a tick to the filed note, as `make run` runs it, everything warm.

A tick of scrum-simulate becomes a nominal time of the scheduler, a simulated day for each active
sprint, and a note of scrum-report for each of those. What the processors did not work is waiting:
for the disk, for an answer, for a timer.
"""

from __future__ import annotations

import asyncio
import statistics
import time

from functions.events.scrum import SprintSimulated
from tests.bench.processes import processor_s
from tests.bench.report import Row
from tests.browser.morning import Morning, morning

SCHEDULE, TRIGGER = "scrum-simulate", "scrum-report-simulated"
ROUNDS = 2  # a minute each: a nominal time is worked on once
LIMIT_S = 2.0


async def run() -> list[Row]:
    async with morning(badly=False) as ran:
        found = [await _chain(ran) for _ in range(ROUNDS)]
    whole_s = statistics.median(took_s for took_s, _, _ in found)
    used_s = statistics.median(used_s for _, used_s, _ in found)
    notes = found[0][2]
    limit = ("limit", LIMIT_S, 1.0, False)
    return [
        Row(f"tick to {notes} filed notes, warm", whole_s, "s", *limit),
        Row("of that processor time", used_s, "s", "the whole", whole_s),
        Row("of that waiting", max(0.0, whole_s - used_s), "s", "the whole", whole_s),
    ]


async def _chain(ran: Morning) -> tuple[float, float, int]:
    """Seconds from the tick to the last note, of the processors meanwhile, and how many notes."""
    assert ran.runtime.process is not None, "it runs"
    postmaster = ran.runtime.data / "postgres" / "postmaster.pid"
    pids = [ran.runtime.process.pid, int(postmaster.read_text().split()[0])]
    await asyncio.sleep(61 - time.time() % 60)
    before, began = processor_s(pids), time.time()
    await ran.fire(SCHEDULE)
    used_s = processor_s(pids) - before
    events = await ran.runtime.ask("events/search", type=SprintSimulated.type, limit=200)
    notes = [
        attempt["at"] + attempt["took_s"]
        for event in events
        for delivery in event["deliveries"]
        if delivery["trigger"].endswith(TRIGGER)
        for attempt in delivery["attempts"]
        if attempt["at"] > began
    ]
    assert notes, "a tick files notes"
    return max(notes) - began, used_s, len(notes)
