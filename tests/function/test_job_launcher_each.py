"""Of several Jobs that one event asks for, one that cannot be made costs the others nothing."""

from __future__ import annotations

import json
from pathlib import Path

from functions.kit import wire
from tests.cluster import Cluster
from tests.function.test_job_launcher_answers import MADE, deploy
from tests.kube_peer import Say, kube_peer
from tests.unit.test_job_each import ROUTE


async def test_a_bad_item_has_its_own_failed_row_and_event(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    items = [
        {"task": "one", "service": "s", "what": "w"},
        {"task": "bad", "service": "s"},
        {"task": "two", "service": "s", "what": "w"},
    ]
    async with kube_peer(tmp_path, Say(201, body=MADE)) as peer:
        world = deploy(cluster, functions_database, peer)
        (tmp_path / "routes.yaml").write_text(ROUTE)
        message = wire.Message("e1", "/tests", "test.run", json.dumps({"items": items}).encode())
        for _ in range(2):
            assert (await world.tell(message)).status_code == 202

        assert {job["task_id"]: job["state"] for job in await world.jobs()} == {
            "one": "starting",
            "bad": "failed",
            "two": "starting",
        }
        assert sorted(world.types()) == ["failed", "queued", "queued"]
        (fact,) = world.said("failed")
        assert (fact["task_id"], fact["reason"]) == ("bad", "Refused")
        assert "the event has no item.what" in fact["message"]
        assert fact["message"] in (await world.jobs(task="bad"))[0]["reason"]
        await world.sweep()
        assert len([name for name in world.types() if name == "failed"]) == 1
