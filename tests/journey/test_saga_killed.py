"""Sagas while everything is killed: each run ends right, each effect happens exactly once.

Some runs go through, some fail in their first step, some in their second, and some are undone by
hand. What the workers did, they say by a history that only grows: no key in it hides a repeat.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from collections.abc import Mapping
from enum import Enum
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import eventually
from tests.support.local_knative import LocalKnative
from tests.support.saga_world import TENANT
from tests.support.warm_data import OVERLAY, WarmData

RUNS = int(os.environ.get("SAGA_RUNS", "300"))
RUNTIME, MEMORY = "the runtime", "the broker's memory"
VICTIMS = ["orchestrator", "realm-service", "client-service", MEMORY] * 4 + [RUNTIME] * 2
ENDED = ("COMPLETED", "FAILED", "UNDONE", "UNDO_FAILED", "CANCELLED")


class Kind(Enum):
    """What becomes of a run, and what the workers' histories then say of it, in order."""

    status: str
    history: list[str]

    def __init__(self, status: str, history: list[str]) -> None:
        self.status, self.history = status, history

    GOOD = ("COMPLETED", ["DO createRealm", "DO createClient"])
    FAILS_FIRST = ("FAILED", list[str]())
    FAILS_SECOND = ("UNDONE", ["DO createRealm", "UNDO createRealm"])
    BY_HAND = (
        "UNDONE",
        ["DO createRealm", "DO createClient", "UNDO createClient", "UNDO createRealm"],
    )


def kind_of(number: int) -> Kind:
    """Every fifth run fails in its second step, another fifth is undone by hand."""
    match number % 5:
        case 1:
            return Kind.FAILS_SECOND
        case 2:
            return Kind.BY_HAND
    return Kind.FAILS_FIRST if number % 25 == 24 else Kind.GOOD


def payload_of(number: int) -> dict[str, Any]:
    kind = kind_of(number)
    payload: dict[str, Any] = {"tenantId": f"t{number}"}
    if kind is Kind.FAILS_FIRST:
        payload["realmName"] = 7
    if kind is Kind.FAILS_SECOND:
        payload["clientName"] = 7
    return payload


