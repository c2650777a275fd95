"""A morning that has run: every page of the console has something real to show."""

from __future__ import annotations

import asyncio
import hmac
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import uuid4

import yaml

from knative.demo.agents import sample_issue
from tests.support import eventually
from tests.support.job_world import shipped_routes
from tests.support.local_knative import ROOT, LocalKnative

OVERLAY = ROOT / "knative" / "overlays" / "local"
TENANT = {
    "orchName": "tenantCreation",
    "as": "initiator",
    "type": "sequential",
    "steps": [{"seq": 1, "name": "createRealm"}, {"seq": 2, "name": "createClient"}],
}
# Beside the shipped routes; it must be there long enough to be looked at and stopped.
NAP = """
  - name: nap
    match: {type: com.github.issue.labeled, label: nap}
    job:
      kind: execute
      task_id: "{{ data.repository.full_name }}#{{ data.issue.number }}"
      service: "{{ data.repository.full_name }}"
      command: [python, -u, -c, "import time; print(*range(400), sep=chr(10)); time.sleep(3000)"]
"""


class Morning:
    """The running local Knative, and the ids of what waits or failed in it."""

    def __init__(self, runtime: LocalKnative) -> None:
        self.runtime = runtime
        self.flow = self.waiting = self.failed = self.job = self.trace = ""

    @property
    def console(self) -> str:
        """The console's address, as a user types it."""
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

        assert await eventually(calm, every_s=0.1)

    async def happen(self, *, badly: bool = True) -> None:
        """Sample data, the report with a cycle, the scrum, an orchestration; and what goes badly.

        That is a dead letter, a run that waits, one that failed, and a Job that naps on.
        """
        await self.post("project-orchestrator", "/sample-data")
        await self.fire("sprint-report")
        await self.fire("scrum-simulate")
        (completed,) = await self.runtime.ask("events/search", type="sprint.completed", limit=1)
        self.trace = completed["attributes"]["correlationid"]
        await self.orchestrate()
        if badly:
            await self.runtime.send("io.dsm.cycle.requested.v1", {"project_id": "NOBODY"})
            await self.leave_waiting()
        await self.settled()
        if badly:
            await self.nap()  # last: while a Job runs, nothing is settled

    async def orchestrate(self) -> None:
        at = "/api/orchestration/register"
        await self.post("orchestrator", at, json=TENANT, headers=_as("tenant-service"))
        for worker, step in (("realm-service", "createRealm"), ("client-service", "createClient")):
            body = {"orchName": "tenantCreation", "as": "worker", "steps": [{"name": step}]}
            await self.post("orchestrator", at, json=body, headers=_as(worker))
        tenant = f"acme-{uuid4().hex[:8]}"  # a realm is created once, and a run may follow another
        body = {"tenantId": tenant, "realmName": tenant}
        answer = await self.post(
            "orchestrator", "/api/orchestration/execute/tenantCreation?wait=30", json=body
        )
        self.flow = answer["flowId"]

    async def leave_waiting(self) -> None:
        """A run that waits for workers that are not registered, and one that could not be done."""
        at, asked = "/api/orchestration", TENANT | {"orchName": "nobodyWorks"}
        await self.post("orchestrator", f"{at}/register", json=asked, headers=_as("tenant-service"))
        answer = await self.post("orchestrator", f"{at}/execute/nobodyWorks", json={})
        self.waiting = answer["flowId"]
        answer = await self.post("orchestrator", f"{at}/execute/tenantCreation?wait=30", json={})
        assert answer["run"] == "FAILED", answer
        self.failed = answer["flowId"]

    async def label(self, number: int, label: str) -> None:
        """GitHub says, with its signature, that an issue got a label."""
        issue = sample_issue(number)
        issue["label"] = issue["label"] | {"name": label}
        body = json.dumps(issue).encode()
        key = self.runtime.secret("dsm/webhook-secrets", "github").encode()
        headers = {
            "content-type": "application/json",
            "x-github-event": "issues",
            "x-github-delivery": f"delivery-{number}",
            "x-hub-signature-256": f"sha256={hmac.digest(key, body, 'sha256').hex()}",
        }
        async with self.runtime.client("webhook-receiver", headers=headers) as client:
            assert (await client.post("/webhook/github", content=body)).status_code == 202

    async def nap(self) -> None:
        """A signed sample issue becomes a Job that says something and goes on."""
        await self.label(42, "nap")

        async def runs() -> str:
            async with self.runtime.client("job-launcher") as client:
                found = (await client.get("/jobs", params={"state": "running"})).json()["jobs"]
            return str(found[0]["job_id"]) if found else ""

        self.job = await eventually(runs, every_s=0.2)


def overlay(folder: Path) -> Path:
    """The local overlay, whose routes also make a Job that naps of an issue that says so."""
    routes = shipped_routes() + NAP
    patch = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "job-routes", "namespace": "dsm"},
        "data": {"routes.yaml": routes},
    }
    kustomization = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": [os.path.relpath(OVERLAY, folder)],
        "patches": [{"patch": yaml.safe_dump(patch)}],
    }
    folder.mkdir()
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kustomization))
    return folder


@asynccontextmanager
async def morning(*, badly: bool = True) -> AsyncIterator[Morning]:
    """Start it in a folder of its own; everything is gone afterwards."""
    # Not tmp_path: a unix socket's path may have 107 characters at most.
    folder = Path(tempfile.mkdtemp(prefix="dsm-console-"))
    made_overlay = overlay(folder / "overlay") if badly else OVERLAY
    runtime = LocalKnative(made_overlay, folder / "data", ["--idle", "600"])
    try:
        await asyncio.to_thread(runtime.start, timeout_s=120)
        made = Morning(runtime)
        await made.happen(badly=badly)
        yield made
    finally:
        await asyncio.to_thread(runtime.stop)
        shutil.rmtree(folder, ignore_errors=True)


def _as(service: str) -> dict[str, str]:
    return {"X-Service-Name": service}
