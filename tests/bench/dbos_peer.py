"""The same three steps with DBOS, run in a virtual environment of its own; prints JSON.

Arguments: the database's URL, how many runs, how many at once.
"""

from __future__ import annotations

import json
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from dbos import DBOS, SetWorkflowID

URL, RUNS, AT_ONCE = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])

DBOS(config={"name": "bench", "system_database_url": URL, "log_level": "ERROR"})


@DBOS.step()  # type: ignore[untyped-decorator]  # not installed where types are checked
def one(payload: dict[str, Any]) -> dict[str, Any]:
    return {"ok": 1}


@DBOS.step()  # type: ignore[untyped-decorator]
def two(payload: dict[str, Any]) -> dict[str, Any]:
    return {"ok": 1}


@DBOS.step()  # type: ignore[untyped-decorator]
def three(payload: dict[str, Any]) -> dict[str, Any]:
    return {"ok": 1}


@DBOS.workflow()  # type: ignore[untyped-decorator]
def tenant(payload: dict[str, Any]) -> dict[str, Any]:
    one(payload)
    two(payload)
    return three(payload)  # type: ignore[no-any-return]


def run(number: int) -> float:
    began = time.perf_counter()
    with SetWorkflowID(f"run-{number}-{time.time_ns()}"):
        tenant({"tenantId": "x"})
    return time.perf_counter() - began


DBOS.launch()
started = time.process_time()
for number in range(20):
    run(number)
lone = sorted(run(number) for number in range(100))
with ThreadPoolExecutor(AT_ONCE) as pool:
    list(pool.map(run, range(AT_ONCE)))
    start = time.perf_counter()
    list(pool.map(run, range(RUNS)))
    took = time.perf_counter() - start
steps = (20 + 100 + AT_ONCE + RUNS) * 3
processor_s = time.process_time() - started
print(
    json.dumps(
        {
            "steps_per_s": RUNS * 3 / took,
            "lone_ms": lone[50] * 1000,
            "processor_ms": processor_s * 1000 / steps,
            "steps": steps,
        }
    )
)
DBOS.destroy()
