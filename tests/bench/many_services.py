"""An overlay of 200 Services and 500 Triggers: until the local Knative is ready, and a cold event.

The first is processor time, which a busy machine changes least, and nearly all of it is of the
Services themselves: each is started once, to see that it starts. The limit is 0.1 s for each.
"""

from __future__ import annotations

import asyncio
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from tests.bench.processes import processor_s
from tests.bench.report import Row
from tests.support import eventually
from tests.support.local_knative import ROOT, LocalKnative

SERVICES, TRIGGERS, COLD = 200, 500, 10
LIMIT_S, COLD_LIMIT_S = 20.0, 1.0
EXAMPLE = ROOT / "knative" / "local" / "example"


def make_overlay(folder: Path) -> Path:
    """The example's Service and Trigger, so many times."""
    broker, service, trigger, _ = (EXAMPLE / "app.yaml").read_text().split("---\n")
    documents = [broker, *(service.replace("name: hello", f"name: s{n}") for n in range(SERVICES))]
    for number in range(TRIGGERS):
        one = trigger.replace("hello-takes-greetings", f"t{number}")
        one = one.replace("com.example.greeting", f"com.example.t{number}")
        documents.append(one.replace("name: hello", f"name: s{number % SERVICES}"))
    (folder / "app.yaml").write_text("---\n".join(documents))
    for name in ("hello.py", "knative-local.yaml"):
        shutil.copy(EXAMPLE / name, folder / name)
    return folder


async def run() -> list[Row]:
    with tempfile.TemporaryDirectory(prefix="dsm-many-") as home:
        folder = Path(home) / "overlay"
        folder.mkdir()
        runtime = LocalKnative(make_overlay(folder), Path(home) / "data", ["--idle", "600"])
        await asyncio.to_thread(runtime.start)
        try:
            assert runtime.process is not None, "it runs"
            loaded_s = processor_s([runtime.process.pid])
            cold_s = statistics.median([await _cold(runtime, n) for n in range(COLD)])
        finally:
            await asyncio.to_thread(runtime.stop)
    name = f"{SERVICES} Services and {TRIGGERS} Triggers, until ready"
    limit = ("limit", LIMIT_S, 1.0, False)
    return [
        Row(name, loaded_s, "s of processor time", *limit),
        Row("an event to a Service that sleeps", cold_s, "s", "limit", COLD_LIMIT_S, 1.0, False),
    ]


async def _cold(runtime: LocalKnative, number: int) -> float:
    """Seconds from an event to the answer of a Service that had to be started."""
    began = time.time()
    assert await runtime.send(f"com.example.t{number}", {}, broker="default/default") == 202
    assert await eventually(runtime.settled, every_s=0.02)
    (event,) = await runtime.ask("events/search", type=f"com.example.t{number}", limit=1)
    (delivery,) = event["deliveries"]
    attempt = delivery["attempts"][-1]
    assert delivery["state"] == "delivered", delivery
    return float(attempt["at"] + attempt["took_s"] - began)
