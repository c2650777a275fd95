"""Schedules by the scheduler's ledger: what is coming, what became of it, and what users change."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from functions.console.main import console
from functions.event_recorder.main import event_recorder
from functions.events.schedule import ScheduleDue
from functions.sprint_report.main import sprint_report
from tests.support.cluster import Cluster
from tests.support.console_browser import LOCAL, browser, press
from tests.support.schedule_world import WORK, World, schedule_world

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
AT = "/schedules/sprint-report"


@pytest.fixture
async def world(cluster: Cluster, functions_database: str, tmp_path: Path) -> AsyncIterator[World]:
    async with schedule_world(cluster, functions_database, tmp_path, MONDAY) as world:
        policies = {"missed": "latest", "missed_window": "1h"}
        world.ping("sprint-report", "30 8 * * 1-5", "America/Chicago", **policies)
        await world.wake(MONDAY)
        cluster.deploy(console, world.environ | LOCAL, now=lambda: world.now)
        cluster.deploy(sprint_report, world.environ, now=lambda: world.now)
        yield world


@pytest.fixture
async def client(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(world.cluster) as client:
        yield client


async def a_lost_week(world: World) -> None:
    """Nothing looks until Monday, when all but the latest time are missed."""
    await world.wake(MONDAY + 7 * DAY + 14 * HOUR)
    await world.work()
    await world.wake(MONDAY + 7 * DAY + 14 * HOUR + MINUTE)


async def panel(client: httpx.AsyncClient, name: str, query: str = "") -> str:
    return (await client.get(f"{AT}/panels/{name}?{query}")).text


def read(page: str) -> str:
    """The page's text."""
    return re.sub(r"<[^>]+>", "", page)


async def test_the_list_says_what_is_coming_and_what_was_missed(
    world: World, client: httpx.AsyncClient
) -> None:
    page = (await client.get("/schedules/panels/schedules")).text
    assert "Nothing was due from 2 Mar 2026 00:00:00 until 2 Mar 2026 00:00:00." in read(page)
    assert 'data-part="schedules" data-refresh=' in page
    await a_lost_week(world)
    page = (await client.get("/schedules/panels/schedules")).text
    assert " was handled: sprint-report (5 missed)." in page
    assert "Tue 10 Mar 2026, 08:30" in page
    assert f'href="{AT}"' in page
    assert ">done</span>" in page


async def test_the_sentence_on_a_week_says_since_when_it_is_known_and_what_was_due(
    world: World, client: httpx.AsyncClient
) -> None:
    assert (await press(client, f"{AT}/run")).status_code == 303
    await world.cluster.relayed()
    await world.work()
    await world.wake(MONDAY + MINUTE)
    page = (await client.get("/schedules/panels/schedules")).text
    assert "asked for by local" in page
    begun = "from 2 Mar 2026 00:00:00"
    assert f"Nothing was due {begun} until 2 Mar 2026 00:01:00." in read(page)  # but a user's run
    one = read(await panel(client, "schedule"))
    assert f"Nothing was due {begun}, since which its times are kept, until 2 Mar" in one
    await world.wake(MONDAY + 14 * HOUR + 30 * MINUTE)
    await world.work()
    await world.wake(MONDAY + 14 * HOUR + 31 * MINUTE)
    page = (await client.get("/schedules/panels/schedules")).text
    assert f"All that was due {begun} until 2 Mar 2026 14:31:00 was handled." in read(page)
    assert "Before that there is no record, so this week cannot be judged." in page
    assert '<p class="verdict calm">All that was due' in page
    one = read(await panel(client, "schedule"))
    assert re.search(rf"All that was due {begun}, .* until 2 Mar 2026 14:31:00 was handled", one)
    world.ping("yearly", "0 0 1 1 *", missed="latest")
    await world.wake(MONDAY + 15 * HOUR)
    page = (await client.get("/schedules/panels/schedules")).text
    assert " was handled. Nothing was due of yearly." in read(page)


