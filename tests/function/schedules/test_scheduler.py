"""scheduler: each nominal time has one row and one effect, whatever becomes of the ticks."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import asyncpg
import pytest

from functions.events.schedule import ScheduleDue, ScheduleRecovered, TickDue
from functions.kit import cloudevents
from functions.kit.contract import envelope
from functions.kit.durable.retention import forget
from functions.scheduler import schedule_rows
from functions.scheduler.backfill import retention
from functions.scheduler.decide.nominal import Version
from functions.scheduler.decide.tick import Origin, State, Tick
from functions.scheduler.messages import due_by
from functions.scheduler.wake import wake
from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.kubernetes_peer import Say
from tests.support.schedule_world import WORK, World, schedule_world

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
FRIDAY = datetime(2026, 3, 6, tzinfo=UTC)


@pytest.fixture
async def world(cluster: Cluster, functions_database: str, tmp_path: Path) -> AsyncIterator[World]:
    async with schedule_world(cluster, functions_database, tmp_path, FRIDAY) as world:
        yield world


async def test_a_nominal_time_is_sent_once_however_often_its_tick_comes(world: World) -> None:
    world.ping("nightly", "0 14 * * *", missed="latest")
    await world.wake(FRIDAY)
    for second in (0, 1, 30, 59):
        at = FRIDAY + 14 * HOUR + second * timedelta(seconds=1)
        await world.wake(at, "nightly")
        await world.wake(at)
    (message,) = world.due()
    assert message.id == "nightly@2026-03-06T14:00:00Z"
    assert message.source == "/functions/scheduler"
    event = envelope.open_(message, (TickDue,))
    assert isinstance(event, TickDue)
    assert event.nominal == FRIDAY + 14 * HOUR
    assert event.due_by == FRIDAY + DAY
    assert event.project_id == "P"


async def test_a_tick_that_never_comes_changes_nothing(world: World) -> None:
    world.ping("nightly", "0 14 * * *", missed="latest")
    await world.wake(FRIDAY)
    await world.wake(FRIDAY + 14 * HOUR + MINUTE)
    assert [m.id for m in world.due()] == ["nightly@2026-03-06T14:00:00Z"]
    (row,) = await world.rows("nightly")
    assert (row["state"], row["origin"]) == ("sent", "clock")


async def test_what_was_missed_for_three_days_runs_one_after_the_other(world: World) -> None:
    world.ping("scrum", "0 14 * * *", missed="all", missed_window="3d", overlap="queue-all")
    await world.wake(FRIDAY)
    back = FRIDAY + 4 * DAY + 7 * HOUR  # Tuesday morning: Friday's is out of the window
    for minute in range(5):
        await world.wake(back + minute * MINUTE)
        await world.work()
    assert await world.states("scrum") == {
        "03-06 14:00": "missed",
        "03-07 14:00": "done",
        "03-08 14:00": "done",
        "03-09 14:00": "done",
    }
    assert WORK.done == [f"scrum@2026-03-0{day} 14:00" for day in (7, 8, 9)]
    assert {row["origin"] for row in (await world.rows("scrum"))[1:]} == {"catch-up"}


@pytest.mark.parametrize(
    "policy",
    [{}, {"jitter": "25m"}, {"overlap": "queue-all"}, {"overlap": "cancel"}],
    ids=lambda policy: "-".join(policy.values()) or "plain",
)
async def test_two_schedulers_at_once_send_each_time_once(
    world: World, policy: dict[str, str]
) -> None:
    for number in range(5):
        world.ping(f"s{number}", "*/10 * * * *", missed="all", missed_window="1d", **policy)
    first, second = world.deploy(), world.deploy()
    world.now = FRIDAY
    await asyncio.gather(wake(first), wake(second))
    for hour in range(1, 4):
        world.now = FRIDAY + hour * HOUR
        await asyncio.gather(wake(first), wake(second), wake(first), wake(second))
    rows = [row for n in range(5) for row in await world.rows(f"s{n}")]
    sent = sum(row["sent_at"] is not None for row in rows)

    async def all_left() -> bool:  # one waits for what the other sends before it
        await world.cluster.relayed()
        return len(world.due()) >= sent

    assert await eventually(all_left)
    ids = [m.id for m in world.due()]
    assert len(ids) == len(set(ids)) == sent
    assert len(rows) == 5 * 18
    assert len(ids) == 5 * 18 or policy


async def test_a_changed_expression_does_not_rewrite_the_past(world: World) -> None:
    world.ping("report", "30 8 * * *", missed="all", missed_window="3d")
    await world.wake(FRIDAY + 8 * HOUR)
    world.ping("report", "15 * * * *", missed="all", missed_window="3d")
    await world.wake(FRIDAY + 10 * HOUR + 20 * MINUTE)
    await world.wake(FRIDAY + 11 * HOUR + 20 * MINUTE)
    assert list(await world.states("report")) == ["03-06 08:30", "03-06 11:15"]


async def test_a_schedule_goes_on_while_kubernetes_is_away(world: World) -> None:
    world.ping("nightly", "0 14 * * *", missed="latest")
    await world.wake(FRIDAY)
    world.peer.judge = lambda request, body: Say(503)
    await world.wake(FRIDAY + 14 * HOUR)
    assert len(world.due()) == 1


async def test_a_schedule_that_was_deleted_runs_no_more(world: World) -> None:
    world.ping("nightly", "0 14 * * *", missed="latest")
    await world.wake(FRIDAY)
    del world.pings["nightly"]
    await world.wake(FRIDAY + HOUR)
    await world.wake(FRIDAY + 2 * DAY)
    assert world.due() == []


async def test_what_a_user_fires_runs_at_once_and_is_a_row(world: World) -> None:
    world.ping("nightly", "0 14 * * *", missed="latest")
    await world.wake(FRIDAY)
    for _ in range(2):
        at = FRIDAY + 9 * HOUR + 7 * MINUTE + timedelta(seconds=12)
        await world.wake(at, "nightly", requested_by="ada")
    assert [m.id for m in world.due()] == ["nightly@2026-03-06T09:07:00Z"]
    (row,) = await world.rows("nightly")
    assert (row["origin"], row["requested_by"]) == ("user", "ada")
    assert world.due()[0].extensions["requestedby"] == "ada"


async def test_a_schedule_without_policies_is_passed_on(world: World) -> None:
    world.ping("plain", "0 14 * * *")
    await world.wake(FRIDAY + 14 * HOUR, "plain", project_id="P")
    (message,) = world.due()
    event = envelope.open_(message, (TickDue,))
    raw = ScheduleDue(schedule="plain", time=FRIDAY + 14 * HOUR, project_id="P")
    assert event.identity() == raw.identity()
    assert await world.rows("plain") == []


async def test_a_function_takes_the_same_time_as_a_tick_and_from_the_scheduler_once(
    world: World,
) -> None:
    world.ping("nightly", "0 14 * * *", missed="latest")
    await world.wake(FRIDAY)
    await world.wake(FRIDAY + 14 * HOUR)
    raw = ScheduleDue(schedule="nightly", time=FRIDAY + 14 * HOUR, project_id="P")
    await world.work()
    await world.cluster.tell("worker", raw)
    assert WORK.done == ["nightly@2026-03-06 14:00"]


async def test_a_run_that_fails_may_be_tried_again_before_its_tick_has_failed(
    world: World,
) -> None:
    world.ping("nightly", "0 14 * * *", missed="latest")
    await world.wake(FRIDAY)
    at = FRIDAY + 14 * HOUR
    await world.wake(at)
    WORK.fails = True
    await world.work()
    await world.wake(at + MINUTE)
    assert list((await world.states("nightly")).values()) == ["running"]
    await world.wake(at + 12 * MINUTE)
    (row,) = await world.rows("nightly")
    assert (row["state"], row["cause"]) == ("failed", "run-failed")
    assert row["reason"] == "worker: PermanentError: the disk is full"
    WORK.fails = False
    await world.cluster.tell("worker", world.due()[0])  # a redrive
    await world.wake(at + 13 * MINUTE)
    assert list((await world.states("nightly")).values()) == ["done"]


async def test_failures_in_a_row_pause_a_schedule(world: World) -> None:
    world.ping("hourly", "0 * * * *", missed="latest", pause_after="2")
    await world.wake(FRIDAY)
    WORK.fails = True
    for hour in (1, 2, 3):
        await world.wake(FRIDAY + hour * HOUR)
        await world.work()
        await world.wake(FRIDAY + hour * HOUR + MINUTE)
        await world.wake(FRIDAY + hour * HOUR + 30 * MINUTE)
    assert list((await world.states("hourly")).values()) == ["failed", "failed", "skipped"]
    assert (await world.rows("hourly"))[2]["reason"] == (
        "paused by scheduler: 2 runs failed in a row"
    )


async def test_a_schedule_that_works_again_after_a_pause_by_failures_is_reported_once(
    world: World,
) -> None:
    world.ping("hourly", "0 * * * *", missed="latest", pause_after="1")
    await world.wake(FRIDAY)
    WORK.fails = True
    await world.wake(FRIDAY + HOUR)
    await world.work()
    for minutes in (1, 30, 31):
        await world.wake(FRIDAY + HOUR + minutes * MINUTE)
    WORK.fails = False
    await world.cluster.tell("worker", world.due()[0])  # a redrive, which is no resuming
    await world.wake(FRIDAY + HOUR + 40 * MINUTE)
    assert recovered(world) == []
    async with world.ctx.store.transaction() as tx:
        assert await schedule_rows.resume(tx, "hourly", world.now)
    for hour in (2, 3):
        await world.wake(FRIDAY + hour * HOUR)
        await world.work()
        await world.wake(FRIDAY + hour * HOUR + MINUTE)
    (message,) = recovered(world)
    assert message.id == "hourly@2026-03-06T02:00:00Z/recovered"
    assert json.loads(message.data) == {"failing_since": "2026-03-06T01:30:00Z"}


def recovered(world: World) -> list[cloudevents.Message]:
    sent = world.cluster.sink.messages
    return [one for one in sent if one.type == ScheduleRecovered.type]


async def test_policies_that_cannot_be_read_leave_the_schedule_as_it_was(world: World) -> None:
    world.ping("nightly", "0 14 * * *", missed="latest")
    await world.wake(FRIDAY)
    world.ping("nightly", "0 15 * * *", missed="sometimes")
    await world.wake(FRIDAY + 14 * HOUR)
    assert [m.id for m in world.due()] == ["nightly@2026-03-06T14:00:00Z"]


async def test_ticks_are_kept_for_as_long_as_the_setting_says(world: World) -> None:
    world.environ["TICK_RETENTION_DAYS"] = "2"
    world.deploy()
    world.ping("nightly", "0 14 * * *", missed="none")
    await world.wake(FRIDAY)
    await world.wake(FRIDAY + 5 * DAY)
    assert len(await world.states("nightly")) == 5
    await forget(world.ctx.store, "scheduler", rules=retention(world.ctx))
    assert await world.states("nightly") == {}


async def test_a_holiday_of_a_calendar_is_skipped_by_its_name(world: World, tmp_path: Path) -> None:
    folder = tmp_path / "calendars"
    folder.mkdir()
    (folder / "us.yaml").write_text(
        'name: us-federal\nversion: "2026.1"\nholidays: {2026-03-06: Employee Appreciation Day}\n'
    )
    (folder / "broken.yaml").write_text("name: [")
    world.environ["CALENDARS_FOLDER"] = str(folder)
    world.deploy()
    world.ping("report", "0 14 * * *", missed="all", calendar="us-federal")
    world.ping("other", "0 14 * * *", missed="all", calendar="eu")
    await world.wake(FRIDAY)
    await world.wake(FRIDAY + 14 * HOUR)
    (row,) = await world.rows("report")
    assert (row["state"], row["cause"]) == ("skipped", "holiday")
    assert row["reason"] == "Employee Appreciation Day (us-federal, 2026.1)"
    (other,) = await world.rows("other")
    assert (other["state"], other["reason"]) == ("due", "calendar eu is missing")
    (folder / "eu.yaml").write_text('name: eu\nversion: "1"\nholidays: {}\n')
    await world.wake(FRIDAY + 16 * HOUR)
    (other,) = await world.rows("other")
    assert (other["state"], other["origin"]) == ("sent", "catch-up")
    assert other["reason"] == "calendar eu was missing until 2026-03-06 16:00:00Z"


async def test_what_comes_after_its_window_is_missed_and_has_no_effect(world: World) -> None:
    world.ping("nightly", "0 14 * * *", missed="latest")
    await world.wake(FRIDAY)
    world.cluster.down.add("broker-ingress")
    at = FRIDAY + 14 * HOUR
    await world.wake(at)
    await world.wake(at + HOUR)
    assert await world.states("nightly") == {"03-06 14:00": "sent"}, "its event waits unsent"
    world.cluster.down.clear()
    await eventually(lambda: sent(world))
    world.now = at + DAY
    await world.work()
    assert WORK.done == []
    await world.wake(at + DAY)
    first, second = await world.rows("nightly")
    assert (first["state"], first["cause"]) == ("missed", "late")
    assert first["reason"] == "worker: TooLate: it was due by 2026-03-07T00:00:00Z"
    await world.work()
    assert (second["state"], WORK.done) == ("sent", ["nightly@2026-03-07 14:00"])


async def test_what_a_function_of_the_version_before_refused_as_late_is_missed(
    world: World,
) -> None:
    world.ping("nightly", "0 14 * * *", missed="latest")
    await world.wake(FRIDAY)
    at = FRIDAY + 14 * HOUR
    await world.wake(at)
    (message,) = world.due()
    connection = await asyncpg.connect(world.database)
    await connection.execute(
        """INSERT INTO run (function, source, id, type, took_ms, outcome, detail, failure_kind,
                            event_source, event_id)
           VALUES ('worker', $1, $2, $3, 1, 'failed', 'TooLate: no', 'temporary', $1, $2)""",
        *(message.source, message.id, message.type),
    )
    await connection.close()
    await world.wake(at + HOUR)
    (row,) = await world.rows("nightly")
    assert (row["state"], row["cause"]) == ("missed", "late")


async def test_silence_counts_from_when_the_broker_took_the_event(world: World) -> None:
    world.ping("nightly", "0 14 * * *", missed="latest")
    await world.wake(FRIDAY)
    world.cluster.down.add("broker-ingress")
    at = FRIDAY + 14 * HOUR
    await world.wake(at)
    await world.wake(at + 20 * MINUTE)
    await world.wake(at + 40 * MINUTE)
    world.cluster.down.clear()
    await eventually(lambda: sent(world))
    await world.wake(at + 41 * MINUTE)
    assert await world.states("nightly") == {"03-06 14:00": "sent"}, "its function may begin yet"
    await world.wake(at + 71 * MINUTE)
    (row,) = await world.rows("nightly")
    assert (row["state"], row["cause"]) == ("failed", "no-answer")
    assert row["reason"] == "no function has recorded a run of it within 0:30:00"


async def test_a_tick_that_the_broker_refuses_says_so(world: World) -> None:
    world.ping("nightly", "0 14 * * *", missed="latest")
    await world.wake(FRIDAY)
    world.cluster.down.add("broker-ingress")
    at = FRIDAY + 14 * HOUR
    await world.wake(at)
    async with world.ctx.store.transaction() as tx:
        await tx.execute("UPDATE outbox_event SET refusal = 413")
    await world.wake(at + 31 * MINUTE)
    (row,) = await world.rows("nightly")
    assert (row["cause"], row["reason"]) == ("no-answer", "the Broker refused it: 413")


async def sent(world: World) -> bool:
    return bool(world.due())


async def test_a_late_event_that_a_user_sends_again_from_the_dead_letters_runs(
    world: World,
) -> None:
    world.ping("nightly", "0 14 * * *", missed="latest")
    await world.wake(FRIDAY)
    await world.wake(FRIDAY + 14 * HOUR)
    (message,) = world.due()
    world.now = FRIDAY + 2 * DAY
    again = {**message.extensions, "redriveof": "1"}
    await world.cluster.tell("worker", replace(message, extensions=again))
    assert WORK.done == ["nightly@2026-03-06 14:00"]


@pytest.mark.parametrize("origin", [Origin.USER, Origin.BACKFILL, Origin.CLOCK])
def test_what_is_sent_has_a_while_to_arrive(origin: Origin) -> None:
    version = Version(FRIDAY, "30 23 * * *")
    at = FRIDAY + 23 * HOUR + 30 * MINUTE
    tick = Tick(at, at, State.SENT, origin)
    assert due_by(version, tick, at) == at + HOUR
    later = due_by(version, tick, at + 2 * DAY)
    assert later == at + 2 * DAY + HOUR
