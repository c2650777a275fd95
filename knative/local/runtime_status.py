"""What a runtime runs, and how it is, as JSON."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from knative.local.health import problems
from knative.local.manifests.eventing import Trigger
from knative.local.manifests.load import UNENFORCED
from knative.local.manifests.references import address
from knative.local.translate import brokers

if TYPE_CHECKING:
    from knative.local.runtime import Runtime


def services_of(runtime: Runtime) -> list[dict[str, Any]]:
    """State, pid and counts of PostgreSQL and of every Service."""
    return [postgres.describe() for postgres in runtime.databases] + [
        {
            "name": revision.service.name,
            "namespace": revision.service.namespace,
            "state": str(revision.state),
            "pid": revision.pid,
            "starts": revision.counts.starts,
            "crashes": revision.counts.crashes,
            "requests": revision.counts.requests,
            "in_flight": revision.in_flight,
            "reason": revision.reason,
            "log": str(revision.log),
        }
        for revision in runtime.processes.revisions
    ]


async def describe(runtime: Runtime) -> dict[str, Any]:
    """What the overlay declares, what runs of it, and what is wrong."""
    counts = await runtime.broker.counts()
    found = {
        "url": runtime.url,
        "pid": os.getpid(),
        "data": str(runtime.data),
        "addresses": runtime.addresses(),
        "services": services_of(runtime),
        "triggers": [
            {
                "name": item.name,
                "namespace": item.namespace,
                "broker": item.spec.broker,
                "filter": item.spec.filter.attributes if item.spec.filter else None,
                "filters": item.spec.filters,
                "subscriber": address(item.spec.subscriber, item.namespace),
            }
            for item in runtime.world.all(Trigger)
        ],
        "schedules": [
            {
                "name": source.name,
                "namespace": source.namespace,
                "schedule": source.spec.schedule,
                "timezone": source.spec.timezone or "UTC",
                "times": [due.isoformat() for due in times],
            }
            for source, times in runtime.clock.schedules()
        ],
        "brokers": [f"{spec.namespace}/{spec.name}" for spec in brokers(runtime.world)],
        "counts": counts,
        "faults": runtime.faults.list(),
        "retrying": runtime.broker.retrying(),
        "clock": {
            "now": datetime.fromtimestamp(runtime.timeline.now(), UTC).isoformat(),
            "virtual": runtime.timeline.is_virtual,
        },
        "unapplied": [*runtime.unapplied.values()],
        "unenforced": sorted(str(i) for i in runtime.world.objects if isinstance(i, UNENFORCED)),
    }
    return found | {"problems": problems(found)}
