"""What sprint-service says carries the trace and the cause of the request that it came from."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import asyncpg
import httpx
import pytest

from functions.events.schedule import ScheduleDue
from functions.events.sprint import SprintStarted
from functions.events.task import TaskUpdated
from functions.kit import cloudevents
from functions.kit.clients.service import header_key
from tests.dsm.conftest import Dsm
from tests.support import eventually

TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
CAUSE = {
    "traceparent": TRACEPARENT,
    "baggage": "correlationid=sprint-report%2F2025-08-29,causationid=an-event,user=ada",
}
CARRIED = {
    "traceparent": TRACEPARENT,
    "correlationid": "sprint-report/2025-08-29",
    "causationid": "an-event",
}


async def test_events_carry_the_cause_that_came_by_way_of_another_service(dsm: Dsm) -> None:
    await dsm.project()
    await dsm.backlog()

    async with dsm.cluster.client("project-orchestrator") as client:
        answer = await client.post("/orchestrate/project/GEM-001", json={}, headers=CAUSE)

    assert answer.is_success, answer.text
    emitted = dsm.cluster.sink.messages
    assert {m.type for m in emitted} == {SprintStarted.type, TaskUpdated.type}
    assert [_why(m) for m in emitted] == [CARRIED] * 11


async def test_an_event_that_leaves_later_carries_the_same(dsm: Dsm) -> None:
    sprint = await dsm.sprint()
    dsm.cluster.sink.messages.clear()
    dsm.cluster.down.add("broker-ingress")
    task = (await dsm.get("sprint-service", f"/sprints/{sprint}/tasks"))[0]["task_id"]
    async with dsm.cluster.client("sprint-service") as client:
        body = {"progress_percentage": 50}
        answer = await client.post(f"/tasks/{task}/progress", json=body, headers=CAUSE)
    assert answer.is_success, answer.text
    dsm.cluster.down.clear()

    assert _why(await _sent(dsm)) == CARRIED


async def test_what_one_request_says_belongs_together_also_without_a_cause(dsm: Dsm) -> None:
    await dsm.sprint()
    emitted = dsm.cluster.sink.messages
    assert len({m.extensions["correlationid"] for m in emitted}) == 1
    assert all("causationid" not in m.extensions for m in emitted)


async def test_what_an_older_version_has_kept_still_leaves(
    dsm: Dsm, dsm_databases: dict[str, str]
) -> None:
    sprint = await dsm.sprint()
    dsm.cluster.sink.messages.clear()
    task = (await dsm.get("sprint-service", f"/sprints/{sprint}/tasks"))[0]["task_id"]
    notes = {"project_id": "GEM-001"}
    again = notes | {"sprint_id": sprint, "sprint_goal": "again", "planned_tasks": [task]}
    placed = {"task_id": task, "status": "x", "progress_percentage": 7, "assigned_to": None}
    placements = {"updated_at": "2099-01-01T00:00:00Z", "tasks": [placed | {"sprint_id": sprint}]}
    event = {"type": "t", "subject": "s", "time": "2025-08-29T13:30:00Z", "data": {}}
    kept = {"placements": placements, "sprint_planning": again, "event": event}
    connection = await asyncpg.connect(dsm_databases["sprint_service"])
    await connection.executemany(
        """INSERT INTO outbox (request, project_id, sprint_id, kind, body)
           VALUES ('r', 'GEM-001', $1, $2, $3)""",
        [(sprint, kind, json.dumps(body)) for kind, body in kept.items()],
    )
    await connection.close()

    tick = ScheduleDue(schedule="sprint-outbox", time=datetime.now(UTC))
    assert (await dsm.cluster.tell("sprint-service", tick)).status_code == 202

    emitted = await _sent(dsm)
    assert emitted.extensions == {"partitionkey": "s", "correlationid": emitted.id}
    backlog = await dsm.get("backlog-service", "/backlogs/GEM-001")
    assert [t["progress_percentage"] for t in backlog if t["task_id"] == task] == [7]
    assert len(await dsm.get("chronicle-service", "/v1/notes/sprint_planning", **notes)) == 2


@pytest.mark.parametrize(
    "headers",
    [
        {"traceparent": "nonsense"},
        {"traceparent": "00-" + "g" * 32 + "-b7ad6b7169203331-01", "tracestate": "a=b"},
        {"baggage": "correlationid=%00,causationid"},
        {"baggage": f"correlationid={'x' * 300}"},
        {"baggage": "=;,,=="},
    ],
    ids=["no-trace", "no-hex", "unprintable", "long", "empty"],
)
async def test_what_cannot_be_kept_is_left_out(dsm: Dsm, headers: dict[str, str]) -> None:
    await dsm.project()
    await dsm.backlog()
    async with dsm.cluster.client("sprint-service") as client:
        body = {"sprint_name": "s", "duration_weeks": 2}
        answer = await client.post(
            "/sprints/GEM-001", json=body, headers=httpx.Headers(headers | {"Idempotency-Key": "k"})
        )
    assert answer.status_code == 201, answer.text
    assert {tuple(_why(m).items()) for m in dsm.cluster.sink.messages} == {
        (("correlationid", header_key("k")),)
    }


async def _sent(dsm: Dsm) -> cloudevents.Message:
    """The one event that the broker gets."""

    async def any_left() -> bool:
        return bool(dsm.cluster.sink.messages)

    assert await eventually(any_left)
    (emitted,) = dsm.cluster.sink.messages
    return emitted


def _why(message: cloudevents.Message) -> dict[str, str]:
    return {n: v for n, v in message.extensions.items() if n != "partitionkey"}
