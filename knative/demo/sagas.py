"""The stage of the sagas: two steps create a tenant's realm and client."""

from __future__ import annotations

import time
from typing import Any

from knative.demo.stages import Demo, Failure

NAME = "tenantCreation"
WORKERS = {"realm-service": "createRealm", "client-service": "createClient"}


async def saga(demo: Demo) -> None:
    """A saga, tenantCreation: two workers do a step each; had one failed, both would be undone."""
    steps = [
        {"seq": number, "name": step, "objectType": "String"}
        for number, step in enumerate(WORKERS.values(), 1)
    ]
    await _register(demo, "tenant-service", {"as": "initiator", "type": "sequential"}, steps)
    for service, step in WORKERS.items():
        await _register(demo, service, {"as": "worker"}, [{"name": step}])
    run = await demo.call(
        "POST",
        "orchestrator",
        f"/api/orchestration/execute/{NAME}",
        params={"wait": 60},
        json={"tenantId": f"tenant-{int(time.time())}"},
    )
    await demo.settled()
    if run["run"] != "COMPLETED":
        raise Failure(f"saga {run['flowId']} is {run['run']}: {run.get('waitingFor') or run}")
    demo.print_line(f"saga {run['flowId']} of {NAME} is completed")


async def _register(
    demo: Demo, service: str, role: dict[str, str], steps: list[dict[str, Any]]
) -> None:
    await demo.call(
        "POST",
        "orchestrator",
        "/api/orchestration/register",
        headers={"X-Service-Name": service},
        json={"orchName": NAME, **role, "steps": steps},
    )
