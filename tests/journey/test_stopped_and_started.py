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
QUEUED, STARTED, SUCCEEDED, FAILED = (
    f"io.dsm.job.{name}.v1" for name in ("queued", "started", "succeeded", "failed")
)
ENDS = {END, SUCCEEDED, FAILED}


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
    """What sagas and Jobs emit, oldest first: attributes and, of failed Jobs, the pod's reason."""
    found = await knative.ask("events", limit=10_000)
    mine = ("io.dsm.saga.", "io.dsm.job.")
    return [
        one["attributes"]
        | ({"reason": one["data"]["pod_reason"]} if one["attributes"]["type"] == FAILED else {})
        for one in found
        if one["attributes"]["type"].startswith(mine)
    ]


async def emitted_by_subject(knative: LocalKnative) -> dict[str, list[str]]:
    """The types that each run and each Job has emitted, oldest first."""
    by_subject: dict[str, list[str]] = {}
    for one in await emitted(knative):
        by_subject.setdefault(one["subject"], []).append(one["type"])
    return by_subject


async def all_ended(knative: LocalKnative, flows: list[str]) -> None:
    """Wait; at the deadline, fail with what those have emitted that did not end."""
    by_subject: dict[str, list[str]] = {}

    async def ended() -> bool:
        nonlocal by_subject
        by_subject = await emitted_by_subject(knative)
        ended = sum(not ENDS.isdisjoint(types) for types in by_subject.values())
        return ended >= len(flows) + TASKS

    try:
        await eventually(ended, every_s=0.2)
    except AssertionError as error:
        left = {
            one: types
            for one, types in by_subject.items()
            if one != TENANT["orchName"] and ENDS.isdisjoint(types)
        }
        raise AssertionError(f"did not end: {left or 'some that emitted nothing'}") from error


async def nothing_is_unsent(knative: LocalKnative) -> bool:
    database = await knative.connect("functions")
    try:
        unsent = "SELECT count(*) FROM outbox_event WHERE dead_lettered_at IS NULL"
        return await database.fetchval(unsent) == 0 and await knative.settled()
    finally:
        await database.close()


def check(events: list[dict[str, Any]], flows: list[str]) -> None:
    """Each is there once; a Job fails only where the stop has ended its pod."""
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
    assert len(by_job) == TASKS
    for types in by_job.values():
        assert types in ([QUEUED, STARTED, SUCCEEDED], [QUEUED, STARTED, FAILED])
    for one in events:
        assert one["type"] != FAILED or one["reason"] == "NodeShutdown"


async def test_each_event_and_command_is_sent_once_over_a_stop_and_a_start(
    tmp_path: Path, warm_data: WarmData
) -> None:
    knative = LocalKnative(OVERLAY, warm_data.copy_to(tmp_path / "d"))
    try:
        await asyncio.to_thread(knative.start)
        flows = await begin(knative)
        await asyncio.to_thread(knative.stop)  # most of the work is under way

        await asyncio.to_thread(knative.start)
        await all_ended(knative, flows)
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