async def test_the_times_of_a_week_are_listed_across_schedules(
    world: World, client: httpx.AsyncClient
) -> None:
    at = "/schedules/panels/week"
    assert (await press(client, f"{AT}/run")).status_code == 303  # a user's run was not due
    await world.cluster.relayed()
    await world.work()
    page = read((await client.get(at)).text)
    assert "No scheduled time of sprint-report fell since 2 Mar 2026 00:00:00." in page
    world.ping("nightly", "0 1 * * *", missed="latest")
    await world.wake(MONDAY + MINUTE)
    await a_lost_week(world)
    rows = re.findall(r"<tr><th.*?</tr>", (await client.get(at)).text)[1:]
    found = [re.findall(r'href="/schedules/([^"]+)"|>(\w+)</span>', row) for row in rows]
    states = {
        name: [row[1][1] for row in found if row[0][0] == name]
        for name in ("sprint-report", "nightly")
    }
    assert states == {
        "sprint-report": ["done"] + 5 * ["missed"],
        "nightly": ["done"] + 6 * ["missed"],
    }
    assert found[0][0][0] == "sprint-report"  # the latest


async def test_more_than_a_page_was_due_and_users_runs_take_no_place_on_it(
    world: World, client: httpx.AsyncClient
) -> None:
    at = "/schedules/panels/week"
    world.ping("often", "0 */2 * * *", missed="latest")
    await world.wake(MONDAY + MINUTE)
    await a_lost_week(world)
    assert (await press(client, f"{AT}/run")).status_code == 303  # the latest, and was not due
    await world.wake(world.now + MINUTE)
    due = r'id="due-([^"]+)"'
    page = (await client.get(at)).text
    older = re.search(r'href="/schedules\?(cursor=[^"]+)">Earlier', page)
    assert older
    first = re.findall(due, page)
    assert len(first) == 50
    assert f"{at}.csv?{older[1]}" in (await client.get(f"/schedules?{older[1]}")).text
    page = (await client.get(f"{at}?{older[1]}")).text
    second = re.findall(due, page)
    assert ">Earlier" not in page
    assert ">Latest" in page
    since = (world.now - 7 * DAY).isoformat()
    query = {"since": since, "before": world.now.isoformat(), "limit": "1000"}
    async with world.cluster.client("scheduler") as scheduler:
        listed = (await scheduler.get("/ticks", params=query)).json()["ticks"]
    assert "user" in {tick["origin"] for tick in listed[:50]}
    expected = [f"{t['schedule']}-{t['nominal']}" for t in listed if t["origin"] != "user"]
    assert first + second == expected


async def test_a_schedule_names_each_time_in_both_zones_with_state_and_reason(
    world: World, client: httpx.AsyncClient
) -> None:
    await a_lost_week(world)
    coming = await panel(client, "following")
    assert coming.count("<tr>") == 11  # with its head
    assert "Tue 10 Mar 2026, 08:30" in coming
    assert "2026-03-10T13:30:00" in coming  # summer time has begun
    ticks = await panel(client, "ticks")
    assert ticks.count(">missed</span>") == 5
    assert "a later time runs instead" in ticks
    assert 'href="/events/trace?correlation=sprint-report%402026-03-09T13' in ticks
    assert ">missed</span>" not in await panel(client, "ticks", "state=done")
    assert "(5 missed)" not in await panel(client, "schedule")
    assert "was handled: 5 missed." in await panel(client, "schedule")


async def test_the_search_finds_a_schedule_by_a_word_of_its_name(client: httpx.AsyncClient) -> None:
    page = (await client.get("/search?q=report")).text
    assert 'href="/schedules/sprint-report"' in page
    assert 'href="/functions#runs-sprint-report"' in page


async def test_earlier_times_are_on_the_next_page(world: World, client: httpx.AsyncClient) -> None:
    await world.wake(MONDAY + 60 * DAY)
    first = await panel(client, "ticks")
    older = re.search(r'href="[^"]+\?(cursor=[^"]+)">Earlier', first)
    assert older
    second = await panel(client, "ticks", older[1])
    assert "Mon 2 Mar 2026" not in first
    assert "Mon 2 Mar 2026" in second


