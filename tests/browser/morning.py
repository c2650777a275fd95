"""A morning that has run: every page of the console has something real to show."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from tests.support import eventually
from tests.support_runtime import ROOT, LocalKnative

OVERLAY = ROOT / "knative" / "overlays" / "local"
TENANT = {
    "orchName": "tenantCreation",
    "as": "initiator",
    "type": "sequential",
    "steps": [{"seq": 1, "name": "createRealm"}, {"seq": 2, "name": "createClient"}],
}


class Morning:
    """The running local Knative; `flow` is a finished run, `waiting` one that waits."""

    def __init__(self, runtime: LocalKnative) -> None:
        self.runtime = runtime
        self.flow = ""

    @property
    def console(self) -> str:
        """The console's address, as a person types it."""
        return f"http://console.dsm.localhost:{self.runtime.url.rpartition(':')[2]}"

    async def post(self, service: str, path: str, **options: Any) -> Any:
        async with self.runtime.client(service) as client:
            response = await client.post(path, **options)
        assert response.is_success, response.text
        return response.json()

    async def fire(self, schedule: str) -> None:
        async with self.runtime.client() as client:
            assert (await client.post("/_knative/fire", params={"name": schedule})).is_success
        await self.settled()

    async def settled(self) -> None:
        async def calm() -> bool:
            return bool((await self.runtime.ask("settled"))["settled"])

        assert await eventually(calm, within_s=90, every_s=0.1)

    async def happen(self, *, badly: bool = True) -> None:
        """Sample data, the report with a cycle, the scrum, an orchestration, a dead letter."""
        await self.post("project-orchestrator", "/sample-data")
        await self.fire("sprint-report")
        await self.fire("scrum-simulate")
        await self.days_pass()
        await self.orchestrate()
        if badly:
            await self.runtime.send("io.dsm.cycle.requested.v1", {"project_id": "NOBODY"})
        await self.settled()

    async def days_pass(self) -> None:
        """The new sprint's next working days: a burndown needs more than one."""
        for number in range(1, 6):
            day = datetime.now(UTC).date() + timedelta(days=number)
            asked = {"project_id": "PHE001", "sprint_id": "PHE001-S02", "scrum_date": str(day)}
            await self.post("scrum-simulate", "/", json=asked)
            await self.settled()

    async def orchestrate(self) -> None:
        at = "/api/orchestration/register"
        await self.post("orchestrator", at, json=TENANT, headers=_as("tenant-service"))
        for worker, step in (("realm-service", "createRealm"), ("client-service", "createClient")):
            body = {"orchName": "tenantCreation", "as": "worker", "steps": [{"name": step}]}
            await self.post("orchestrator", at, json=body, headers=_as(worker))
        body = {"tenantId": "acme", "realmName": "acme"}
        answer = await self.post(
            "orchestrator", "/api/orchestration/execute/tenantCreation?wait=30", json=body
        )
        self.flow = answer["flowId"]


@asynccontextmanager
async def morning(*, badly: bool = True) -> AsyncIterator[Morning]:
    """Start it in a folder of its own; everything is gone afterwards."""
    # Not tmp_path: a unix socket's path may have 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="dsm-console-"))
    runtime = LocalKnative(OVERLAY, folder / "data", ["--idle", "600"])
    try:
        await asyncio.to_thread(runtime.start, within_s=120)
        made = Morning(runtime)
        await made.happen(badly=badly)
        yield made
    finally:
        await asyncio.to_thread(runtime.stop)
        shutil.rmtree(folder, ignore_errors=True)


def _as(service: str) -> dict[str, str]:
    return {"X-Service-Name": service}
