"""The stage of the sagas: a tenant's realm and client are made, step by step."""

from __future__ import annotations

import time
from typing import Any

from knative.demo.stages import Failure, Morning

NAME = "tenantCreation"
WORKERS = {"realm-service": "createRealm", "client-service": "createClient"}


async def saga(morning: Morning) -> None:
    """A saga, tenantCreation: two workers do a step each; had one failed, both would be undone."""
    steps = [
        {"seq": number, "name": step, "objectType": "String"}
        for number, step in enumerate(WORKERS.values(), 1)
    ]
    await _register(morning, "tenant-service", {"as": "initiator", "type": "sequential"}, steps)
    for service, step in WORKERS.items():
        await _register(morning, service, {"as": "worker"}, [{"name": step}])
    run = await morning.call(
        "POST",
        "orchestrator",
        f"/api/orchestration/execute/{NAME}",
        params={"wait": 60},
        json={"tenantId": f"tenant-{int(time.time())}"},
    )
    await morning.settled()
    if run["run"] != "COMPLETED":
        raise Failure(f"saga {run['flowId']} is {run['run']}: {run.get('waitingFor') or run}")
    morning.tell(f"saga {run['flowId']} of {NAME} is completed")


async def _register(
    morning: Morning, service: str, role: dict[str, str], steps: list[dict[str, Any]]
) -> None:
    await morning.call(
        "POST",
        "orchestrator",
        "/api/orchestration/register",
        headers={"X-Service-Name": service},
        json={"orchName": NAME, **role, "steps": steps},
    )
