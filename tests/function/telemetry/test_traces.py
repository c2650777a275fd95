"""Traces, as a real collector gets them from real processes; and nothing of them when off."""

from __future__ import annotations

import asyncio
import json
import pkgutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import httpx
import opentelemetry.semconv._incubating.attributes as published
import pytest

from functions.events.saga import RegistrationDecided, StepCommanded
from functions.events.schedule import ScheduleDue
from functions.events.sprint import SprintsReported
from functions.kit import cloudevents
from functions.kit.durable import migrate
from tests.conftest import MakeMigrated
from tests.function.contract.test_serve import served, start
from tests.support.cluster import message_of
from tests.support.console_browser import UNHURRIED
from tests.support.kubernetes_peer import Say, kube_peer
from tests.support.otlp_collector import Collector, Seen, collector
from tests.support.slow_target import NapAsked

TICK = ScheduleDue(schedule="sprint-report", time=datetime(2025, 8, 29, 13, 30, tzinfo=UTC))


@dataclass
class Town:
    """Processes by name, and the collector that all of them tell."""

    collector: Collector
    urls: dict[str, str]
    processes: list[asyncio.subprocess.Process]

    async def tell(self, name: str, message: cloudevents.Message, **headers: str) -> httpx.Response:
        emitted, body = cloudevents.encode(message)
        async with httpx.AsyncClient(timeout=30) as client:
            url = self.urls[name]
            return await client.post(url, headers=[*emitted, *headers.items()], content=body)

    async def received(self) -> Collector:
        """Everything: a process sends what is left when it ends."""
        for process in reversed(self.processes):  # the services last, and the sink of what is left
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await process.wait()
        return self.collector


@pytest.fixture
def otlp() -> Iterator[Collector]:
    with collector() as found:
        yield found


@pytest.fixture
async def town(otlp: Collector, make_migrated: MakeMigrated) -> AsyncIterator[Town]:
    """sprint-report with the services that it asks, and dead-letter as its sink."""
    databases = {
        "project_service": await make_migrated("project_service"),
        "sprint_service": await make_migrated("sprint_service"),
        "dead_letter": await make_migrated(*migrate.owners()),
    }
    databases["sprint_report"] = databases["dead_letter"]
    traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url, "FUNCTION_SOURCE": ""}
    found = Town(otlp, {}, [])
    async with AsyncExitStack() as stack:
        for name, database in databases.items():
            places = {f"{n.upper()}_URL": url for n, url in found.urls.items()}
            sink = {"K_SINK": found.urls["dead_letter"]} if "dead_letter" in found.urls else {}
            environ = {**traced, **places, **sink, "DATABASE_URL": database}
            started = served(FUNCTION_TARGET=name, **environ)
            process, found.urls[name] = await stack.enter_async_context(started)
            found.processes.append(process)
        yield found


