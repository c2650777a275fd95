"""The Functions page: status by Kubernetes, the last hour by each record of runs."""

from __future__ import annotations

import asyncio
import html
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from functions.console.main import console
from functions.events.schedule import ScheduleDue
from functions.sprint_report.main import sprint_report
from tests.support.cluster import Cluster
from tests.support.console_browser import LOCAL, browser
from tests.support.dsm_services import World
from tests.support.kubernetes_peer import Say, kube_peer

NOW = datetime(2026, 3, 6, 15, tzinfo=UTC)


def record(*runs: dict[str, Any]) -> Starlette:
    async def answered(request: Request) -> Response:
        if since := request.query_params.get("since"):
            assert datetime.fromisoformat(since) == NOW - timedelta(hours=1)
        answer: dict[str, Any] = {"runs": list(runs), "next": None}
        if request.query_params.get("outbox"):
            answer["outbox"] = {"waiting": 3, "oldest_ms": 75_200}
        return JSONResponse(answer)

    return Starlette(routes=[Route("/runs", answered)])


def run(took_ms: float, outcome: str = "ok") -> dict[str, Any]:
    ended = (NOW - timedelta(minutes=7)).isoformat()
    named = {"id": "sprint-report@1", "type": "dev.knative.sources.ping"}
    detail = "no room" if outcome == "failed" else None
    return {**named, "took_ms": took_ms, "outcome": outcome, "ended_at": ended, "detail": detail}


@pytest.fixture
async def page(cluster: Cluster) -> str:
    cluster.deploy(console, LOCAL, now=lambda: NOW)
    cluster.add("sprint-report", record(run(30), run(10), run(2000, "failed"), run(2000, "failed")))
    async with browser(cluster) as client:
        return (await client.get("/functions/panels/functions")).text


def test_its_durations_and_failures_are_counted(page: str) -> None:
    row = page[page.index("runs-sprint-report") :].split("</tr>")[0]
    listed = "/events?trigger=sprint-report&amp;range=1h&amp;ticks=show"
    assert f'href="{listed}#panel-inboxes">4</a>' in row
    assert f'href="{listed}&amp;outcome=failed#panel-inboxes">2 failed runs</a>' in row
    assert "<small>of 1 event</small>" in row
    assert '<svg class="spark bad"' in row
    assert "Failed by 5 minutes: 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0" in row
    assert 'data-label="p50">30 ms<' in row
    assert "p95 by 5 minutes: " in row
    assert 'data-label="p95">2.0 s<' in row
    assert 'aria-label="Runs by 5 minutes: 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0"' in row


async def test_a_number_of_runs_leads_to_as_many_rows(
    cluster: Cluster, functions_database: str, world: World
) -> None:
    cluster.deploy(console, LOCAL)
    cluster.deploy(sprint_report, {"DATABASE_URL": functions_database})
    world.sprint("GEM-001", 1, 100)
    for number in range(3):
        tick = ScheduleDue(schedule="sprint-report", time=NOW + timedelta(minutes=number))
        cluster.down |= {"project-service"} if number else set()
        await cluster.tell("sprint-report", tick)
    async with browser(cluster) as client:
        page = (await client.get("/functions/panels/functions")).text
        row = page[page.index("runs-sprint-report") :].split("</tr>")[0]
        for name in ("count", "failed"):
            link = rf'id="{name}-sprint-report" href="([^"#]+)#panel-inboxes">(\d+)'
            found = re.search(link, row)
            assert found, row
            at = html.unescape(found[1]).replace("/events?", "/events/panels/inboxes?")
            listed = (await client.get(at)).text
            assert listed.count('<th scope="row">sprint-report</th>') == int(found[2]) > 0
            assert "Only runs of the last hour" in listed
        none = (await client.get("/events/panels/inboxes?trigger=dead-letter")).text
        part = (await client.get("/events/panels/inboxes?trigger=webhook")).text
    assert "dead-letter keeps no record of what it handled." in none
    assert "webhook-receiver" in part, "it is away, and keeps a record"
    assert "keeps no record" not in part


async def test_a_delivery_that_failed_for_good_is_listed_with_its_dead_letter(
    dead_letters: Cluster,
) -> None:
    dead_letters.deploy(console, LOCAL, now=lambda: NOW)
    dead_letters.add("sprint-report", record())
    async with browser(dead_letters) as client:
        page = (await client.get("/functions/panels/functions")).text
        link = re.search(r'href="(/dead-letters\?since=[^"]+)"', page)
        assert link
        listed = await client.get(html.unescape(link[1]))
    assert 'id="given-up-1"' in page
    assert 'href="/dead-letters/1"' in listed.text


def test_its_outbox_and_its_last_run_have_an_age(page: str) -> None:
    row = page[page.index("runs-sprint-report") :].split("</tr>")[0]
    assert ">3 waiting</span><small>the oldest for 1 min 15 s</small>" in row
    assert "data-ago>7 min ago<" in row


