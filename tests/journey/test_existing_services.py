"""The functions work with DSM services that run elsewhere, by configuration alone."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import uvicorn

from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.local_knative import ROOT, LocalKnative
from tests.support.originals import Originals

OVERLAY = ROOT / "knative/overlays/existing-services"


@contextlib.asynccontextmanager
async def served(originals: Originals) -> AsyncIterator[dict[str, str]]:
    """The URL of each service: servers of their own, on this machine's ports."""
    cluster = Cluster()
    originals.join(cluster)
    servers, urls = [], {}
    names = [name for name in cluster.apps if name != "broker-ingress"]
    for name in names:
        listener = socket.create_server(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(cluster.apps[name], log_level="warning"))
        servers.append((server, asyncio.create_task(server.serve(sockets=[listener]))))
        urls[name] = f"http://127.0.0.1:{listener.getsockname()[1]}"

    async def all_up() -> bool:
        return all(server.started for server, _ in servers)

    await eventually(all_up)
    try:
        yield urls
    finally:
        for server, task in servers:
            server.should_exit = True
            await task


async def test_a_day_is_measured_simulated_and_filed_with_services_outside(tmp_path: Path) -> None:
    originals = Originals()
    originals.sprint("GEM-001", 1, 0, 50)
    async with served(originals) as urls:
        maps = [word for name, url in urls.items() for word in ("--map", f"{name}.dsm={url}")]
        knative = LocalKnative(OVERLAY, tmp_path / "data", ["--stand-ins", *maps])
        try:
            await asyncio.to_thread(knative.start)
            async with knative.client("sprint-report") as client:
                answer = await client.post("/", json={})
            assert answer.status_code == 200, answer.text
            assert "GEM-001-S01" in answer.text
            async with knative.client("scrum-simulate") as client:
                answer = await client.post("/", json={"sprint_id": "GEM-001-S01"})
            assert answer.status_code == 200, answer.text
            (sprint,) = originals.sprints
            assert list(sprint.tasks.values()) == [20, 70]

            async def is_filed() -> bool:
                return bool(originals.notes) and await knative.settled()

            await eventually(is_filed)
            assert {note["sprint_id"] for note in originals.notes} == {"GEM-001-S01"}
        finally:
            await asyncio.to_thread(knative.stop)