class Story:
    """One runtime, and how to ask it while parts of it may be dead."""

    def __init__(self, folder: Path) -> None:
        self.runtime = LocalKnative(OVERLAY, folder / "data", ["--deliver-twice"])
        self.killed: Counter[str] = Counter()

    async def post(self, path: str, *, but: int = 200, **options: Any) -> Any:
        """A request that is asked until it is answered, with 200 or `but`."""

        async def answer() -> Any:
            with contextlib.suppress(httpx.HTTPError):
                async with self.runtime.client("orchestrator") as client:
                    response = await client.post(f"/api/orchestration/{path}", **options)
                if response.status_code < 500:
                    assert response.status_code in (200, but), response.text
                    return response.json()
            return None

        return await eventually(answer, every_s=0.2)

    async def get(self, path: str) -> Any:
        async def answer() -> Any:
            with contextlib.suppress(httpx.HTTPError):
                async with self.runtime.client("orchestrator") as client:
                    response = await client.get(f"/api/{path}")
                return response.json() if response.status_code == 200 else None
            return None

        return await eventually(answer, every_s=0.2)

    async def register(self) -> None:
        await self.post("register", json=TENANT, headers={"X-Service-Name": "tenant-service"})
        for worker, step in (("realm-service", "createRealm"), ("client-service", "createClient")):
            body = {"orchName": "tenantCreation", "as": "worker", "steps": [{"name": step}]}
            await self.post("register", json=body, headers={"X-Service-Name": worker})

    async def start(self, number: int) -> str:
        answer = await self.post(
            "execute/tenantCreation",
            json=payload_of(number),
            headers={"Idempotency-Key": f"run-{number}"},
        )
        return str(answer["flowId"])

    async def runs(self) -> dict[str, str]:
        """Each run's status."""
        found: dict[str, str] = {}
        for page in range(-(-RUNS // 200)):
            path = f"orchestrations/tenantCreation/executions?size=200&page={page}"
            answer = await self.get(path)
            found |= {run["executionId"]: run["status"] for run in answer["content"]}
        return found

    async def undo_by_hand(self, flows: Mapping[str, int]) -> None:
        """Undo the runs that are to be undone by hand, each once it has completed.

        `flows` grows while runs are started.
        """
        undone: set[str] = set()

        async def all_undone() -> bool:
            all_started = len(flows) == RUNS
            wanted = {flow for flow, number in flows.items() if kind_of(number) is Kind.BY_HAND}
            runs = await self.runs()
            for flow in wanted - undone:
                if runs.get(flow) == "COMPLETED":
                    # Asked again after a death, it is refused: it is undone already.
                    await self.post(f"undo/{flow}", but=409, headers={"X-Service-Name": "ada"})
                    undone.add(flow)
            return all_started and wanted == undone

        await eventually(all_undone, timeout_s=600, every_s=0.2)

    async def others(self, wanted: Mapping[str, str]) -> dict[str, str]:
        """The runs that have not ended as they should."""
        runs = await self.runs()
        return {flow: runs[flow] for flow in runs if runs[flow] != wanted.get(flow)}

    async def ended(self, wanted: Mapping[str, str], timeout_s: float) -> None:
        """Wait until every run has ended as it should; the others tell what they wait for."""
        with contextlib.suppress(AssertionError):

            async def all_have() -> bool:
                return not await self.others(wanted)

            await eventually(all_have, timeout_s=timeout_s, every_s=0.5)
        path = "orchestrations/tenantCreation/executions"
        others = [await self.get(f"{path}/{flow}") for flow in await self.others(wanted)]
        assert others == []

    async def histories(self) -> dict[str, list[str]]:
        """What the workers did for each run, by their own records, in order."""
        connection = await self.runtime.connect("functions")
        try:
            rows = await connection.fetch(
                """SELECT effect_key, action, at FROM realm_history
                   UNION ALL SELECT effect_key, action, at FROM realm_client_history ORDER BY at"""
            )
        finally:
            await connection.close()
        found: dict[str, list[str]] = {}
        for row in rows:
            flow_id, step, _ = row["effect_key"].split("/")
            found.setdefault(flow_id, []).append(f"{row['action']} {step}")
        return found

    async def kill_them_all(self, chance: random.Random) -> None:
        victims = list(VICTIMS)
        chance.shuffle(victims)
        for victim in victims:
            wanted = min(RUNS, await self._ended() + RUNS // 25)
            await eventually(partial(self._ended_min, wanted), every_s=0.1)
            await self._kill(victim)

    async def _ended(self) -> int:
        return sum(status in ENDED for status in (await self.runs()).values())

    async def _ended_min(self, wanted: int) -> bool:
        return await self._ended() >= wanted

    async def _kill(self, victim: str) -> None:
        if victim == RUNTIME:
            await asyncio.to_thread(self.runtime.kill)
            await asyncio.to_thread(self.runtime.start)
            self.killed[victim] += 1
            return
        # One that stays at zero has nothing to do any more: its next turn may find it at work.
        with contextlib.suppress(AssertionError, ProcessLookupError):
            if victim == MEMORY:
                self.killed[victim] += await eventually(self.runtime.crash_broker, timeout_s=5)
                return
            pid = await eventually(partial(self._pid, victim), timeout_s=5)
            os.kill(pid, signal.SIGKILL)
            self.killed[victim] += 1

    async def _pid(self, victim: str) -> int:
        """Its process; work wakes one that is at zero."""
        found = {s["name"]: s["pid"] for s in await self.runtime.ask("services")}
        return found[victim] or 0


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_every_run_ends_right_and_every_effect_is_there_once(
    tmp_path: Path, warm_data: WarmData
) -> None:
    await asyncio.to_thread(warm_data.copy_to, tmp_path / "data")
    story = Story(tmp_path)
    await asyncio.to_thread(story.runtime.start)
    try:
        await story.register()
        killing = asyncio.create_task(story.kill_them_all(random.Random(7)))
        flows: dict[str, int] = {}
        undoing = asyncio.create_task(story.undo_by_hand(flows))
        for first in range(0, RUNS, 20):
            numbers = range(first, min(RUNS, first + 20))
            started = await asyncio.gather(*(story.start(number) for number in numbers))
            flows |= zip(started, numbers, strict=True)
        assert len(flows) == RUNS
        await asyncio.gather(killing, undoing)
        kinds = {flow: kind_of(number) for flow, number in flows.items()}
        await story.ended({flow: kind.status for flow, kind in kinds.items()}, timeout_s=400)
        histories = await story.histories()
        assert {flow: histories.get(flow, []) for flow in flows} == {
            flow: kind.history for flow, kind in kinds.items()
        }
        assert histories.keys() <= flows.keys()
        assert all(story.killed[victim] for victim in set(VICTIMS)), story.killed
    finally:
        await asyncio.to_thread(story.runtime.stop, 90)