async def test_an_event_that_cannot_be_sent_is_seen_to_wait(
    cluster: Cluster, world: World, functions_database: str
) -> None:
    cluster.deploy(console, LOCAL)
    cluster.deploy(sprint_report, {"DATABASE_URL": functions_database})
    world.sprint("GEM-001", 1, 100)
    cluster.down.add("broker-ingress")
    tick = ScheduleDue(schedule="sprint-report", time=NOW)
    assert (await cluster.tell("sprint-report", tick)).status_code == 202
    async with browser(cluster) as client:
        page = (await client.get("/functions/panels/functions")).text
    row = page[page.index("runs-sprint-report") :].split("</tr>")[0]
    assert re.search(r">\d waiting</span><small>the oldest for ", row), row


async def test_an_event_that_is_worked_on_has_an_age_and_nothing_else_has(
    cluster: Cluster, world: World, functions_database: str
) -> None:
    asked, answers = asyncio.Event(), asyncio.Event()

    async def hang(request: Request) -> Response:
        asked.set()
        await answers.wait()
        return JSONResponse([])

    async def inbox() -> str:
        page = (await client.get("/functions/panels/functions")).text
        row = page[page.index("runs-sprint-report") :].split("</tr>")[0]
        return row.partition('data-label="Inbox">')[2].partition("</td>")[0]

    cluster.deploy(console, LOCAL)
    cluster.deploy(sprint_report, {"DATABASE_URL": functions_database})
    cluster.add("project-service", Starlette(routes=[Route("/{path:path}", hang)]))
    tick = ScheduleDue(schedule="sprint-report", time=NOW)
    async with browser(cluster) as client:
        handled = asyncio.create_task(cluster.tell("sprint-report", tick))
        await asyncio.wait_for(asked.wait(), 30)
        busy = await inbox()
        answers.set()
        assert (await handled).status_code == 202
        assert await inbox() == "\N{EN DASH}"
    assert re.fullmatch(r"1 in work<small>the oldest for [\d.]+ m?s</small>", busy), busy


def condition(type_: str, status: str, reason: str = "") -> dict[str, Any]:
    return {"type": type_, "status": status, "reason": reason}


async def test_a_function_is_asleep_starting_or_ready_by_its_revision(
    cluster: Cluster, tmp_path: Path
) -> None:
    active = {"sprint-report": "False", "scrum-simulate": "Unknown", "scrum-report": "True"}

    def listed(request: str, body: Any) -> Say:
        kind = request.rpartition("/")[2].partition("?")[0]
        items = [
            {
                "metadata": {"name": name if kind == "services" else f"{name}-00001"},
                "status": {
                    "conditions": [
                        condition("Ready", "True"),
                        *([condition("Active", status)] if kind == "revisions" else []),
                    ],
                    "latestReadyRevisionName": f"{name}-00001",
                },
            }
            for name, status in active.items()
            if kind != "pods"
        ]
        return Say(200, body={"items": items, "metadata": {}})

    async with kube_peer(tmp_path, Say(500)) as peer:
        peer.judge = listed
        environ = {"KUBECONFIG": peer.kubeconfig, "KUBERNETES_NAMESPACE": "dsm"}
        cluster.deploy(console, LOCAL | environ, now=lambda: NOW)
        cluster.add("sprint-report", record())
        async with browser(cluster) as client:
            page = (await client.get("/functions/panels/functions")).text
    rows = {name: page[page.index(f"runs-{name}") :].split("</tr>")[0] for name in active}
    assert ">asleep</span>" in rows["sprint-report"]
    assert ">starting</span>" in rows["scrum-simulate"]
    assert ">ready</span>" in rows["scrum-report"]


def test_a_failed_run_says_why(page: str) -> None:
    assert 'data-label="Reason">no room<' in page


def test_what_is_away_is_named_and_costs_no_other_its_row(page: str) -> None:
    assert "cycle-trigger is unavailable: " in page
    assert "Kubernetes is unavailable: " in page
    assert page.count(">unavailable<") == 11


async def test_the_starts_and_crashes_of_its_pods_are_counted(
    cluster: Cluster, tmp_path: Path
) -> None:
    ended = {"terminated": {"reason": "OOMKilled", "exitCode": 137}}
    pods = {
        "sprint-report": {"name": "function", "restartCount": 2, "lastState": ended},
        "scrum-report": {"name": "function", "restartCount": 0, "lastState": {}},
    }

    def listed(request: str, body: Any) -> Say:
        items = [
            {
                "metadata": {"labels": {"serving.knative.dev/service": name}},
                "status": {"containerStatuses": [container, {"name": "queue-proxy"}]},
            }
            for name, container in pods.items()
            if "/pods?" in request
        ]
        return Say(200, body={"items": items, "metadata": {}})

    async with kube_peer(tmp_path, Say(500)) as peer:
        peer.judge = listed
        environ = {"KUBECONFIG": peer.kubeconfig, "KUBERNETES_NAMESPACE": "dsm"}
        cluster.deploy(console, LOCAL | environ, now=lambda: NOW)
        for name in pods:
            cluster.add(name, record())
        async with browser(cluster) as client:
            page = (await client.get("/functions/panels/functions")).text
    rows = {name: page[page.index(f"runs-{name}") :].split("</tr>")[0] for name in pods}
    assert (
        '3 starts, <span class="bad">2 crashes</span>: OOMKilled, exit code 137'
        in rows["sprint-report"]
    )
    assert "1 start, no crash" in rows["scrum-report"]
    assert any("labelSelector=serving.knative.dev" in request for request in peer.requests)
