"""Search by id: one hit leads to its page, several are listed, and who is away is named."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from functions.console.main import console
from functions.event_recorder.main import event_recorder
from functions.events.schedule import ScheduleDue
from tests.function.conftest import lost
from tests.support.cluster import Cluster, message_of
from tests.support.console_browser import LOCAL, browser
from tests.support.dsm_services import World
from tests.support.kubernetes_peer import Say, kube_peer
from tests.support.saga_world import SagaWorld
from tests.support.sprint_services import join_sprint_services

OLD_RUN = "0f9d4b52-5cf1-4f70-a6a1-0c3d7e5b9a11"  # it is not among the newest
EMPTY = {"content": [], "totalElements": 0}


@pytest.fixture
async def found(
    cluster: Cluster, world: World, dead_letters: Cluster, tmp_path: Path
) -> AsyncIterator[Cluster]:
    """Real dead letters, a project with two sprints, a Job, and no orchestration."""
    world.sprint("P", 1, 100).status = "completed"
    world.sprint("P", 2, 0)

    async def jobs(request: Request) -> Response:
        mine = request.query_params.get("task") == "acme/shop#42"
        return JSONResponse({"jobs": [{"job_id": "job-1"}] if mine else []})

    async def none(request: Request) -> Response:
        return JSONResponse(EMPTY)

    async def run(request: Request) -> Response:
        if request.path_params["id"] != OLD_RUN:
            return JSONResponse({}, 404)
        return JSONResponse({"executionId": OLD_RUN, "orchName": "tenantCreation"})

    cluster.add("job-launcher", Starlette(routes=[Route("/jobs", jobs)]))
    orchestrator = [Route("/api/orchestrations", none), Route("/api/executions", none)]
    orchestrator.append(Route("/api/executions/{id}", run))
    cluster.add("orchestrator", Starlette(routes=orchestrator))

    def no_objects(request: str, body: object) -> Say:
        return Say(200, body={"items": [], "metadata": {}})

    async with kube_peer(tmp_path, Say(500)) as peer:
        peer.judge = no_objects
        environ = {"KUBECONFIG": peer.kubeconfig, "KUBERNETES_NAMESPACE": "dsm"}
        cluster.deploy(console, LOCAL | environ)
        yield cluster


@pytest.mark.parametrize(
    ("term", "page"),
    [
        ("1", "/dead-letters/1"),
        ("acme/shop#42", "/jobs/job-1"),
        ("P-S02", "/sprints/P-S02"),
        (OLD_RUN, f"/orchestrations/tenantCreation/runs/{OLD_RUN}"),
        (OLD_RUN.upper(), f"/orchestrations/tenantCreation/runs/{OLD_RUN}"),
        ("agent-st", "/functions#runs-agent-status"),
        ("stat", "/functions#runs-agent-status"),
    ],
)
async def test_one_hit_leads_to_its_page(found: Cluster, term: str, page: str) -> None:
    async with browser(found) as client:
        answer = await client.get("/search", params={"q": term})
    assert (answer.status_code, answer.headers.get("location")) == (303, page)


async def test_a_team_member_is_found_by_id_and_by_how_the_name_begins(cluster: Cluster) -> None:
    join_sprint_services(cluster)
    async with browser(cluster) as client:
        by_id, by_name, by_one_character = [
            (await client.get(f"/search?q={term}")).text for term in ("e1", "ada", "a")
        ]
    assert "#member-E1" in by_id
    assert "#member-E1" in by_name
    assert "#member-E1" not in by_one_character


@pytest.mark.parametrize(
    ("term", "expected"),
    [
        ("GONE-0", {"about GONE-0", "4: cycle.requested · GONE-0"}),
        ("gone", {"about GONE-0", "about acme/gone-1", "4: cycle.requested · GONE-0"}),
        ("one-0", set()),
        (
            "such project",
            {"1: cycle.requested · &lt;b&gt;NOBODY&lt;/b&gt;", "4: cycle.requested · GONE-0"},
        ),
    ],
)
async def test_subjects_and_reasons_are_found_by_how_a_word_begins(
    found: Cluster, functions_database: str, term: str, expected: set[str]
) -> None:
    found.deploy(event_recorder, {"DATABASE_URL": functions_database})
    environ = {"EVENTS_URL": "http://event-recorder.dsm.svc.cluster.local/events/search"}
    found.deploy(console, LOCAL | environ)
    for number, subject in enumerate(("GONE-0", "acme/gone-1", "begone"), 7):
        event = replace(lost(number), subject=subject)
        assert (await found.tell("event-recorder", event)).status_code == 202
    assert (await found.tell("dead-letter", replace(lost(7), subject="GONE-0"))).status_code == 202
    async with browser(found) as client:
        page = (await client.get("/search", params={"q": term})).text
    names = set(re.findall(r'<th scope="row"><a href="[^"]+">([^<]+)</a>', page))
    assert names >= expected
    assert bool(names) is bool(expected)


async def test_schedule_ticks_are_passed_over(found: Cluster, functions_database: str) -> None:
    found.deploy(event_recorder, {"DATABASE_URL": functions_database})
    environ = {"EVENTS_URL": "http://event-recorder.dsm.svc.cluster.local/events/search"}
    found.deploy(console, LOCAL | environ)
    event = replace(lost(7), subject="rare-7")
    assert (await found.tell("event-recorder", event)).status_code == 202
    for number in range(210):
        due = ScheduleDue(schedule="job-sweep", time=datetime(2026, 3, 2, tzinfo=UTC))
        tick = message_of(due, id=f"t-{number}", source="/functions/scheduler")
        assert (await found.tell("event-recorder", tick)).status_code == 202
    async with browser(found) as client:
        page = (await client.get("/search?q=rare")).text
    assert 'href="/events?subject=rare-7"' in page


async def test_orchestrations_are_found_by_how_a_word_of_their_names_begins(
    cluster: Cluster, functions_database: str
) -> None:
    world = SagaWorld(cluster, functions_database)
    cluster.deploy(console, LOCAL)
    await world.register()
    async with browser(cluster) as client:
        pages = {term: (await client.get(f"/search?q={term}")).text for term in ("creat", "reat")}
    assert 'href="/orchestrations/tenantCreation"' in pages["creat"]
    assert 'href="/orchestrations/tenantCreation"' not in pages["reat"]


async def test_several_hits_are_listed(found: Cluster) -> None:
    async with browser(found) as client:
        page = (await client.get("/search?q=P")).text
    assert 'href="/sprints/P-S01"' in page
    assert 'href="/sprints/P-S02"' in page


async def test_no_hit_says_so(found: Cluster) -> None:
    async with browser(found) as client:
        answer = await client.get("/search?q=%3Cb%3Enone")
    assert "Nothing has the id or name &lt;b&gt;none" in answer.text


async def test_a_source_that_is_away_is_named(found: Cluster) -> None:
    found.down.add("job-launcher")
    async with browser(found) as client:
        page = (await client.get("/search?q=1")).text
    assert "Not searched: " in page
    assert "job-launcher" in page
    assert 'href="/dead-letters/1"' in page


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (PlainTextResponse("<html>"), "job-launcher answered what we cannot read: no valid JSON"),
        (JSONResponse({"jobs": [{}]}), "jobs, as an answer could not be understood (KeyError)"),
    ],
    ids=["html", "another shape"],
)
async def test_an_answer_that_cannot_be_read_costs_no_other_source(
    found: Cluster, answer: Response, reason: str
) -> None:
    found.add("job-launcher", answer)
    async with browser(found) as client:
        page = (await client.get("/search?q=1")).text
    assert f"Not searched: {reason}" in page
    assert 'href="/dead-letters/1"' in page
