"""Sagas while everything is killed: each run ends right, each effect is there exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from tests.function.saga_world import TENANT
from tests.support import eventually
from tests.support_runtime import ROOT, LocalKnative

OVERLAY = ROOT / "knative/overlays/local"
RUNS = int(os.environ.get("SAGA_RUNS", "300"))
BAD_EVERY = 5  # every fifth run asks for a realm name that is taken
RUNTIME = "the runtime"
VICTIMS = ["orchestrator", "realm-service", "client-service"] * 4 + [RUNTIME, RUNTIME]
ENDED = ("COMPLETED", "FAILED", "UNDONE", "UNDO_FAILED", "CANCELLED")


class Story:
    """One runtime, and how to ask it while parts of it may be dead."""

    def __init__(self, data: Path) -> None:
        self.runtime = LocalKnative(OVERLAY, data, ["--deliver-twice"])
        self.killed: Counter[str] = Counter()

    async def post(self, path: str, **options: Any) -> Any:
        """A request that is asked until it is answered; a repeat has the same key."""

        async def answer() -> Any:
            with contextlib.suppress(httpx.HTTPError):
                async with self.runtime.client("orchestrator") as client:
                    response = await client.post(f"/api/orchestration/{path}", **options)
                if response.status_code < 500:
                    assert response.status_code == 200, response.text
                    return response.json()
            return None

        return await eventually(answer, within_s=120, every_s=0.2)

    async def get(self, path: str) -> Any:
        async def answer() -> Any:
            with contextlib.suppress(httpx.HTTPError):
                async with self.runtime.client("orchestrator") as client:
                    response = await client.get(f"/api/{path}")
                return response.json() if response.status_code == 200 else None
            return None

        return await eventually(answer, within_s=120, every_s=0.2)

    async def register(self) -> None:
        await self.post("register", json=TENANT, headers={"X-Service-Name": "tenant-service"})
        for worker, step in (("realm-service", "createRealm"), ("client-service", "createClient")):
            body = {"orchName": "tenantCreation", "as": "worker", "steps": [{"name": step}]}
            await self.post("register", json=body, headers={"X-Service-Name": worker})

    async def start(self, number: int) -> str:
        name = "taken" if number % BAD_EVERY == 0 else f"realm-{number}"
        answer = await self.post(
            "execute/tenantCreation",
            json={"tenantId": f"t{number}", "realmName": name},
            headers={"Idempotency-Key": f"run-{number}"},
        )
        return str(answer["flowId"])

    async def statuses(self) -> Counter[str]:
        found: Counter[str] = Counter()
        for page in range(-(-RUNS // 200)):
            path = f"orchestrations/tenantCreation/executions?size=200&page={page}"
            answer = await self.get(path)
            found.update(run["status"] for run in answer["content"])
        return found

    async def all_ended(self) -> Counter[str] | None:
        found = await self.statuses()
        return found if sum(found[status] for status in ENDED) == RUNS else None

    async def effects(self) -> dict[str, int]:
        """What the workers have, by their own records."""
        process = next((self.runtime.data / "postgres").rglob("postmaster.pid"))
        lines = process.read_text().splitlines()
        connection = await asyncpg.connect(
            host=lines[4],
            port=int(lines[3]),
            user="dsm",
            password="change-me",
            database="functions",
        )
        try:
            return {
                table: await connection.fetchval(f"SELECT count(*) FROM {table}")
                for table in ("realm", "realm_client")
            }
        finally:
            await connection.close()

    async def kill_them_all(self, chance: random.Random) -> None:
        victims = list(VICTIMS)
        chance.shuffle(victims)
        for victim in victims:
            wanted = min(RUNS, await self._ended() + RUNS // 25)
            await eventually(partial(self._ended_at_least, wanted), within_s=120, every_s=0.1)
            await self._kill(victim)

    async def _ended(self) -> int:
        found = await self.statuses()
        return sum(found[status] for status in ENDED)

    async def _ended_at_least(self, wanted: int) -> bool:
        return await self._ended() >= wanted

    async def _kill(self, victim: str) -> None:
        if victim == RUNTIME:
            await asyncio.to_thread(self.runtime.kill)
            await asyncio.to_thread(self.runtime.start)
            self.killed[victim] += 1
            return
        # One that stays at zero has nothing to do any more: its next turn may find it at work.
        with contextlib.suppress(AssertionError, ProcessLookupError):
            pid = await eventually(partial(self._pid, victim), within_s=5)
            os.kill(pid, signal.SIGKILL)
            self.killed[victim] += 1

    async def _pid(self, victim: str) -> int:
        """Its process; work wakes one that is at zero."""
        found = {s["name"]: s["pid"] for s in await self.runtime.ask("services")}
        return found[victim] or 0


@pytest.mark.slow
@pytest.mark.timeout(900)
async def test_every_run_ends_right_and_every_effect_is_there_once(tmp_path: Path) -> None:
    story = Story(tmp_path / "data")
    await asyncio.to_thread(story.runtime.start)
    try:
        await story.register()
        killing = asyncio.create_task(story.kill_them_all(random.Random(7)))
        flows = []
        for first in range(0, RUNS, 20):
            numbers = range(first, min(RUNS, first + 20))
            flows += await asyncio.gather(*(story.start(number) for number in numbers))
        await killing
        found = await eventually(story.all_ended, within_s=400, every_s=0.5)
        assert len(set(flows)) == RUNS
        bad = len(range(0, RUNS, BAD_EVERY))
        assert found == {"COMPLETED": RUNS - bad + 1, "FAILED": bad - 1}
        good = RUNS - bad + 1
        assert await story.effects() == {"realm": good, "realm_client": good}
        assert all(story.killed[victim] for victim in set(VICTIMS)), story.killed
    finally:
        await asyncio.to_thread(story.runtime.stop, 90)
