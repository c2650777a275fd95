"""`GET /metrics`: read by prometheus-client's parser, as Prometheus does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from functions.dead_letter.main import dead_letter
from functions.events.schedule import ScheduleDue
from functions.job_launcher.main import job_launcher
from functions.kit import cloudevents
from functions.kit.context import Context
from functions.kit.contract import Gauges
from functions.kit.durable import inbox, outbox
from functions.kit.errors import NotFound, NotSent, TemporaryError
from functions.kit.process import metrics_page
from functions.kit.process.metrics_page import Tables
from functions.kit.telemetry import Gauge, Meter
from functions.orchestrator.main import orchestrator
from functions.sprint_report.main import sprint_report
from functions.webhook_receiver.main import webhook_receiver
from functions.webhook_receiver.refusals import Malformed
from tests.function.contract.test_serve import served
from tests.support.cluster import Cluster, message_of
from tests.support.dsm_services import World
from tests.support.slow_target import NapAsked

MORNING = datetime(2025, 8, 29, 13, 30, tzinfo=UTC)
LATE = MORNING + timedelta(seconds=90)
TICK = ScheduleDue(schedule="sprint-report", time=MORNING)

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


def samples(text: str) -> Samples:
    """Name and labels, without the function's own, to value."""
    return {
        (s.name, frozenset(i for i in s.labels.items() if i[0] != "function")): s.value
        for family in text_string_to_metric_families(text)
        for s in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found[name, frozenset(labels.items())]


async def scraped(ctx: Context, *readers: Gauges) -> Samples:
    return samples(await metrics_page.page(ctx, Tables(readers)))


async def test_a_process_counts_what_it_answers() -> None:
    headers, body = cloudevents.encode(message_of(NapAsked(), id="a"))
    async with served() as (_, url), httpx.AsyncClient(timeout=60) as client:
        await client.post(url, headers=headers, content=body)
        await client.post(url, headers=headers, content=b"{broken")
        await client.get(f"{url}/no/such/path")
        answer = await client.get(f"{url}/metrics")

    assert answer.headers["content-type"] == metrics_page.CONTENT_TYPE
    assert 'function_handled_total{function="slow-target"} 1' in answer.text
    found = samples(answer.text)
    assert value(found, "function_handled_total") == 1
    assert value(found, "function_failed_total", kind="malformed") == 1
    assert value(found, "function_failed_total", kind="not_found") == 1
    assert value(found, "function_events_total", type=NapAsked.type, outcome="ok") == 1
    assert value(found, "function_duration_seconds_count") == 3
    assert value(found, "function_duration_seconds_bucket", le="+Inf") == 3
    assert value(found, "function_in_flight") == 0


async def test_buckets_hold_all_that_took_no_longer() -> None:
    meter = Meter()

    async def nothing(scope: Any, receive: Any, send: Any) -> None: ...

    await meter.measured(nothing, {}, None, None)
    found = samples("\n".join((*meter.text({}), "")))
    buckets = [v for (name, _), v in found.items() if name == "function_duration_seconds_bucket"]
    assert buckets == sorted(buckets)
    assert value(found, "function_failed_total", kind="unexpected") == 1, "it answered nothing"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "malformed"),
        (401, "unauthenticated"),
        (403, "forbidden"),
        (405, "refused"),
        (422, "permanent"),
        (503, "temporary"),
        (500, "unexpected"),
    ],
)
async def test_a_failure_is_counted_by_its_kind(status: int, kind: str) -> None:
    meter = Meter()

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": []})

    async def send(message: Any) -> None: ...

    await meter.measured(failing, {}, None, send)
    assert +meter.failed == {kind: 1}, "the others are there, with 0"


async def test_a_tick_says_how_late_it_was_handled(
    cluster: Cluster, world: World, functions_database: str
) -> None:
    late = lambda: MORNING + timedelta(seconds=90)  # noqa: E731 - a clock is a small function
    ctx = cluster.deploy(sprint_report, {"DATABASE_URL": functions_database}, now=late)
    await cluster.tell("sprint-report", TICK)
    await cluster.tell("sprint-report", TICK)

    found = await scraped(ctx)
    name = "function_schedule_lateness_seconds"
    assert value(found, name, schedule="sprint-report") == 90
    found = await scraped(ctx, metrics_page.runs)
    events = {"type": TICK.type}
    assert value(found, "function_events_total", outcome="ok", **events) == 1
    assert value(found, "function_events_total", outcome="repeated", **events) == 1
    run = {"target": "sprint-report", "type": TICK.type, "outcome": "ok"}
    assert value(found, "function_runs_last_day", **run) == 1


