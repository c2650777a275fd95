"""Both schedules over sample data: all that a tick causes is in its trace and in its chain."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

import pytest

from functions.events.cycle import CycleCompleted
from functions.events.schedule import ScheduleDue, TickDue
from functions.events.scrum import ScrumReported, SprintSimulated
from functions.events.sprint import SprintCompleted, SprintsReported, SprintStarted
from functions.events.task import TaskUpdated
from functions.kit.telemetry import trace
from tests.support import eventually
from tests.support.local_knative import LocalKnative
from tests.support.otlp_collector import Collector, collector
from tests.support.warm_data import OVERLAY, WarmData

pytestmark = [pytest.mark.slow]

# What each tick leads to, and who has a part in it.
CAUSED = {
    "sprint-report": {
        *(SprintsReported.type, SprintCompleted.type, CycleCompleted.type),
        *(SprintStarted.type, TaskUpdated.type, TickDue.type),
    },
    "scrum-simulate": {TickDue.type, SprintSimulated.type, ScrumReported.type, TaskUpdated.type},
}
WORKED = {
    "sprint-report": {
        *("sprint-report", "cycle-trigger", "project-orchestrator", "project-service"),
        *("sprint-service", "backlog-service", "chronicle-service"),
    },
    "scrum-simulate": {
        *("scrum-simulate", "scrum-report", "daily-scrum-service", "project-service"),
        *("sprint-service", "chronicle-service"),
    },
}


async def test_every_event_of_a_morning_is_in_the_trace_and_the_chain_of_its_tick(
    tmp_path_factory: pytest.TempPathFactory, warm_data: WarmData
) -> None:
    data = await asyncio.to_thread(warm_data.copy_to, tmp_path_factory.mktemp("t") / "d")
    with collector() as seen:
        runtime = LocalKnative(OVERLAY, data, env={"OTEL_EXPORTER_OTLP_ENDPOINT": seen.url})
        try:
            # Each process imports OpenTelemetry.
            await asyncio.to_thread(runtime.start, timeout_s=150)
            async with runtime.client("project-orchestrator") as client:
                (await client.post("/sample-data")).raise_for_status()
            await eventually(runtime.settled)
            before = len(await _events(runtime))
            for schedule in CAUSED:
                assert await runtime.fire(schedule) == 202
                await eventually(partial(_complete, runtime, schedule))
                await eventually(runtime.settled)
            events = (await _events(runtime))[before:]
        finally:
            await asyncio.to_thread(runtime.stop)
        for schedule in CAUSED:
            _is_whole(schedule, events, seen)


async def _complete(runtime: LocalKnative, schedule: str) -> bool:
    _, chain = _chain(schedule, await _events(runtime))
    return {e["type"] for e in chain} >= CAUSED[schedule]


def _chain(
    schedule: str, events: list[dict[str, Any]]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The tick of a schedule, and all that was caused by it."""
    (tick,) = (e for e in events if e["type"] == ScheduleDue.type and e["schedule"] == schedule)
    return tick, [e for e in events if e.get("correlationid") == tick["id"]]


def _is_whole(schedule: str, events: list[dict[str, Any]], seen: Collector) -> None:
    tick, chain = _chain(schedule, events)
    assert {e["type"] for e in chain} == CAUSED[schedule]
    ids = {tick["id"], *(e["id"] for e in chain)}
    assert {e["causationid"] for e in chain} <= ids, "each cause is in the chain"
    (traced,) = {trace.id_of(e) for e in chain}
    whole = [s for s in seen.spans if s.trace == traced]
    assert WORKED[schedule] <= {s.service for s in whole}
    assert [s.service for s in whole if not s.parent] == ["scheduler"], (
        "the tick's own is the first"
    )
    made = {s.attributes["cloudevents.event_id"] for s in whole if s.kind == "PRODUCER"}
    assert made >= {e["id"] for e in chain}


async def _events(runtime: LocalKnative) -> list[dict[str, Any]]:
    """The attributes of all events that came to the broker, in their order."""
    found: list[dict[str, Any]] = []
    while page := await runtime.ask(
        "events/search", limit=200, **({"before": found[-1]["seq"]} if found else {})
    ):
        found += page
    return [one["attributes"] for one in reversed(found)]
