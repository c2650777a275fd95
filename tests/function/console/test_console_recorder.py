"""The console's Events page where event-recorder tells the events, as on a cluster."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from functions.console.main import console
from functions.cycle_trigger.main import cycle_trigger
from functions.event_recorder.main import event_recorder
from functions.events.schedule import ScheduleDue
from functions.events.sprint import SprintCompleted, SprintsReported
from functions.kit import cloudevents
from functions.sprint_report.main import sprint_report
from tests.contract.overlays import of
from tests.support.cluster import Cluster, message_of
from tests.support.console_browser import UNHURRIED, browser
from tests.support.dsm_services import World
from tests.support.repository import environment

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
TICK = message_of(ScheduleDue(schedule="sprint-report", time=NOON), id="tick", source="/apis/ping")


def events_url() -> str:
    """Where the overlay for production lets the console look."""
    [service] = [s for s in of("production", "Service") if s["metadata"]["name"] == "console"]
    return environment(service)["EVENTS_URL"]


def arrived(message: cloudevents.Message, after_s: float) -> cloudevents.Message:
    """An event as a broker hands it on."""
    at = cloudevents.format_time(NOON + timedelta(seconds=after_s))
    return replace(message, extensions={**message.extensions, "knativearrivaltime": at})


@pytest.fixture
async def morning(cluster: Cluster, world: World, functions_database: str) -> Cluster:
    """A tick, the report, and a finished sprint whose cycle failed once; all of it recorded."""
    world.sprint("ORI002", 1, 100)
    database = {"DATABASE_URL": functions_database}
    for target in (sprint_report, cycle_trigger):
        cluster.deploy(target, database)
    cluster.deploy(event_recorder, {**database, "EVENT_DATA_BYTES": "300"}, now=lambda: NOON)
    cluster.deploy(console, UNHURRIED | {"EVENTS_URL": events_url()}, now=lambda: NOON)

    assert (await cluster.tell("sprint-report", TICK)).status_code == 202
    by_type = {message.type: message for message in cluster.sink.messages}
    completed, reported = by_type[SprintCompleted.type], by_type[SprintsReported.type]
    cluster.down.add("project-orchestrator")
    assert (await cluster.tell("cycle-trigger", completed)).status_code == 503
    cluster.down.clear()
    cycle = await cluster.ask("cycle-trigger", completed)
    # A broker keeps no order: what was caused may be recorded before its cause.
    for after_s, message in enumerate((cycle, completed, reported, TICK)):
        response = await cluster.tell("event-recorder", arrived(message, 1 - after_s / 4))
        assert response.status_code == 202
    return cluster


async def test_the_stream_says_who_handled_what(morning: Cluster) -> None:
    async with browser(morning) as client:
        page = (await client.get("/events/panels/stream?ticks=show")).text
        usual = (await client.get("/events/panels/stream")).text
    assert "schedule tick" not in usual
    rows = {row.split("</a>")[0]: row for row in page.split('<a id="open-')[1:]}
    emitted = {name.rpartition(">")[2]: row for name, row in rows.items()}
    assert set(emitted) == {
        "schedule tick",
        "sprints.reported",
        "sprint.completed",
        "cycle.completed",
    }
    assert 'sprint-report <span class="chip good">handled</span>' in emitted["schedule tick"]
    assert 'cycle-trigger <span class="chip good">handled ×2</span>' in emitted["sprint.completed"]  # noqa: RUF001  # the sign, on purpose
    assert "No run on record" in emitted["cycle.completed"]
    assert "No subscriber" not in page


async def test_the_stream_is_filtered_by_type_and_function(morning: Cluster) -> None:
    async with browser(morning) as client:
        page = (await client.get("/events/panels/stream?trigger=cycle")).text
        none = (await client.get("/events/panels/stream?type=nothing.like.it")).text
    assert page.count('<a id="open-') == 1
    assert 'title="io.dsm.sprint.completed.v1"' in page
    assert "sprint.completed" in page
    assert "Nothing has arrived that fits" in none


@pytest.mark.parametrize(
    ("query", "types"),
    [
        ("source=functions/sprint-report", {"sprint.completed", "sprints.reported"}),
        ("state=no subscriber", {"sprints.reported", "cycle.completed"}),
        ("state=handled", {"sprint.completed"}),
        ("from=2026-03-02T12:00:00.600", {"sprint.completed", "cycle.completed"}),
        ("to=2026-03-02T12:00:00.600", {"sprints.reported"}),
        ("to=2026-03-02T12:00:00.600&ticks=show", {"sprints.reported", "schedule tick"}),
        ("type=sources.ping", {"schedule tick"}),
    ],
)
async def test_each_filter_keeps_what_fits(morning: Cluster, query: str, types: set[str]) -> None:
    async with browser(morning) as client:
        page = (await client.get(f"/events/panels/stream?{query}")).text
    assert set(re.findall(r'<a id="open-[^>]*>([^<]+)</a>', page)) == types


async def test_a_time_that_is_none_is_refused_by_its_name(morning: Cluster) -> None:
    async with browser(morning) as client:
        page = (await client.get("/events/panels/stream?from=yesterday")).text
    assert "from is no time such as 2026-03-02T14:00" in page


async def test_a_chain_leads_from_the_tick_to_its_end(morning: Cluster) -> None:
    async with browser(morning) as client:
        page = (await client.get("/events/trace/panels/trace?correlation=tick")).text
    # tick > sprint-report > two facts, one of them > cycle-trigger > cycle.completed
    assert page.count('class="edge"') == 5
    names = ["schedule tick", "sprints.reported", "sprint.completed", "cycle.completed"]
    table = page[page.index("<tbody>") :]
    places = [table.index(f'<th scope="row">{name}') for name in names]
    assert places == sorted(places)
    assert '<td class="num" data-label="After the first">750 ms</td>' in table


async def test_the_search_leads_from_any_event_to_its_whole_trace(morning: Cluster) -> None:
    completed = next(m for m in morning.sink.messages if m.type == SprintCompleted.type)
    async with browser(morning) as client:
        page = (await client.get(f"/search?q={completed.id}")).text
    assert 'href="/events/trace?correlation=tick"' in page


async def test_an_attempt_is_a_run_with_its_outcome_and_duration(morning: Cluster) -> None:
    async with browser(morning) as client:
        page = (await client.get("/events/trace/panels/trace?correlation=tick")).text
    attempts = page[page.index("<b>cycle-trigger</b>") :].split("</ol>")[0]
    failed, ok = attempts.split("<li>")[1:]
    assert "failed NotSent: " in failed
    assert "project-orchestrator" in failed
    assert " ms: ok <span" in ok
    assert " after the one before" in ok
    assert "no answer" not in attempts


async def test_data_that_was_cut_is_marked_so(morning: Cluster) -> None:
    async with browser(morning) as client:
        page = (await client.get("/events/trace/panels/trace?correlation=tick")).text
    assert "bytes of data only the beginning was kept" in page


async def test_a_recorder_that_is_away_takes_only_its_panel_with_it(morning: Cluster) -> None:
    morning.down.add("event-recorder")
    async with browser(morning) as client:
        stream = (await client.get("/events/panels/stream")).text
        inboxes = (await client.get("/events/panels/inboxes")).text
    assert "Unavailable" in stream
    assert "record of events: " in stream
    assert "cycle-trigger" in inboxes


async def test_the_trace_of_a_later_event_begins_with_the_first(morning: Cluster) -> None:
    by_type = {message.type: message for message in morning.sink.messages}
    chosen = by_type[SprintCompleted.type].id
    async with browser(morning) as client:
        whole, later = [
            (await client.get(f"/events/trace/panels/trace?correlation={id}")).text
            for id in (TICK.id, chosen)
        ]
    assert "4 events" in later
    assert re.sub('correlation=[^"]+', "", later) == re.sub('correlation=[^"]+', "", whole)


async def test_an_event_that_is_forgotten_is_reported_as_unknown(morning: Cluster) -> None:
    async with browser(morning) as client:
        page = (await client.get("/events/trace/panels/trace?correlation=long-ago")).text
    assert "There is no record of an event long-ago" in page


async def test_the_rate_of_a_range_is_a_plot_with_its_numbers(morning: Cluster) -> None:
    later = NOON + timedelta(minutes=30)
    environ = UNHURRIED | {"EVENTS_URL": events_url()}
    morning.deploy(console, environ, now=lambda: later)
    async with browser(morning) as client:
        whole = (await client.get("/events")).text
        page = (await client.get("/events?range=1h")).text
        table = (await client.get("/events/panels/rate.csv?range=1h")).text
    assert "panel-rate" not in whole
    assert "Events per 5 min by outcome" in page
    head, *rows = table.splitlines()
    assert head == "From,Handled,Pending,No subscriber,Failed"
    counts = [sum(map(int, row.split(",")[1:])) for row in rows]
    assert len(counts) == 12
    assert sum(counts) == 3, "all but the tick, which is hidden by default"
    assert sum(map(bool, counts)) <= 2, "they came within two seconds"


async def test_a_record_that_asks_for_the_token_of_the_kubeconfig_is_shown_it(
    cluster: Cluster, tmp_path: Path
) -> None:
    shown: list[str] = []

    async def search(request: Request) -> Response:
        shown.append(request.headers.get("authorization", ""))
        return JSONResponse([])

    cluster.add("knative", Starlette(routes=[Route("/search", search)]))
    config = tmp_path / "kubeconfig"
    config.write_text('{"users": [{"name": "local", "user": {"token": "t-1"}}]}')
    environ = UNHURRIED | {"EVENTS_URL": "http://knative.local/search", "KUBECONFIG": str(config)}
    for asks in ("true", "false"):
        cluster.deploy(console, environ | {"EVENTS_WITH_KUBECONFIG": asks})
        async with browser(cluster) as client:
            assert "No event" in (await client.get("/events/panels/stream")).text
    assert shown == ["Bearer t-1", ""]