async def test_any_function_of_the_database_tells_the_runs_of_all(
    cluster: Cluster, functions_database: str
) -> None:
    """A function at zero reports nothing, and another has to."""
    ctx = cluster.deploy(webhook_receiver, {"DATABASE_URL": functions_database})
    key = inbox.Key("cycle_trigger", "/s", "1")
    await inbox.remember_failure(ctx.store, key, "t", 1.0, KeyError("no"))

    found = await scraped(ctx, metrics_page.runs)
    run = {"target": "cycle-trigger", "type": "t", "outcome": "failed", "kind": "unexpected"}
    last = value(found, "function_last_run_timestamp_seconds", **run)
    assert abs(datetime.now(UTC).timestamp() - last) < 60


async def test_the_latest_tick_is_on_record_when_its_process_is_gone(
    cluster: Cluster, world: World, functions_database: str
) -> None:
    environ = {"DATABASE_URL": functions_database}
    ctx = cluster.deploy(sprint_report, environ)
    early = ScheduleDue(schedule="sprint-report", time=MORNING - timedelta(days=1))
    odd = ScheduleDue(schedule="a@b", time=MORNING, project_id="p@q", sprint_id="s")
    for tick in (early, TICK):
        await cluster.tell("sprint-report", tick)
    key = inbox.Key("another", TICK.type, odd.identity() or "")
    await inbox.remember_failure(ctx.store, key, TICK.type, 1.0, KeyError("no"))
    connection = await asyncpg.connect(functions_database)
    await connection.execute("UPDATE run SET took_ms = 500, ended_at = $1", LATE)
    await connection.execute("UPDATE run SET ended_at = $1 WHERE id LIKE '%28T%'", MORNING)
    await connection.close()

    other = cluster.deploy(dead_letter, environ)
    found = await scraped(other, metrics_page.runs)
    late = "function_schedule_lateness_seconds"
    last = "function_schedule_last_timestamp_seconds"
    for schedule in ("sprint-report", "a@b"):
        assert value(found, late, schedule=schedule) == 89.5
        assert value(found, last, schedule=schedule) == LATE.timestamp() - 0.5


@pytest.mark.parametrize(
    ("failure", "kind"),
    [
        (TemporaryError("project-service: away"), "temporary"),
        (NotSent("project-service: away"), "temporary"),
        (NotFound("sprint"), "permanent"),
        (Malformed("no body"), "permanent"),
        (KeyError("x"), "unexpected"),
    ],
)
async def test_a_failed_run_on_record_says_of_what_kind_it_was(
    failure: Exception, kind: str, cluster: Cluster, functions_database: str
) -> None:
    ctx = cluster.deploy(dead_letter, {"DATABASE_URL": functions_database})
    for id in ("1", "2"):
        key = inbox.Key("cycle_trigger", "/s", id)
        await inbox.remember_failure(ctx.store, key, "t", 1.0, failure)
    found = await scraped(ctx, metrics_page.runs)
    run = {"target": "cycle-trigger", "type": "t", "outcome": "failed", "kind": kind}
    assert value(found, "function_runs_last_day", **run) == 2


async def test_a_run_of_an_older_version_is_of_an_unexpected_kind(
    cluster: Cluster, functions_database: str
) -> None:
    ctx = cluster.deploy(dead_letter, {"DATABASE_URL": functions_database})
    async with ctx.store.connection() as connection:
        await connection.execute(
            """INSERT INTO run (function, source, id, type, took_ms, outcome, detail)
               VALUES ('cycle_trigger', '/s', '1', 't', 1.0, 'failed', 'NotFound: sprint')"""
        )
    found = await scraped(ctx, metrics_page.runs)
    run = {"target": "cycle-trigger", "type": "t", "outcome": "failed", "kind": "unexpected"}
    assert value(found, "function_runs_last_day", **run) == 1


async def test_the_tables_are_read_once_for_all_who_ask_at_one_time(cluster: Cluster) -> None:
    ctx = cluster.deploy(dead_letter)
    asked: list[float] = []

    async def read(ctx: Context) -> list[Gauge]:
        asked.append(time.monotonic())
        await asyncio.sleep(0)
        return [Gauge("asked", "help", len(asked))]

    kept = Tables([read])
    pages = await asyncio.gather(*(metrics_page.page(ctx, kept) for _ in range(9)))
    assert {value(samples(page), "asked") for page in pages} == {1}
    hasty = Tables([read], kept_s=0)
    assert value(samples(await metrics_page.page(ctx, hasty)), "asked") == 2
    assert value(samples(await metrics_page.page(ctx, hasty)), "asked") == 3


