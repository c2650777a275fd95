"""sprint-service tells others what happened, whoever hangs, refuses, is away or has died."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.requests import Request
from starlette.responses import Response

from functions.dsm.sprint_service.main import sprint_service
from functions.dsm.sprint_service.outgoing import relay
from functions.events.schedule import ScheduleDue
from functions.events.sprint import SprintStarted
from functions.kit import cloudevents
from functions.kit.context import Context
from functions.kit.durable.outbox import unsent
from functions.kit.process import metrics_page
from tests.dsm.conftest import Dsm
from tests.function.contract.test_serve import served
from tests.support import eventually
from tests.support.crashing_cluster import Killed

TIMEOUT_S = 5.0  # of cycle-trigger with a call


async def hang(scope: Any, receive: Any, send: Any) -> None:
    """A service that takes a request and never answers."""
    await asyncio.Event().wait()


@pytest.fixture
async def prompt(dsm: Dsm) -> AsyncIterator[None]:
    """An answer comes before all that was committed with it has left, as on a socket."""
    dsm.cluster.waits = False
    yield
    dsm.cluster.waits = True
    await all_die(dsm)


async def all_die(dsm: Dsm) -> None:
    for name in ("sprint-service", "project-orchestrator"):
        await dsm.cluster.crash(name)


async def test_a_chronicle_that_hangs_is_a_warning_within_the_callers_timeout(
    dsm: Dsm, dsm_databases: dict[str, str], prompt: None
) -> None:
    sprint = await dsm.sprint()
    await dsm.orchestrate()
    await dsm.finish(sprint)
    chronicle = dsm.cluster.apps["chronicle-service"]
    dsm.cluster.add("chronicle-service", hang)
    began = time.monotonic()

    async with asyncio.timeout(2 * TIMEOUT_S):
        closed = await dsm.orchestrate(key="close")
        started_at = time.monotonic()
        await dsm.backlog()
        started = await dsm.orchestrate(key="start")

    assert started_at - began < TIMEOUT_S
    assert time.monotonic() - started_at < TIMEOUT_S
    assert any("chronicle-service: no answer" in w for w in closed["decisions"]["warnings"])
    assert started["sprint_id"] == "GEM-001-S02"

    await all_die(dsm)
    dsm.cluster.waits = True
    dsm.cluster.add("chronicle-service", chronicle)
    await leases_end(dsm_databases)
    await sent(_process(dsm, dsm_databases))
    at = "/v1/notes/sprint_retrospective"
    assert len(await dsm.get("chronicle-service", at, project_id="GEM-001")) == 1


async def test_a_chronicle_that_needs_time_to_start_has_all_notes_in_the_end(dsm: Dsm) -> None:
    await dsm.project()
    await dsm.backlog()
    chronicle = dsm.cluster.apps["chronicle-service"]
    started = asyncio.Event()
    asyncio.get_running_loop().call_later(2.0, started.set)

    async def cold(scope: Any, receive: Any, send: Any) -> None:
        await started.wait()
        await chronicle(scope, receive, send)

    dsm.cluster.add("chronicle-service", cold)

    await dsm.orchestrate()

    for kind in ("sprint_planning", "decision_audit"):
        at = f"/v1/notes/{kind}"
        assert len(await dsm.get("chronicle-service", at, project_id="GEM-001")) == 1


async def test_one_note_that_hangs_is_in_no_others_way(dsm: Dsm, prompt: None) -> None:
    chronicle = dsm.cluster.apps["chronicle-service"]
    dsm.cluster.add("chronicle-service", hang)
    await dsm.sprint("SLOW-001")
    dsm.cluster.add("chronicle-service", chronicle)

    await dsm.sprint("FAST-001")

    at = "/v1/notes/sprint_planning"
    assert len(await dsm.get("chronicle-service", at, project_id="FAST-001")) == 1


async def test_an_event_that_the_sink_refuses_keeps_no_other_back(dsm: Dsm) -> None:
    sink = dsm.cluster.sink

    async def picky(scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        if request.headers["ce-type"] == SprintStarted.type:
            await Response(status_code=400)(scope, receive, send)
            return
        sink.messages.append(cloudevents.decode(request.headers.raw, await request.body()))
        await Response(status_code=202)(scope, receive, send)

    dsm.cluster.add("broker-ingress", picky)
    body = {"sprint_name": "s", "duration_weeks": 2}
    await dsm.project()
    await dsm.backlog()
    await dsm.post("sprint-service", "/sprints/GEM-001", body, key="k")
    await dsm.post("sprint-service", "/sprints/GEM-001", body, key="k")

    assert len(sink.messages) == 10, "the ten tasks' events left once, by themselves"


@pytest.mark.parametrize("away", ["broker-ingress", "chronicle-service"])
async def test_a_round_tells_what_a_service_that_was_away_has_missed(
    dsm: Dsm, dsm_databases: dict[str, str], away: str
) -> None:
    dsm.cluster.down.add(away)
    await dsm.sprint()
    dsm.cluster.down.clear()

    await sent(_process(dsm, dsm_databases))

    assert len(dsm.cluster.sink.messages) == 11
    at = "/v1/notes/sprint_planning"
    assert len(await dsm.get("chronicle-service", at, project_id="GEM-001")) == 1


async def test_what_waits_to_leave_is_a_number(dsm: Dsm, dsm_databases: dict[str, str]) -> None:
    dsm.cluster.down.add("broker-ingress")
    await dsm.sprint()
    process = _process(dsm, dsm_databases)

    assert (await _outbox(process))["function_outbox_waiting"] == 11
    assert (await _outbox(process))["function_outbox_oldest_seconds"] > 0
    dsm.cluster.down.clear()

    async def none_waits() -> bool:
        return set((await _outbox(process)).values()) == {0}

    assert await eventually(none_waits)


async def test_a_sweep_sends_the_backlog_what_is_not_repeated(
    dsm: Dsm, dsm_databases: dict[str, str]
) -> None:
    sprint = await dsm.sprint()
    dsm.cluster.down.add("backlog-service")
    assert "backlog-service" in await dsm.refused(
        503, "POST", "sprint-service", f"/sprints/{sprint}/close"
    )
    dsm.cluster.down.clear()

    await sent(_process(dsm, dsm_databases))

    backlog = await dsm.get("backlog-service", "/backlogs/GEM-001")
    assert {task["status"] for task in backlog} == {"unassigned"}


async def test_the_tick_alone_sends_what_a_killed_process_left(
    dsm: Dsm, dsm_databases: dict[str, str]
) -> None:
    sprint = await dsm.sprint()
    dsm.cluster.doom(1, "before", "everything")
    with pytest.raises(Killed):
        await dsm.call("POST", "sprint-service", f"/sprints/{sprint}/close")
    assert dsm.cluster.revive()
    _process(dsm, dsm_databases)
    calls = await leases_end(dsm_databases)
    assert calls == ["placements", "sprint_retrospective"]

    tick = ScheduleDue(schedule="sprint-outbox", time=datetime.now(UTC))
    assert (await dsm.cluster.tell("sprint-service", tick)).status_code == 202
    (run,) = (await dsm.get("sprint-service", "/runs", type=tick.type))["runs"]
    assert run["id"] == tick.identity()

    await dsm.cluster.relayed()
    backlog = await dsm.get("backlog-service", "/backlogs/GEM-001")
    assert {task["status"] for task in backlog} == {"unassigned"}
    at = "/v1/notes/sprint_retrospective"
    assert len(await dsm.get("chronicle-service", at, project_id="GEM-001")) == 1


async def test_another_schedules_tick_is_refused(dsm: Dsm) -> None:
    tick = ScheduleDue(schedule="sprint-report", time=datetime.now(UTC))
    assert (await dsm.cluster.tell("sprint-service", tick)).status_code == 400


@pytest.mark.parametrize("forged", ["time", "nominal_time"])
@pytest.mark.parametrize(
    ("service", "schedule"),
    [("sprint-service", "sprint-outbox"), ("project-orchestrator", "decision-outbox")],
)
async def test_a_tick_of_another_time_is_refused(
    service: str, schedule: str, forged: str, dsm: Dsm
) -> None:
    now = datetime.now(UTC)
    times = {"time": now, forged: now + timedelta(days=2)}
    tick = ScheduleDue.model_validate({"schedule": schedule, **times})
    response = await dsm.cluster.tell(service, tick)
    assert response.status_code == 422
    assert "has not come yet" in response.json()["detail"]
    assert (await dsm.get(service, "/runs"))["runs"] == []


async def test_a_process_begins_with_a_round(dsm: Dsm, dsm_databases: dict[str, str]) -> None:
    dsm.cluster.down.add("broker-ingress")
    await dsm.sprint()
    await dsm.cluster.close()  # what could not be sent is given back
    url = dsm_databases["sprint_service"]
    await leases_end(dsm_databases)
    got: list[bytes] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        got.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(b"HTTP/1.1 202 Accepted\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    async def all_sent() -> bool:
        return len(got) == 11

    async with await asyncio.start_server(take, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        sprint_service_process = {
            "FUNCTION_SOURCE": "",
            "FUNCTION_TARGET": "sprint_service",
            "DATABASE_URL": url,
            "K_SINK": f"http://127.0.0.1:{port}",
        }
        async with served(**sprint_service_process):
            await eventually(all_sent)


async def _outbox(process: Context) -> dict[str, float]:
    page = await metrics_page.page(process, metrics_page.Tables([metrics_page.outbox]))
    families = text_string_to_metric_families(page)
    samples = [sample for family in families for sample in family.samples]
    return {s.name: s.value for s in samples if s.name.startswith("function_outbox")}


async def leases_end(databases: dict[str, str]) -> list[str]:
    """Let another process take over what a dead one has leased; the calls that it has not made."""
    connection = await asyncpg.connect(databases["sprint_service"])
    await connection.execute("UPDATE outbox_event SET leased_until = now()")
    calls = await connection.fetch(
        "SELECT message ->> 'type' AS type FROM outbox_event WHERE is_call ORDER BY number"
    )
    await connection.close()
    return [row["type"] for row in calls]


async def sent(process: Context) -> None:
    """Return once a process has sent all that waits."""
    relay(process).start()

    async def none_waits() -> bool:
        return (await unsent(process.store)).count == 0

    assert await eventually(none_waits)


def _process(dsm: Dsm, databases: dict[str, str]) -> Context:
    """A process of sprint-service."""
    return dsm.cluster.deploy(sprint_service, {"DATABASE_URL": databases["sprint_service"]})