async def test_a_pause_has_a_reason_and_an_end_and_is_resumed(
    world: World, client: httpx.AsyncClient
) -> None:
    fields = {"reason": "moving house", "until": "2026-03-05T12:00"}
    assert (await press(client, f"{AT}/pause", **fields)).status_code == 303
    assert "Paused by local until" in await panel(client, "schedule")
    coming = await panel(client, "following")
    assert coming.count("paused by local: moving house") == 3
    assert "moving house" in (await client.get("/schedules/panels/schedules")).text
    assert (await press(client, f"{AT}/resume")).status_code == 303
    assert "paused by" not in await panel(client, "following")


async def test_a_schedule_that_its_failures_paused_needs_attention_until_it_is_resumed(
    world: World, client: httpx.AsyncClient
) -> None:
    world.ping("nightly", "0 1 * * *", missed="latest", pause_after="1")
    await world.wake(MONDAY)
    WORK.fails = True
    await world.wake(MONDAY + HOUR)
    await world.work()
    for minutes in (1, 30):
        await world.wake(MONDAY + HOUR + minutes * MINUTE)
    await world.wake(MONDAY + 12 * HOUR)  # a sprint-report is not due before
    world.now = MONDAY + 8 * DAY  # nothing of it is in the last seven days
    attention = (await client.get("/panels/attention")).text
    assert "paused: 1 runs failed in a row; resume it once that is mended" in attention
    page = (await client.get("/schedules/panels/schedules")).text
    assert "nightly (paused)" in page
    assert (await press(client, "/schedules/nightly/resume")).status_code == 303
    assert "nightly (paused)" not in (await client.get("/schedules/panels/schedules")).text


async def test_what_needs_attention_takes_as_many_reads_however_many_schedules_there_are(
    world: World, client: httpx.AsyncClient
) -> None:
    async def reads() -> int:
        world.cluster.requests.clear()
        assert (await client.get("/panels/attention")).is_success
        asked = [request.url.host.split(".")[0] for request in world.cluster.requests]
        return asked.count("scheduler")

    before = await reads()
    world.ping("scrum-simulate", "0 14 * * 1-5", "Etc/UTC", missed="all")
    await world.wake(MONDAY + MINUTE)
    assert (
        'href="/schedules/scrum-simulate"' in (await client.get("/schedules/panels/schedules")).text
    )
    assert await reads() == before


async def test_a_schedule_that_was_never_followed_needs_attention(
    world: World, client: httpx.AsyncClient
) -> None:
    world.ping("new", "0 1 * * *", missed="sometimes")
    await world.wake(MONDAY)
    attention = (await client.get("/panels/attention")).text
    assert "the scheduler cannot follow it: annotation schedules.dsm.io/missed" in attention
    assert "new (" in (await client.get("/schedules/panels/schedules")).text


async def test_run_now_leaves_who_asked_and_runs_a_minute_once(
    world: World, client: httpx.AsyncClient
) -> None:
    assert (await press(client, f"{AT}/run")).headers["location"] == AT
    assert (await press(client, f"{AT}/run")).status_code == 409
    await world.work()
    assert len(WORK.done) == 1
    ticks = await panel(client, "ticks")
    assert "run by local" in ticks
    assert ">user<small>by local" in ticks


async def test_a_backfill_is_shown_before_it_is_run_and_runs_what_was_missed(
    world: World, client: httpx.AsyncClient
) -> None:
    await a_lost_week(world)
    fields = {"since": "2026-03-04T00:00", "before": "2026-03-08T00:00", "which": "missed"}
    plan = (await client.get(f"{AT}/backfill", params=fields)).text
    assert "3 nominal times would run, 0 are left alone." in plan
    assert len(WORK.done) == 1
    begun = await press(client, f"{AT}/backfill?{urlencode(fields)}", **fields)
    page = begun.headers["location"]
    assert page == f"{AT}/backfills/1"
    for _ in range(4):
        await world.wake(world.now + MINUTE)
        await world.work()
    assert len(WORK.done) == 4
    assert "Done: missed times" in (await client.get(f"{page}/panels/backfill")).text
    assert (await press(client, f"{page}/cancel")).status_code == 409


async def test_a_backfill_is_paused_and_cancelled(world: World, client: httpx.AsyncClient) -> None:
    await a_lost_week(world)
    fields = {"since": "2026-03-02T00:00", "before": "2026-03-08T00:00"}
    page = (await press(client, f"{AT}/backfill?{urlencode(fields)}", **fields)).headers["location"]
    assert (await press(client, f"{page}/pause")).status_code == 303
    assert "Paused: missed times" in (await client.get(f"{page}/panels/backfill")).text
    assert (await press(client, f"{page}/cancel")).status_code == 303
    assert "Cancelled: missed times" in (await client.get(f"{page}/panels/backfill")).text