async def test_whether_the_database_answers_is_a_number(
    cluster: Cluster, functions_database: str
) -> None:
    up = cluster.deploy(dead_letter, {"DATABASE_URL": functions_database})
    assert value(await scraped(up, metrics_page.database), "function_database_up") == 1
    away = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}
    down = cluster.deploy(dead_letter, away)
    assert value(await scraped(down, metrics_page.database), "function_database_up") == 0


@pytest.mark.parametrize(
    ("header", "status"),
    [
        ({}, 200),
        ({"X-Forwarded-For": "192.0.2.7"}, 404),
        ({"Forwarded": "for=192.0.2.7"}, 404),
        ({"K-Proxy-Request": "activator"}, 404),
    ],
    ids=["the-pod-itself", "queue-proxy", "forwarded", "activator"],
)
async def test_only_who_reads_the_pod_itself_gets_them(header: dict[str, str], status: int) -> None:
    async with served() as (_, url), httpx.AsyncClient(timeout=60) as client:
        answer = await client.get(f"{url}/metrics", headers=header)
    assert answer.status_code == status
    assert ("function_handled_total" in answer.text) == (status == 200)


async def test_dead_letters_are_counted_by_state(cluster: Cluster, functions_database: str) -> None:
    ctx = cluster.deploy(dead_letter, {"DATABASE_URL": functions_database})
    await cluster.tell("dead-letter", TICK)

    found = await scraped(ctx, _gauges(dead_letter))
    assert value(found, "dead_letters", state="open") == 1
    assert value(found, "dead_letters_kept_total") == 1
    assert value(found, "dead_letters", state="redriven") == 0
    assert value(found, "dead_letters_oldest_open_seconds") > 0


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        (dead_letter, {"dead_letters_oldest_open_seconds", "dead_letters_kept_total"}),
        (job_launcher, {"jobs", "function_queue_waiting", "function_queue_oldest_seconds"}),
        (webhook_receiver, {"deliveries"}),
        (
            orchestrator,
            {"saga_runs", "saga_waiting_oldest_seconds", "saga_timer_late_seconds"},
        ),
    ],
    ids=["dead-letter", "job-launcher", "webhook-receiver", "orchestrator"],
)
async def test_empty_tables_are_zeros_and_no_gap(
    target: object, expected: set[str], cluster: Cluster, functions_database: str
) -> None:
    ctx = cluster.deploy(target, {"DATABASE_URL": functions_database})
    found = await scraped(ctx, _gauges(target))
    assert {v for (name, _), v in found.items() if name in expected} == {0}
    assert expected <= {name for name, _ in found}
    assert value(found, "function_unread_gauges") == 0


async def test_every_function_with_tables_tells_of_the_outbox(
    cluster: Cluster, functions_database: str
) -> None:
    ctx = cluster.deploy(dead_letter, {"DATABASE_URL": functions_database})
    message = cloudevents.Message("1", "/functions/dead-letter", "test.happened.v1")
    async with ctx.store.transaction() as tx:
        await outbox.put(tx, "dead_letter", [message], lease=0)
    found = await scraped(ctx, metrics_page.outbox)
    assert value(found, "function_outbox_waiting") == 1
    assert value(found, "function_outbox_oldest_seconds") > 0


async def test_tables_that_cannot_be_read_do_not_hide_the_rest(cluster: Cluster) -> None:
    environ = {"DATABASE_URL": "postgresql://nobody@127.0.0.1:9/none"}
    ctx = cluster.deploy(dead_letter, environ)
    found = await scraped(ctx, metrics_page.runs, _gauges(dead_letter))
    assert value(found, "function_unread_gauges") == 2
    assert value(found, "function_in_flight") == 0


@pytest.mark.parametrize("odd", ['a"b', "a\\b", "a\nb", "é {x}"], ids=ascii)
async def test_any_text_can_be_a_label(odd: str, cluster: Cluster) -> None:
    ctx = cluster.deploy(dead_letter)

    async def read(ctx: Context) -> list[Gauge]:
        labels: Mapping[str, str] = {"emitted": odd}
        return [Gauge("odd", "help", 0.5, labels), Gauge("even", "help", 2.0), Gauge("odd", "h", 1)]

    found = await scraped(ctx, read)
    assert value(found, "odd", emitted=odd) == 0.5
    assert value(found, "even") == 2.0


def _gauges(target: object) -> Gauges:
    declared = getattr(target, "spec", None) or target.api  # type: ignore[attr-defined]  # one of both
    found: Gauges = declared.gauges
    return found
