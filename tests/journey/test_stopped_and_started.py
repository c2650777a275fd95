"""Ctrl-C in the middle of the work, and `up` again: each event and command is sent once."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.support import eventually
from tests.support.local_knative import LocalKnative
from tests.support.saga_world import TENANT, register_tenant
from tests.support.warm_data import OVERLAY, WarmData

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

RUNS, TASKS = 24, 3
SAGAS = "/api/orchestration"
COMMAND, END = "io.dsm.saga.step.commanded.v1", "io.dsm.saga.run.ended.v1"
QUEUED, STARTED, SUCCEEDED = (
    f"io.dsm.job.{name}.v1" for name in ("queued", "started", "succeeded")
)


async def begin(knative: LocalKnative) -> list[str]:
    """Start runs and request Jobs; the ids of the runs."""
    async with knative.client("orchestrator") as client:
        await register_tenant(client)

        async def started(number: int) -> str:
            tenant = {"tenantId": f"t-{number}", "realmName": f"t-{number}"}
            at = f"{SAGAS}/execute/{TENANT['orchName']}"
            return str((await client.post(at, json=tenant)).json()["flowId"])

        for number in range(TASKS):
            task = {"task_id": f"T-{number}", "service": "shop", "title": "t", "origin": "cli"}
            source = "/functions/webhook-receiver/cli"
            sent = await knative.send(
                "io.dsm.task.requested.v1", task, id=f"task-{number}", source=source
            )
            assert sent == 202
        return list(await asyncio.gather(*map(started, range(RUNS))))


async def emitted(knative: LocalKnative) -> list[dict[str, Any]]:
    """The attributes of what sagas and Jobs emit, oldest first."""
    found = [event["attributes"] for event in await knative.ask("events", limit=10_000)]
    return [one for one in found if one["type"].startswith(("io.dsm.saga.", "io.dsm.job."))]


async def all_ended(knative: LocalKnative, flows: list[str]) -> bool:
    ends = Counter(one["type"] for one in await emitted(knative))
    return ends[END] >= len(flows) and ends[SUCCEEDED] >= TASKS


async def nothing_is_unsent(knative: LocalKnative) -> bool:
    database = await knative.connect("functions")
    try:
        unsent = "SELECT count(*) FROM outbox_event WHERE dead_lettered_at IS NULL"
        return await database.fetchval(unsent) == 0 and await knative.settled()
    finally:
        await database.close()


def check(events: list[dict[str, Any]], flows: list[str]) -> None:
    counted = Counter((one["source"], one["id"]) for one in events)
    assert {name for name, count in counted.items() if count > 1} == set()
    commands = Counter(
        (one["subject"], one["stepname"]) for one in events if one["type"] == COMMAND
    )
    assert commands == {
        (flow, step): 1 for flow in flows for step in ("createRealm", "createClient")
    }
    ends = Counter(one["subject"] for one in events if one["type"] == END)
    assert ends == dict.fromkeys(flows, 1)
    by_job: dict[str, list[str]] = {}
    for one in events:
        if one["type"].startswith("io.dsm.job."):
            by_job.setdefault(one["subject"], []).append(one["type"])
    assert list(by_job.values()) == [[QUEUED, STARTED, SUCCEEDED]] * TASKS


async def test_each_event_and_command_is_sent_once_over_a_stop_and_a_start(
    tmp_path: Path, warm_data: WarmData
) -> None:
    knative = LocalKnative(OVERLAY, warm_data.copy_to(tmp_path / "d"))
    try:
        await asyncio.to_thread(knative.start)
        flows = await begin(knative)
        await asyncio.to_thread(knative.stop)  # most of the work is under way

        await asyncio.to_thread(knative.start)
        assert await eventually(lambda: all_ended(knative, flows), every_s=0.2)
        before = await emitted(knative)
        check(before, flows)
        await asyncio.to_thread(knative.stop)

        # What was sent is not sent again by whoever starts next.
        await asyncio.to_thread(knative.start)
        for service in ("orchestrator", "job-launcher", "realm-service", "client-service"):
            async with knative.client(service) as client:
                assert (await client.get("/health")).is_success, "it has started"
        assert await eventually(lambda: nothing_is_unsent(knative))
        assert await emitted(knative) == before
    finally:
        await asyncio.to_thread(knative.stop)