def test_nothing_of_opentelemetry_is_imported_unless_it_is_asked_for() -> None:
    """In a process that has served, with database and HTTP client."""
    code = """
import asyncio, sys
from functions.kit.process.serve import Application, source_of
from functions.kit.context import process_context
from functions.kit.telemetry import trace
from functions.kit.settings import ProcessSettings
trace.start(trace.TraceSettings.read(), ProcessSettings.read())
app = trace.served(Application("dead_letter", source_of("dead_letter")))
async def main():
    async def receive(): return {"type": "http.request", "body": b"{}"}
    async def send(message): pass
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [], "query_string": b""}
    await app(scope, receive, send)
    process_context("dead_letter").http
asyncio.run(main())
spans = "functions.kit.telemetry.spans"
loaded = [n for n in sys.modules if n.startswith("opentelemetry") or n == spans]
print(loaded, type(app).__name__)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={}
    )
    assert done.stdout.splitlines()[-1] == "[] Application"


async def test_one_trace_holds_the_tick_and_all_that_it_causes(town: Town) -> None:
    tick = message_of(TICK, id="a-tick", source="/apis/v1/namespaces/dsm/pingsources/sprint-report")

    answer = await town.tell("sprint_report", tick)
    assert answer.status_code == 202, answer.text

    seen = await town.received()
    assert {s.service for s in seen.spans} == {
        *("sprint-report", "project-service", "sprint-service", "dead-letter")
    }
    assert len({s.trace for s in seen.spans}) == 1
    ours = "sprint-report: process dev.knative.sources.ping"
    assert seen.above(seen.one("project-service", "SELECT")) == [
        "project-service: GET /projects",
        "sprint-report: GET",
        ours,
        "sprint-report: POST /",
    ]
    stored = seen.above(seen.of("dead-letter", "INSERT dead_letter")[0])
    created = f"sprint-report: create {SprintsReported.type}"
    assert stored == [
        "dead-letter: transaction",
        f"dead-letter: process {SprintsReported.type}",
        "dead-letter: POST /",
        created,
        ours,
        "sprint-report: POST /",
    ]
    roots = [s for s in seen.spans if not s.parent]
    assert [(s.service, s.kind) for s in roots] == [("sprint-report", "SERVER")]


async def test_what_is_published_is_in_the_trace_of_the_request(town: Town) -> None:
    async with httpx.AsyncClient(timeout=30) as client:
        answer = await client.post(
            town.urls["sprint_report"],
            json={},
            headers={"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
        )
    assert answer.json()["published"] is True

    seen = await town.received()
    assert {s.trace for s in seen.spans} == {"0af7651916cd43dd8448eb211c80319c"}
    got = seen.one("dead-letter", "POST /")
    sending = next(s for s in seen.of("sprint-report") if s.name == "POST")
    assert seen.above(got)[0] == f"sprint-report: create {SprintsReported.type}"
    assert got.links == (sending.id,), "the header says how the event came"


async def test_spans_say_what_the_conventions_name(town: Town) -> None:
    tick = message_of(TICK, id="a-tick", source="/ping")
    await town.tell("sprint_report", tick)
    await town.tell("sprint_report", tick)

    seen = await town.received()
    first, second = seen.of("sprint-report", "POST /")
    assert (first.attributes["faas.coldstart"], second.attributes["faas.coldstart"]) == (
        True,
        False,
    )
    expected = {
        "faas.trigger": "timer",
        "http.request.method": "POST",
        "http.route": "/",
        "http.response.status_code": 202,
        "url.scheme": "http",
        "cloudevents.event_id": "a-tick",
        "cloudevents.event_source": "/ping",
        "cloudevents.event_type": "dev.knative.sources.ping",
    }
    assert expected.items() <= first.attributes.items()
    call = next(s for s in seen.of("sprint-report", "GET") if s.kind == "CLIENT")
    assert call.attributes["http.response.status_code"] == 200
    assert call.attributes["url.full"].startswith("http://127.0.0.1:")
    statement = seen.of("project-service", "SELECT")[0]
    assert statement.attributes["db.system.name"] == "postgresql"
    assert statement.attributes["db.query.text"].startswith("SELECT ")
    assert _kinds(seen.spans) == {"SERVER", "CONSUMER", "PRODUCER", "CLIENT"}
    assert _names(seen.spans) - _published() == set()


async def test_a_failure_is_marked_with_its_kind(town: Town) -> None:
    town.processes[0].send_signal(signal.SIGTERM)
    await town.processes[0].wait()

    answer = await town.tell("sprint_report", message_of(TICK))

    assert answer.status_code == 503
    seen = await town.received()
    served_, work = seen.one("sprint-report", "POST /"), seen.one("sprint-report", "process")
    assert (served_.failed, served_.attributes["error.type"]) == (True, "503")
    assert (work.failed, work.attributes["error.type"]) == (True, "NotSent")
    calls = [s for s in seen.of("sprint-report", "GET") if s.attributes.get("error.type")]
    assert calls
    assert all(s.failed for s in calls)


async def test_calls_of_kubernetes_are_in_the_trace_and_carry_it(
    otlp: Collector, tmp_path: Path
) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    given = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
    async with kube_peer(tmp_path, Say(200, body={"items": []}), Say(503)) as peer:
        environ = {"FUNCTION_TARGET": "console", "KUBECONFIG": peer.kubeconfig, **UNHURRIED}
        environ |= {"FUNCTION_SOURCE": "", "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url}
        async with served(**environ) as (process, url), httpx.AsyncClient(timeout=30) as client:
            for _ in range(2):
                await client.get(f"{url}/schedules", headers=given)
            process.send_signal(signal.SIGTERM)
            await process.wait()

        good, bad = sorted(
            (s for s in otlp.of("console", "GET") if s.attributes.get("server.port") == peer.port),
            key=lambda span: str(span.attributes["http.response.status_code"]),
        )
        path = "/apis/sources.knative.dev/v1/namespaces/default/pingsources"
        assert {good.trace, bad.trace} == {trace_id}
        assert (good.kind, good.failed) == ("CLIENT", False)
        assert good.attributes["url.full"] == f"http://127.0.0.1:{peer.port}{path}"
        assert (bad.failed, bad.attributes["error.type"]) == (True, "503")
        assert [t.split("-")[1:3] for t in peer.traces] == [
            [trace_id, good.id],
            [trace_id, bad.id],
        ]


async def test_what_the_orchestrator_says_is_created_where_it_was_asked_for(
    otlp: Collector, make_migrated: MakeMigrated
) -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    given = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
    database = await make_migrated(*migrate.owners())
    environ = {"FUNCTION_SOURCE": "", "OTEL_EXPORTER_OTLP_ENDPOINT": otlp.url}
    environ |= {"DATABASE_URL": database}
    async with (
        served(FUNCTION_TARGET="dead_letter", **environ) as (sink, sink_url),
        served(FUNCTION_TARGET="orchestrator", K_SINK=sink_url, **environ) as (process, url),
        httpx.AsyncClient(base_url=f"{url}/api/orchestration", timeout=30) as client,
    ):
        saga = {"orchName": "o", "as": "initiator", "type": "sequential", "steps": [{"name": "s"}]}
        worker = {"orchName": "o", "as": "worker", "steps": [{"name": "s"}]}
        for body in (saga, worker):
            answer = await client.post("/register", json=body, headers={"X-Service-Name": "w"})
            assert answer.is_success, answer.text
        answer = await client.post("/execute/o", json={}, headers=given)
        assert answer.is_success, answer.text
        for one in (process, sink):
            one.send_signal(signal.SIGTERM)
            await one.wait()

    made = otlp.one("orchestrator", f"create {StepCommanded.type}")
    assert (made.kind, made.trace) == ("PRODUCER", trace_id)
    assert otlp.above(made)[-1] == "orchestrator: POST /api/orchestration/execute/{orch_name}"
    kept = [s for s in otlp.of("dead-letter", "INSERT dead_letter") if s.trace == trace_id]
    assert f"orchestrator: create {StepCommanded.type}" in otlp.above(kept[0])
    assert len(otlp.of("orchestrator", f"create {RegistrationDecided.type}")) == 2


async def test_logs_carry_the_trace(otlp: Collector) -> None:
    lines = await _logged(message_of(NapAsked(), id="x"), OTEL_EXPORTER_OTLP_ENDPOINT=otlp.url)
    (span,) = otlp.of("slow-target", "process")
    assert [line["trace_id"] for line in lines if line["event"] == "handled"] == [span.trace]


async def test_logs_carry_the_trace_of_an_event_with_tracing_off() -> None:
    trace_id = "0af7651916cd43dd8448eb211c80319c"
    given = {"traceparent": f"00-{trace_id}-b7ad6b7169203331-01"}
    lines = await _logged(replace(message_of(NapAsked(), id="x"), extensions=given))
    assert [line["trace_id"] for line in lines if line["event"] == "handled"] == [trace_id]


async def test_a_collector_that_is_away_costs_no_answer() -> None:
    event = message_of(NapAsked(), id="x")
    lines = await _logged(event, OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:9")
    assert "handled" in [line["event"] for line in lines]


async def test_a_collector_that_takes_and_never_answers_holds_up_no_end() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        endpoint = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        event = message_of(NapAsked(), id="x")
        began = time.monotonic()
        async with served(OTEL_EXPORTER_OTLP_ENDPOINT=endpoint) as (process, url):
            headers, body = cloudevents.encode(event)
            async with httpx.AsyncClient(timeout=60) as client:
                assert (await client.post(url, headers=headers, content=body)).status_code == 200
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            await process.communicate()
    assert time.monotonic() - began < 8.0, "ten seconds is an exporter's own patience"


async def _logged(event: cloudevents.Message, **environ: str) -> list[dict[str, str]]:
    """The lines of a process that got one event and then had to go."""
    async with served(LOG_LEVEL="INFO", **environ) as (process, url):
        headers, body = cloudevents.encode(event)
        async with httpx.AsyncClient(timeout=60) as client:
            assert (await client.post(url, headers=headers, content=body)).status_code == 200
        process.send_signal(signal.SIGTERM)
        output, _ = await asyncio.wait_for(process.communicate(), timeout=60)
    return [json.loads(line) for line in output.decode().splitlines()]


@pytest.mark.parametrize(
    ("environ", "says"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4317"}, "OTEL_EXPORTER_OTLP_ENDPOINT"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "OTEL_EXPORTER_OTLP_PROTOCOL"),
    ],
    ids=["no-url", "grpc"],
)
async def test_a_setting_that_cannot_work_is_named(environ: dict[str, str], says: str) -> None:
    process = await start(FUNCTION_SOURCE="", FUNCTION_TARGET="sprint_report", **environ)
    _, errors = await process.communicate()
    assert process.returncode == 1
    assert says in errors.decode()


def _kinds(spans: list[Seen]) -> set[str]:
    return {span.kind for span in spans}


def _names(spans: list[Seen]) -> set[str]:
    return {n for s in spans for n in (*s.attributes, *s.resource)}


def _published() -> set[str]:
    """Every attribute name that OpenTelemetry's conventions have."""
    found: set[str] = set()
    for module in pkgutil.iter_modules(published.__path__):
        names = vars(import_module(f"{published.__name__}.{module.name}")).values()
        found |= {name for name in names if isinstance(name, str)}
    return found
