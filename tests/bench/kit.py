"""The kit against functions-framework alone: rate, cold start, memory."""

from __future__ import annotations

import statistics
from pathlib import Path

from tests.bench.load import Load, load
from tests.bench.processes import Measured, running
from tests.bench.report import Row

HEADERS = {
    "ce-id": "{n}",
    "ce-source": "/bench",
    "ce-type": "bench.poked.v1",
    "ce-specversion": "1.0",
    "ce-time": "2026-01-02T03:04:05Z",
    "content-type": "application/json",
}
BODY = b'{"word":"hello"}'
FIRST = (
    b"POST / HTTP/1.0\r\nce-id: 1\r\nce-source: /bench\r\nce-type: bench.poked.v1\r\n"
    b"ce-specversion: 1.0\r\ncontent-type: application/json\r\ncontent-length: 16\r\n\r\n" + BODY
)
OURS = ("-m", "functions.kit.process.serve")
TARGET = {
    "FUNCTION_TARGET": "ours",
    "FUNCTION_SOURCE": str(Path(__file__).with_name("targets.py")),
}
EVENT = ("-m", "tests.bench.baseline", "framework_event", "{port}")
HTTP = ("-m", "tests.bench.baseline", "framework_http", "{port}")


async def run() -> list[Row]:
    ours, theirs = await _rates(rounds=5)
    our_starts, our_memory = await _starts(OURS, TARGET, rounds=7)
    their_starts, their_memory = await _starts(HTTP, {}, rounds=7)
    return [
        Row("trivial function", ours, "events/s", "aio.cloud_event", theirs, 1.1),
        Row("cold start", our_starts, "ms", "bare aio.http", their_starts, 1.3, minimum=False),
        Row("resident memory", our_memory, "MB", "bare aio.http", their_memory, 1.2, False),
    ]


async def _rates(rounds: int) -> tuple[float, float]:
    """Medians of alternating rounds, so that a busy moment of the machine meets both."""
    async with (
        running(*OURS, first=FIRST, **TARGET) as ours,
        running(*EVENT, first=FIRST) as theirs,
    ):
        found: dict[str, list[float]] = {ours.url: [], theirs.url: []}
        for _ in range(rounds):
            for process in (ours, theirs):
                found[process.url].append((await _load(process)).rate)
        return statistics.median(found[ours.url]), statistics.median(found[theirs.url])


async def _load(process: Measured) -> Load:
    done = await load(process.url, HEADERS, BODY, requests=6000, connections=16)
    assert not done.failed, f"{done.failed} requests failed"
    return done


async def _starts(
    arguments: tuple[str, ...], environ: dict[str, str], rounds: int
) -> tuple[float, float]:
    """Median milliseconds to the first answered event, and megabytes then."""
    times, sizes = [], []
    for _ in range(rounds):
        async with running(*arguments, first=FIRST, **environ) as process:
            times.append(process.started_s * 1000)
            sizes.append(process.resident_mb)
    return statistics.median(times), statistics.median(sizes)
