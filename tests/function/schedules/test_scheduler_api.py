"""scheduler over HTTP: what is due and why; pausing, running now, and backfills."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from functions.event_recorder.main import event_recorder
from functions.events.schedule import ScheduleDue
from functions.scheduler.gauges import gauges
from tests.support.cluster import Cluster
from tests.support.schedule_world import WORK, World, schedule_world

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
async def world(cluster: Cluster, functions_database: str, tmp_path: Path) -> AsyncIterator[World]:
    async with schedule_world(cluster, functions_database, tmp_path, MONDAY) as world:
        world.ping("scrum", "0 14 * * 1-5", missed="latest", missed_window="1h")
        await world.wake(MONDAY)
        yield world


@pytest.fixture
async def api(world: World) -> AsyncIterator[httpx.AsyncClient]:
    async with world.cluster.client("scheduler") as client:
        yield client


async def asked(api: httpx.AsyncClient, path: str, status: int, **emitted: Any) -> Any:
    response = await api.post(path, json={"by": "ada", **emitted})
    assert response.status_code == status, response.text
    return response.json()


async def a_lost_week(world: World) -> None:
    """Nothing looks until Monday, when all but the latest times are missed."""
    await world.wake(MONDAY + 7 * DAY + 15 * HOUR)
    await world.work()
    await world.wake(MONDAY + 7 * DAY + 15 * HOUR + MINUTE)


async def test_a_run_and_the_record_of_who_wanted_it_are_one_transaction(
    world: World, api: httpx.AsyncClient
) -> None:
    connection = await asyncpg.connect(world.database)
    await connection.execute("ALTER TABLE user_action RENAME TO away")
    await asked(api, "/schedules/scrum/run", 503)
    await asked(api, "/schedules/scheduler/run", 404)
    await connection.execute("ALTER TABLE away RENAME TO user_action")
    await connection.close()
    assert world.cluster.sink.messages == []
    assert (await api.get("/ticks?schedule=scrum")).json()["ticks"] == []


async def test_a_schedule_tells_its_next_ten_times_and_its_last_and_why(
    world: World, api: httpx.AsyncClient
) -> None:
    await a_lost_week(world)
    found = (await api.get("/schedules/scrum")).json()
    assert found["policy"] == {
        "schedules.dsm.io/missed": "latest",
        "schedules.dsm.io/missed-window": "1h",
    }
    assert [one["nominal"] for one in found["next"]][:2] == [
        "2026-03-10T14:00:00Z",
        "2026-03-11T14:00:00Z",
    ]
    assert len(found["next"]) == 10
    assert [one["state"] for one in found["last"]] == ["done"] + 5 * ["missed"]
    assert found["last"][1]["reason"] == (
        "nothing looked at the schedule until 2026-03-09 15:00:00Z; a later time runs instead"
    )
    (listed,) = (await api.get("/schedules")).json()["schedules"]
    assert listed["next"][0]["nominal"] == "2026-03-10T14:00:00Z"


async def test_schedules_come_a_page_at_a_time(world: World, api: httpx.AsyncClient) -> None:
    for name in ("a", "z"):
        world.ping(name, "0 14 * * 1-5", missed="latest")
    await world.wake(MONDAY + MINUTE)
    first = (await api.get("/schedules?limit=2")).json()
    last = (await api.get("/schedules", params={"cursor": first["next"]})).json()
    assert [[one["name"] for one in page["schedules"]] for page in (first, last)] == [
        ["a", "scrum"],
        ["z"],
    ]
    assert last["next"] is None


async def test_a_page_ends_between_schedules_of_the_same_nominal_time(
    world: World, api: httpx.AsyncClient
) -> None:
    world.ping("report", "0 14 * * 1-5", missed="latest")
    await world.wake(MONDAY + MINUTE)
    await a_lost_week(world)
    found, page = list[tuple[str, str]](), (await api.get("/ticks?limit=1")).json()
    while page["next"] is not None:
        found += [(tick["nominal"][8:10], tick["schedule"]) for tick in page["ticks"]]
        page = (await api.get("/ticks", params={"limit": 1, "cursor": page["next"]})).json()
    found += [(tick["nominal"][8:10], tick["schedule"]) for tick in page["ticks"]]
    whole = (await api.get("/ticks")).json()["ticks"]
    assert found == [(tick["nominal"][8:10], tick["schedule"]) for tick in whole]
    assert len({day for day, _ in found}) < len(found)


async def test_the_latest_tick_of_each_schedule_is_there_whichever_function_handled_it(
    world: World, api: httpx.AsyncClient
) -> None:
    world.cluster.deploy(event_recorder, world.environ, now=lambda: world.now)
    for minutes in (1, 2):
        await world.wake(MONDAY + minutes * MINUTE)
    tick = ScheduleDue(schedule="event-recorder", time=MONDAY)
    assert (await world.cluster.tell("event-recorder", tick)).status_code == 202
    first = (await api.get("/ticks/latest?limit=1")).json()
    last = (await api.get("/ticks/latest", params={"cursor": first["next"]})).json()
    (recorder,), (ledger,) = first["runs"], last["runs"]
    assert recorder["id"] == "event-recorder@2026-03-02T00:00:00+00:00"
    assert ledger["id"] == "scheduler@2026-03-02T00:02:00+00:00"
    assert (recorder["outcome"], last["next"]) == ("ok", None)


async def test_ticks_are_found_by_state_and_range_a_page_at_a_time(
    world: World, api: httpx.AsyncClient
) -> None:
    await a_lost_week(world)
    query: dict[str, Any] = {"state": "missed", "limit": 3}
    first = (await api.get("/ticks", params=query)).json()
    second = (await api.get("/ticks", params=query | {"cursor": first["next"]})).json()
    days = [tick["nominal"][8:10] for tick in (*first["ticks"], *second["ticks"])]
    assert days == ["06", "05", "04", "03", "02"]
    assert second["next"] is None
    assert first["next"] is not None
    since = {"since": "2026-03-06T00:00:00Z"}
    assert len((await api.get("/ticks", params=since)).json()["ticks"]) == 2
    assert (await api.get("/ticks", params={"state": "lost"})).status_code == 422
    assert (await api.get("/ticks", params={"not_origin": "me"})).status_code == 422
    whole = (await api.get("/ticks")).json()["ticks"]
    for origin in {tick["origin"] for tick in whole}:
        others = (await api.get("/ticks", params={"not_origin": origin})).json()["ticks"]
        assert others == [tick for tick in whole if tick["origin"] != origin]
    assert (await api.get("/ticks", params={"since": "noon"})).status_code == 422
    assert (await api.get("/ticks", params={"cursor": "noon x"})).status_code == 422


async def test_a_paused_schedule_skips_until_it_is_resumed(
    world: World, api: httpx.AsyncClient
) -> None:
    emitted = await asked(api, "/schedules/scrum/pause", 200, reason="the server moves")
    assert emitted["pause"] == {
        "by": "ada",
        "reason": "the server moves",
        "until": None,
        "since": "2026-03-02T00:00:00+00:00",
    }
    assert emitted["next"][0]["reason"] == "paused by ada: the server moves"
    await world.wake(MONDAY + 14 * HOUR)
    await asked(api, "/schedules/scrum/resume", 200)
    await world.wake(MONDAY + 38 * HOUR)
    assert await world.states("scrum") == {"03-02 14:00": "skipped", "03-03 14:00": "sent"}


async def test_a_pause_is_of_what_comes_after_it_and_until_it_is_resumed(
    world: World, api: httpx.AsyncClient
) -> None:
    world.now = MONDAY + 14 * HOUR + 30 * MINUTE  # nothing has looked since midnight
    await asked(api, "/schedules/scrum/pause", 200, reason="the server moves")
    assert await world.states("scrum") == {"03-02 14:00": "sent"}
    world.now += DAY
    await asked(api, "/schedules/scrum/resume", 200)
    assert list((await world.states("scrum")).values())[1:] == ["skipped"]


async def test_a_time_is_run_with_the_data_that_its_schedule_had_then(
    world: World, api: httpx.AsyncClient
) -> None:
    world.pings["scrum"]["spec"]["data"] = '{"project_id": "Q"}'
    world.changed("scrum", MONDAY + 14 * HOUR + 10 * MINUTE)
    await world.wake(MONDAY + 14 * HOUR + 30 * MINUTE)
    await world.wake(MONDAY + DAY + 14 * HOUR)
    await world.wake(MONDAY + 2 * DAY)
    span = {"since": MONDAY.isoformat(), "before": (MONDAY + 2 * DAY).isoformat()}
    wanted: dict[str, Any] = {**span, "which": "all", "at_once": 9, "dry_run": False}
    await asked(api, "/schedules/scrum/backfill", 202, **wanted)
    await world.wake(MONDAY + 2 * DAY + MINUTE)
    await world.cluster.relayed()
    projects = [json.loads(message.data)["project_id"] for message in world.due()]
    assert projects == ["P", "Q", "P", "Q"]


async def test_what_users_did_is_on_record_newest_first(
    world: World, api: httpx.AsyncClient
) -> None:
    until = (MONDAY + DAY).isoformat()
    await asked(api, "/schedules/scrum/pause", 200, reason="the server moves", until=until)
    await asked(api, "/schedules/scrum/resume", 200)
    await asked(api, "/schedules/scrum/run", 202, reason="a demo")
    first = (await api.get("/actions", params={"limit": 1})).json()
    rest = (await api.get("/actions", params={"cursor": first["next"]})).json()
    assert rest["next"] is None
    assert [
        (one["who"], one["action"], one["subject"].partition("@")[0], one["reason"])
        for one in first["actions"] + rest["actions"]
    ] == [
        ("ada", "run", "scrum", "a demo"),
        ("ada", "resumed", "scrum", ""),
        ("ada", f"paused until {until[:19]}Z", "scrum", "the server moves"),
    ]


async def test_what_is_refused_is_not_on_record(world: World, api: httpx.AsyncClient) -> None:
    await asked(api, "/schedules/nobody/pause", 404, reason="r")
    assert (await api.get("/actions")).json()["actions"] == []


async def test_a_pause_ends_by_itself(world: World, api: httpx.AsyncClient) -> None:
    until = (MONDAY + DAY).isoformat()
    await asked(api, "/schedules/scrum/pause", 200, reason="a day off", until=until)
    await world.wake(MONDAY + 14 * HOUR)
    await world.wake(MONDAY + 38 * HOUR)
    assert list((await world.states("scrum")).values()) == ["skipped", "sent"]


async def test_a_tick_names_the_event_that_was_sent_for_it(
    world: World, api: httpx.AsyncClient
) -> None:
    await a_lost_week(world)
    rows = (await api.get("/ticks?schedule=scrum")).json()["ticks"]
    (sent,) = [row for row in rows if row["sent_at"]]
    assert sent["event_id"] in {message.id for message in world.cluster.sink.messages}
    assert {row["event_id"] for row in rows if not row["sent_at"]} == {None}


async def test_run_now_is_a_row_and_once_a_minute(world: World, api: httpx.AsyncClient) -> None:
    world.now = MONDAY + 9 * HOUR + timedelta(seconds=40)
    await asked(api, "/schedules/scrum/run", 202)
    refused = await asked(api, "/schedules/scrum/run", 409)
    assert "scrum@2026-03-02T09:00:00Z is sent already" in refused["detail"]
    (row,) = await world.rows("scrum")
    assert (row["origin"], row["requested_by"]) == ("user", "ada")


WEEK = {"since": "2026-03-02T00:00:00Z", "before": "2026-03-09T00:00:00Z"}


async def test_a_dry_run_tells_what_a_backfill_would_run_and_why(
    world: World, api: httpx.AsyncClient
) -> None:
    await a_lost_week(world)
    received = await asked(api, "/schedules/scrum/backfill", 200, **WEEK)
    assert [one["runs"] for one in received["times"]] == 5 * [True]
    assert received["times"][0]["reason"].startswith("missed: nothing looked")
    failed = await asked(api, "/schedules/scrum/backfill", 200, **WEEK, which="failed")
    assert not any(one["runs"] for one in failed["times"])
    earlier = {"since": "2026-02-26T00:00:00Z", "before": "2026-03-02T00:00:00Z"}
    all_ = await asked(api, "/schedules/scrum/backfill", 200, **earlier, which="all")
    assert [one["nominal"][:10] for one in all_["times"]] == ["2026-02-26", "2026-02-27"]
    assert world.due() == [m for m in world.due() if "03-09" in m.id]


async def test_a_backfill_runs_in_order_so_many_at_once_and_goes_on_after_a_kill(
    world: World, api: httpx.AsyncClient
) -> None:
    await a_lost_week(world)
    before = len(world.due())
    begun = await asked(api, "/schedules/scrum/backfill", 202, **WEEK, dry_run=False, at_once=2)
    path = f"/backfills/{begun['number']}"
    now = MONDAY + 7 * DAY + 16 * HOUR
    await world.wake(now)
    assert [m.id[-20:-10] for m in world.due()[before:]] == ["2026-03-02", "2026-03-03"]
    await world.wake(now + MINUTE)
    assert len(world.due()) == before + 2, "two are at work"

    await asked(api, f"{path}/pause", 200)
    await world.work()
    await world.wake(now + 2 * MINUTE)
    assert len(world.due()) == before + 2, "it is paused"
    await asked(api, f"{path}/resume", 200)
    world.deploy()  # another process: the first one is gone
    for minute in range(3, 7):
        await world.wake(now + minute * MINUTE)
        await world.work()
    shown = (await api.get(path)).json()
    assert shown["state"] == "done"
    assert [one["state"] for one in shown["items"]] == 5 * ["done"]
    assert WORK.done[1:] == [f"scrum@2026-03-0{day} 14:00" for day in range(2, 7)]
    assert {row["origin"] for row in (await world.rows("scrum"))[:5]} == {"backfill"}
    await asked(api, f"{path}/cancel", 409)


async def test_a_cancelled_backfill_leaves_what_waits(world: World, api: httpx.AsyncClient) -> None:
    await a_lost_week(world)
    begun = await asked(api, "/schedules/scrum/backfill", 202, **WEEK, dry_run=False)
    await world.wake(MONDAY + 7 * DAY + 16 * HOUR)
    shown = await asked(api, f"/backfills/{begun['number']}/cancel", 200)
    assert shown["changed_by"] == "ada"
    await world.work()
    await world.wake(MONDAY + 7 * DAY + 17 * HOUR)
    states = list((await world.states("scrum")).values())
    assert states == ["done", "missed", "missed", "missed", "missed", "done"]


async def test_backfills_are_listed_with_how_far_they_are_a_page_at_a_time(
    world: World, api: httpx.AsyncClient
) -> None:
    await a_lost_week(world)
    for _ in range(3):
        begun = await asked(api, "/schedules/scrum/backfill", 202, **WEEK, dry_run=False)
        await asked(api, f"/backfills/{begun['number']}/pause", 200)
    last = begun["number"]
    await asked(api, f"/backfills/{last}/cancel", 200)
    first = (await api.get("/backfills", params={"limit": 2})).json()
    rest = (await api.get("/backfills", params={"cursor": first["next"]})).json()
    found = first["backfills"] + rest["backfills"]
    assert [(one["number"], one["state"]) for one in found] == [
        *((last, "cancelled"), (last - 1, "paused"), (last - 2, "paused")),
    ]
    assert (found[1]["times"], found[1]["schedule"], found[1]["requested_by"]) == (
        5,
        "scrum",
        "ada",
    )
    assert 0 <= found[1]["sent"] <= 1
    assert rest["next"] is None
    for query, count in (({"state": "paused"}, 2), ({"schedule": "none"}, 0)):
        assert len((await api.get("/backfills", params=query)).json()["backfills"]) == count
    assert (await api.get("/backfills", params={"state": "lost"})).status_code == 422
    assert (await api.get("/backfills", params={"cursor": "x"})).status_code == 422


@pytest.mark.parametrize(
    ("path", "emitted", "message"),
    [
        ("pause", {}, "reason"),
        ("pause", {"reason": "r", "until": "2026-03-02T00:00:00"}, "until"),
        ("backfill", {**WEEK, "before": "2026-03-01T00:00:00Z"}, "before"),
        ("backfill", {**WEEK, "before": "2027-03-01T00:00:00Z"}, "future"),
        ("backfill", {**WEEK, "at_once": 0}, "at_once"),
        ("backfill", {**WEEK, "which": "lost"}, "which"),
        ("run", {"minute": 1}, "minute"),
    ],
)
async def test_what_cannot_be_done_names_the_field(
    world: World, api: httpx.AsyncClient, path: str, emitted: dict[str, Any], message: str
) -> None:
    refused = await asked(api, f"/schedules/scrum/{path}", 422, **emitted)
    assert message in refused["detail"]


async def test_an_unknown_schedule_is_not_found(world: World, api: httpx.AsyncClient) -> None:
    assert (await api.get("/schedules/none")).status_code == 404
    assert (await api.get("/backfills/1")).status_code == 404
    world.now = MONDAY + 30 * DAY
    for path, emitted in (
        ("run", {}),
        ("resume", {}),
        ("pause", {"reason": "r"}),
        ("backfill", WEEK),
    ):
        await asked(api, f"/schedules/none/{path}", 404, **emitted)


async def test_metrics_count_what_became_of_nominal_times(world: World) -> None:
    await a_lost_week(world)
    found = {(g.name, *g.labels.values()): g.value for g in await gauges(world.ctx)}
    assert found == {
        ("schedules_not_followed",): 0,
        ("schedule_ticks_total", "failed", "run-failed"): 0,
        ("schedule_ticks_total", "failed", "no-answer"): 0,
        ("schedule_ticks_total", "missed", "late"): 5,
        ("schedule_ticks_total", "missed", "no-calendar"): 0,
        ("schedule_ticks_total", "sent", "late"): 1,
        ("schedule_ticks_total", "done", "late"): 1,
        ("schedule_lateness_seconds", "scrum"): 3600,
    }


async def test_a_schedule_that_was_never_followed_is_counted(world: World) -> None:
    world.ping("new", "0 14 * * *", missed="sometimes")
    await world.wake(MONDAY + HOUR)
    found = {one.name: one.value for one in await gauges(world.ctx)}
    assert found["schedules_not_followed"] == 1
    world.pings.clear()
    await world.wake(MONDAY + HOUR + MINUTE)
    found = {one.name: one.value for one in await gauges(world.ctx)}
    assert found["schedules_not_followed"] == 0, "the last one is gone"
