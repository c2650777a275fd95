"""Functions: what Kubernetes says of each, how its runs of the last hour went, and its outbox.

A function that keeps no record of runs has a status only.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from starlette.routing import Route

from functions.console import dead_letters, deliveries
from functions.console.ask import Ask, Row
from functions.console.formatting import instant
from functions.console.pages import Page
from functions.console.panels import Panel, Query
from functions.console.runs import OPTIONAL, RECORDED
from functions.kit.errors import FunctionError, NotFound, TemporaryError

API = "serving.knative.dev/v1"
SERVICE_LABEL = "serving.knative.dev/service"
# What the local Knative writes of its processes.
STARTS, CRASHES = "local.knative.dev/starts", "local.knative.dev/crashes"
HOUR = timedelta(hours=1)
BUCKETS = 12  # of five minutes each
# At most so many runs are read of one function; a busier one says that it was cut.
MAX_RUNS = 1000
SHOWN_FAILURES = 10


async def health(ask: Ask, query: Query) -> Mapping[str, Any]:
    """Each function with its status and its last hour, those that failed first."""
    # All at once: a read that began after one that hangs would have none of its time left.
    deployed = asyncio.create_task(_objects(ask, API, "services"))
    (services, revisions, pods), records, optional, given_up, notes = await asyncio.gather(
        asyncio.gather(
            deployed,
            _objects(ask, API, "revisions"),
            _objects(ask, "v1", "pods", SERVICE_LABEL),
        ),
        _records(ask, RECORDED),
        asyncio.gather(*(_if_deployed(ask, name, deployed) for name in OPTIONAL)),
        _given_up(ask),
        deliveries.notes(ask),
    )
    known, revision_by_name = _by_name(services), _by_name(revisions)
    records |= {
        name: record for name, record in zip(OPTIONAL, optional, strict=True) if record is not None
    }
    away = {name: record for name, record in records.items() if isinstance(record, str)}
    if isinstance(services, str):
        if len(away) == len(records):
            raise TemporaryError(services)
        away["Kubernetes"] = services
    elif isinstance(pods, str):
        away["Kubernetes"] = pods
    lives = lives_of([] if isinstance(pods, str) else pods, revision_by_name.values())
    rows: list[Row] = []
    failures: list[Row] = []
    for name in sorted({*known, *records}):
        record = records.get(name)
        row = {"name": name, **status_of(known.get(name), revision_by_name)}
        row["lives"] = lives.get(name)
        row["notes"] = notes if name == deliveries.FUNCTION else ()
        row |= {"has_record": isinstance(record, dict), "is_away": isinstance(record, str)}
        if isinstance(record, dict):
            runs = record["runs"]
            row |= hour_of(runs, ask.ctx.now())
            row |= {name: record[name] for name in ("inbox", "outbox", "last")}
            failures += [{**run, "function": name} for run in runs if run["outcome"] == "failed"]
        rows.append(row)
    rows.sort(key=lambda row: (-row.get("failed", 0), not row["has_record"], row["name"]))
    failures.sort(key=lambda run: str(run["ended_at"]), reverse=True)
    if isinstance(given_up, str):
        away[dead_letters.FUNCTION], given_up = given_up, []
    return {
        "functions": rows,
        "failures": failures[:SHOWN_FAILURES],
        "given_up": given_up,
        "since": f"{ask.ctx.now() - HOUR:%Y-%m-%dT%H:%M}",
        "away": away,
    }


async def _given_up(ask: Ask) -> list[Row] | str:
    """The deliveries of the last hour that failed for good, of any function; or why not known."""
    since = (ask.ctx.now() - HOUR).isoformat()
    try:
        found: list[Row] = (
            await ask.function(dead_letters.FUNCTION).read(
                "/dead-letters", since=since, limit=SHOWN_FAILURES
            )
        )["dead_letters"]
    except FunctionError as error:
        return error.detail
    return [row | {"cause": dead_letters.cause(row)} for row in found]


async def names(ask: Ask) -> list[str]:
    """The functions of the page, as far as it is known which are there."""
    return sorted({*_by_name(await _objects(ask, API, "services")), *RECORDED})


async def _records(ask: Ask, functions: Sequence[str]) -> dict[str, Row | str]:
    found = await asyncio.gather(*(_record(ask, name) for name in functions))
    return dict(zip(functions, found, strict=True))


async def _if_deployed(
    ask: Ask, name: str, deployed: asyncio.Task[list[Row] | str]
) -> Row | str | None:
    """Its record; None where it is not deployed, or is not known to be and does not answer.

    What is not deployed is not waited for: it would be tried again and again.
    """
    record = asyncio.create_task(_record(ask, name))
    services = await asyncio.shield(deployed)
    if isinstance(services, str):
        found = await record
        return found if isinstance(found, dict) else None
    if name not in _by_name(services):
        record.cancel()
        return None
    return await record


async def _record(ask: Ask, function: str) -> Row | str:
    """Its runs of the last hour, its last run, its inbox and outbox; the reason without them."""
    since = (ask.ctx.now() - HOUR).isoformat()
    try:
        peer = ask.function(function)
        found = await peer.read("/runs", since=since, limit=MAX_RUNS, outbox="true")
        latest = found["runs"] or await ask.runs(function, limit=1)
    except FunctionError as error:
        return error.detail
    last = latest[0]["ended_at"] if latest else None
    waiting = {name: found.get(name) for name in ("inbox", "outbox")}
    return {"runs": found["runs"], "last": last, **waiting}


async def _objects(ask: Ask, api_version: str, plural: str, selector: str = "") -> list[Row] | str:
    """The objects; none where this Kubernetes has no such kind, or why it does not answer."""
    try:
        return await ask.objects(api_version, plural, selector)
    except NotFound:
        return []
    except FunctionError as error:
        return error.detail


def _by_name(objects: list[Row] | str) -> dict[str, Row]:
    return {} if isinstance(objects, str) else {o["metadata"]["name"]: o for o in objects}


def lives_of(pods: Iterable[Row], revisions: Iterable[Row]) -> dict[str, Row]:
    """How often the pods that a Service has now were started, how often they crashed, and how the
    last crash ended; the local Knative, whose Services have no pods, counts on the Revision.

    >>> crash = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    >>> container = {"name": "function", "restartCount": 2, "lastState": crash}
    >>> pod = {"metadata": {"labels": {SERVICE_LABEL: "a"}},
    ...        "status": {"containerStatuses": [container, {"name": "queue-proxy"}]}}
    >>> lives_of([pod, pod], [])
    {'a': {'starts': 6, 'crashes': 4, 'last': 'OOMKilled, exit code 137'}}
    >>> revision = {"metadata": {"labels": {SERVICE_LABEL: "a"},
    ...                          "annotations": {STARTS: "3", CRASHES: "1"}}}
    >>> lives_of([], [revision])
    {'a': {'starts': 3, 'crashes': 1, 'last': ''}}
    """
    found: dict[str, Row] = {}
    for revision in revisions:
        metadata = revision["metadata"]
        counts = metadata.get("annotations") or {}
        if STARTS in counts:
            starts, crashes = int(counts[STARTS]), int(counts[CRASHES])
            service = metadata["labels"][SERVICE_LABEL]
            found[service] = {"starts": starts, "crashes": crashes, "last": ""}
    for pod in pods:
        service = (pod["metadata"].get("labels") or {}).get(SERVICE_LABEL)
        if service is None:
            continue
        row = found.setdefault(service, {"starts": 0, "crashes": 0, "last": ""})
        for container in pod.get("status", {}).get("containerStatuses") or []:
            if container["name"] == "queue-proxy":
                continue
            crashes = container.get("restartCount", 0)
            row["starts"] += crashes + 1
            row["crashes"] += crashes
            if ended := (container.get("lastState") or {}).get("terminated"):
                row["last"] = f"{ended.get('reason', 'ended')}, exit code {ended['exitCode']}"
    return found


def status_of(service: Row | None, revisions: Mapping[str, Row]) -> Row:
    """A Knative Service's status and revision, by their conditions.

    A revision that is ready and has no pod is asleep; one that waits for its first pod is starting.

    >>> ready = {"type": "Ready", "status": "True"}
    >>> service = {"status": {"conditions": [ready], "latestReadyRevisionName": "a-1"}}
    >>> active = {"type": "Active", "status": "False", "reason": "NoTraffic"}
    >>> status_of(service, {"a-1": {"status": {"conditions": [active]}}})["status"]
    'asleep'
    >>> status_of({"status": {"conditions": [{"type": "Ready", "status": "False",
    ...     "message": "no image"}], "latestReadyRevisionName": "a-1"}}, {})
    {'status': 'failing', 'revision': 'a-1', 'why': 'no image', 'since': None}
    >>> crashed = {"type": "ContainerHealthy", "status": "False", "message": "exit code 137"}
    >>> status_of(service, {"a-1": {"status": {"conditions": [crashed]}}})["why"]
    'exit code 137'
    >>> status_of({}, {})["status"]
    'not reported'
    """
    status = (service or {}).get("status") or {}
    ready = _conditions(service).get("Ready")
    row: Row = {"status": "not reported", "revision": "", "why": "", "since": None}
    row["revision"] = status.get("latestReadyRevisionName") or ""
    if ready is None:
        return row
    state = {"True": "ready", "False": "failing"}.get(ready["status"], "starting")
    of_revision = _conditions(revisions.get(row["revision"]))
    active = of_revision.get("Active", {})
    if state == "ready" and active.get("status", "True") != "True":
        state = "asleep" if active["status"] == "False" else "starting"
    healthy = of_revision.get("ContainerHealthy", {})
    crash = healthy.get("message") if healthy.get("status") == "False" else ""
    why = ready.get("message") if state == "failing" else crash
    return row | {"status": state, "why": why or "", "since": active.get("lastTransitionTime")}


def _conditions(found: Row | None) -> dict[str, Row]:
    status = (found or {}).get("status") or {}
    return {one["type"]: one for one in status.get("conditions") or []}


def hour_of(runs: Sequence[Row], now: datetime) -> Row:
    """Counts and durations of the runs of an hour, as a whole and by five minutes.

    >>> now = datetime.fromisoformat("2026-03-02T12:00:00+00:00")
    >>> runs = [{"took_ms": ms, "outcome": "ok", "ended_at": "2026-03-02T11:58:00Z"}
    ...         for ms in range(1, 101)]
    >>> hour = hour_of(runs, now)
    >>> hour["runs"], hour["failed"], hour["p50_ms"], hour["p95_ms"], hour["bars"][-1]
    (100, 0, 50, 95, 100)
    >>> hour["p95_bars"][-2:]
    [0, 95]
    """
    took = sorted(run["took_ms"] for run in runs)
    parts: list[list[float]] = [[] for _ in range(BUCKETS)]
    failed = [0] * BUCKETS
    for run in runs:
        ended = instant(run["ended_at"]) or now
        ago = max(0.0, (now - ended) / HOUR)
        part = max(0, BUCKETS - 1 - int(ago * BUCKETS))
        parts[part].append(run["took_ms"])
        failed[part] += run["outcome"] == "failed"
    return {
        "runs": len(runs),
        "cut": len(runs) == MAX_RUNS,
        "failed": sum(failed),
        "failed_events": len({(r["type"], r["id"]) for r in runs if r["outcome"] == "failed"}),
        "p50_ms": percentile(took, 0.5),
        "p95_ms": percentile(took, 0.95),
        "bars": list(map(len, parts)),
        "failed_bars": failed,
        "p50_bars": [percentile(sorted(part), 0.5) or 0 for part in parts],
        "p95_bars": [percentile(sorted(part), 0.95) or 0 for part in parts],
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
            Panel("deliveries", "Deliveries of webhooks", deliveries.status, live_s=30),
        ],
        lead="What runs, how often, how long it takes, and what failed.",
    ).routes()
