"""Functions: what Kubernetes says of each, and how its runs of the last hour went.

A function that keeps no record of runs has a status only. Its metrics are not read here: asking its
pods would start those that are scaled to zero.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from starlette.routing import Route

from functions.console import deliveries
from functions.console.ask import Ask, Row
from functions.console.formatting import instant
from functions.console.pages import Page
from functions.console.panels import Panel, Query
from functions.console.ping_sources import TICKED
from functions.kit.errors import FunctionError, TemporaryError

API = "serving.knative.dev/v1"
HOUR = timedelta(hours=1)
BUCKETS = 12  # of five minutes each
# At most so many runs are read of one function; a busier one says that it was cut.
MAX_RUNS = 1000
SHOWN_FAILURES = 10


async def health(ask: Ask, query: Query) -> Mapping[str, Any]:
    """Each function with its status and its last hour, those that failed first."""
    since = ask.ctx.now() - HOUR
    services, *found = await asyncio.gather(
        _services(ask), *(_runs(ask, name, since) for name in TICKED)
    )
    away = {name: runs for name, runs in zip(TICKED, found, strict=True) if isinstance(runs, str)}
    if isinstance(services, str):
        if len(away) == len(TICKED):
            raise TemporaryError(services)
        away["Kubernetes"] = services
    by_name = {} if isinstance(services, str) else {s["metadata"]["name"]: s for s in services}
    rows = []
    for name in sorted({*by_name, *TICKED}):
        runs = found[TICKED.index(name)] if name in TICKED else None
        row = {"name": name, **status_of(by_name.get(name))}
        if isinstance(runs, list):
            row |= hour_of(runs, ask.ctx.now())
        rows.append(row | {"has_record": isinstance(runs, list), "is_away": isinstance(runs, str)})
    rows.sort(key=lambda row: (-row.get("failed", 0), not row["has_record"], row["name"]))
    failures = [
        {**run, "function": name}
        for name, runs in zip(TICKED, found, strict=True)
        if isinstance(runs, list)
        for run in runs
        if run["outcome"] == "failed"
    ]
    failures.sort(key=lambda run: str(run["ended_at"]), reverse=True)
    return {"functions": rows, "failures": failures[:SHOWN_FAILURES], "away": away}


async def _services(ask: Ask) -> list[Row] | str:
    try:
        return await ask.objects(API, "services")
    except FunctionError as error:
        return error.detail


async def _runs(ask: Ask, function: str, since: datetime) -> list[Row] | str:
    try:
        return await ask.runs(function, since=since.isoformat(), limit=MAX_RUNS)
    except FunctionError as error:
        return error.detail


def status_of(service: Row | None) -> Row:
    """A Knative Service's status and revision, by its conditions; a laptop reports none.

    >>> status_of({"status": {"conditions": [{"type": "Ready", "status": "False",
    ...     "message": "no image"}], "latestReadyRevisionName": "a-1"}})
    {'status': 'failing', 'revision': 'a-1', 'why': 'no image'}
    >>> status_of({})["status"]
    'not reported'
    """
    status = (service or {}).get("status") or {}
    conditions = {one["type"]: one for one in status.get("conditions") or []}
    ready = conditions.get("Ready")
    row: Row = {"status": "not reported", "revision": "", "why": ""}
    row["revision"] = status.get("latestReadyRevisionName") or ""
    if ready is None:
        return row
    words = {"True": "ready", "False": "failing"}.get(ready["status"], "starting")
    return row | {"status": words, "why": "" if words == "ready" else ready.get("message") or ""}


def hour_of(runs: Sequence[Row], now: datetime) -> Row:
    """Counts, durations and five-minute counts of the runs of an hour.

    >>> now = datetime.fromisoformat("2026-03-02T12:00:00+00:00")
    >>> runs = [{"took_ms": ms, "outcome": "ok", "ended_at": "2026-03-02T11:58:00Z"}
    ...         for ms in range(1, 101)]
    >>> hour = hour_of(runs, now)
    >>> hour["runs"], hour["failed"], hour["p50_ms"], hour["p95_ms"], hour["bars"][-1]
    (100, 0, 50, 95, 100)
    """
    took = sorted(run["took_ms"] for run in runs)
    bars = [0] * BUCKETS
    for run in runs:
        ended = instant(run["ended_at"]) or now
        ago = max(0.0, (now - ended) / HOUR)
        bars[max(0, BUCKETS - 1 - int(ago * BUCKETS))] += 1
    return {
        "runs": len(runs),
        "cut": len(runs) == MAX_RUNS,
        "failed": sum(run["outcome"] == "failed" for run in runs),
        "p50_ms": percentile(took, 0.5),
        "p95_ms": percentile(took, 0.95),
        "bars": bars,
        "top": max(1, *bars),
    }


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """The smallest value that `share` of all do not exceed; None of nothing.

    >>> percentile([1, 2, 3, 4], 0.5), percentile([], 0.5)
    (2, None)
    """
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def routes() -> list[Route]:
    return Page(
        "/functions",
        "Functions",
        [
            Panel("functions", "The last hour", health, live_s=10),
            Panel("deliveries", "Deliveries of webhooks", deliveries.standing, live_s=30),
        ],
        lead="What runs, how often, how long it takes, and what failed.",
    ).routes()