async def test_a_range_that_is_none_is_reported_in_the_form(client: httpx.AsyncClient) -> None:
    fields = {"since": "2026-03-04T00:00", "before": "2026-03-03T00:00"}
    page = await client.get(f"{AT}/backfill", params=fields)
    assert page.status_code == 422
    assert "must be after since" in page.text


async def test_today_judges_the_morning_by_the_ledger(
    world: World, client: httpx.AsyncClient
) -> None:
    world.now = MONDAY + HOUR
    assert "due at 14:30 UTC" in (await client.get("/panels/morning")).text
    await a_lost_week(world)
    monday = await client.get("/panels/morning?day=2026-03-09")
    missed = await client.get("/panels/morning?day=2026-03-06")
    assert '<span class="chip good">ok</span>' in monday.text
    assert "14:30 UTC was missed: nothing looked at the schedule until" in missed.text
    attention = (await client.get("/panels/attention")).text
    assert "5 missed in the last 7 days" in attention


async def test_a_schedule_without_policies_has_no_ledger(
    world: World, client: httpx.AsyncClient
) -> None:
    world.ping("plain", "0 14 * * *")
    page = (await client.get("/schedules/plain/panels/ticks")).text
    assert "What becomes of its times is not kept" in page
    following = (await client.get("/schedules/plain/panels/following")).text
    assert following.count("<tr>") == 11
    assert (await client.get("/schedules/plain/pause")).status_code == 404
    assert (await client.get("/schedules/no-such")).status_code == 404


async def test_the_schedule_of_the_ledger_itself_has_its_last_run(
    world: World, client: httpx.AsyncClient
) -> None:
    world.ping("scheduler", "* * * * *")
    await world.wake(MONDAY + HOUR)
    page = (await client.get("/schedules/panels/schedules")).text
    assert re.search(r'href="/schedules/scheduler".*?<small>ok, ', page, re.DOTALL)


async def test_the_schedule_of_a_function_that_is_not_everywhere_has_its_last_run(
    world: World, client: httpx.AsyncClient
) -> None:
    assert "event-recorder" not in (await client.get("/schedules/panels/schedules")).text
    world.cluster.deploy(event_recorder, world.environ, now=lambda: world.now)
    world.ping("event-recorder", "17 * * * *")
    due = ScheduleDue(schedule="event-recorder", time=MONDAY)
    assert (await world.cluster.tell("event-recorder", due)).status_code == 202
    page = (await client.get("/schedules/panels/schedules")).text
    assert re.search(r'href="/schedules/event-recorder".*?<small>ok, ', page, re.DOTALL)


async def test_every_time_is_in_the_zone_that_the_reader_chose(client: httpx.AsyncClient) -> None:
    assert "10 Mar 2026 13:30:00</time>" in await panel(client, "following")
    chosen = await press(client, AT, "/zone", zone="Europe/Berlin", next=f"{AT}?state=missed")
    assert chosen.status_code == 303
    assert chosen.headers["location"] == f"{AT}?state=missed"
    page = await panel(client, "following")
    assert "10 Mar 2026 14:30:00</time>" in page
    assert 'title="10 Mar 2026 14:30:00.000 Europe/Berlin"' in page
    assert 'datetime="2026-03-10T13:30:00.000+00:00"' in page
    await press(client, AT, "/zone", zone="", next="//evil.example/")
    assert "10 Mar 2026 13:30:00</time>" in await panel(client, "following")


async def test_a_zone_that_is_none_is_refused_and_none_is_taken_from_a_cookie(
    client: httpx.AsyncClient,
) -> None:
    answer = await press(client, AT, "/zone", zone="Mars/Olympus", next="/")
    assert answer.status_code == 422
    assert "no time zone such as Europe/Berlin" in answer.text
    client.cookies.set("console_zone", "../../etc/passwd")
    assert "Times are in <b>UTC</b>" in (await client.get("/shortcuts")).text
