"""Nominal times that wait, for their jitter, a working day, another run or a pause's end."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from functions.schedule_policy import Holiday, Missed, Overlap
from functions.scheduler.decide.nominal import jittered
from functions.scheduler.decide.reconcile import Pause, close
from functions.scheduler.decide.tick import Cause, Origin, State, Tick
from tests.unit.test_scheduler_decide import DAY, HOUR, MINUTE, START, THANKSGIVING, Ledger, ledger

JITTER = 50 * MINUTE


def waiting_for_its_jitter(**policy: Any) -> tuple[Ledger, Tick]:
    """A ledger that has seen one nominal time, which is not due yet."""
    book = ledger("0 9 * * *", jitter=JITTER, **policy)
    nominal = START + 9 * HOUR
    assert jittered("s", nominal, JITTER) > nominal + MINUTE
    book.wake(nominal)
    return book, book.rows[nominal]


@pytest.mark.parametrize(
    ("missed", "window", "late", "state"),
    [
        (Missed.ALL, 2 * HOUR, HOUR, State.SENT),
        (Missed.ALL, 2 * HOUR, 3 * HOUR, State.MISSED),
        (Missed.LATEST, None, HOUR, State.SENT),
        (Missed.LATEST, None, DAY / 2, State.SENT),
        (Missed.LATEST, None, DAY, State.MISSED),
        (Missed.NONE, 2 * HOUR, MINUTE, State.SENT),
        (Missed.NONE, 2 * HOUR, 2 * MINUTE, State.MISSED),
    ],
)
def test_the_policy_is_asked_again_when_a_jittered_time_comes_late(
    missed: Missed, window: timedelta | None, late: timedelta, state: State
) -> None:
    book, row = waiting_for_its_jitter(missed=missed, missed_window=window)
    book.wake(row.due + late)
    assert book.rows[row.nominal].state is state
    assert book.rows[row.nominal].reason or late == MINUTE
    assert (book.rows[row.nominal].cause is Cause.LATE) is (late > MINUTE)
    if state is State.SENT and late > MINUTE:
        assert book.rows[row.nominal].origin is Origin.CATCH_UP


def test_of_several_that_come_late_only_the_latest_runs_also_where_one_has_waited() -> None:
    book, row = waiting_for_its_jitter(missed=Missed.LATEST, missed_window=3 * DAY)
    book.wake(START + DAY + 12 * HOUR)
    assert [tick.state for tick in book.rows.values()] == [State.MISSED, State.SENT]
    assert "a later time runs instead" in book.rows[row.nominal].reason


def test_a_run_that_a_holiday_has_moved_is_missed_after_its_window() -> None:
    start = datetime(2026, 11, 26, tzinfo=UTC)
    for hours, state in ((20, State.SENT), (60, State.MISSED)):
        book = ledger(
            "0 14 * * 4",
            start=start,
            calendar="us-federal",
            holiday=Holiday.NEXT,
            missed=Missed.ALL,
        )
        book.calendars = {"us-federal": THANKSGIVING}
        book.wake(start + 15 * HOUR)
        (row,) = book.rows.values()
        assert (row.state, row.due.day) == (State.DUE, 27)
        book.wake(start + DAY + hours * HOUR)
        (row,) = book.rows.values()
        assert row.state is state
        assert "Thanksgiving Day" in row.reason, "why it came on that day is not forgotten"


@pytest.mark.parametrize("missed", Missed)
@pytest.mark.parametrize("overlap", [Overlap.QUEUE_ONE, Overlap.QUEUE_ALL])
def test_what_waits_for_another_run_came_due_in_time_and_has_its_window(
    overlap: Overlap, missed: Missed
) -> None:
    for hours, state in ((3, State.SENT), (5, State.MISSED)):
        book = ledger("0 9,10 * * *", overlap=overlap, missed=missed, missed_window=4 * HOUR)
        book.wake(START + 9 * HOUR)
        book.wake(START + 10 * HOUR)
        waits = book.rows[START + 10 * HOUR]
        assert (waits.state, waits.cause) == (State.DUE, Cause.WAITING)
        book.end()
        book.wake(START + (10 + hours) * HOUR)
        row = book.rows[START + 10 * HOUR]
        assert row.state is state
        if state is State.SENT:
            assert row.reason == "waited for 2026-03-27T09:00:00Z"
        else:
            assert row.reason.startswith("waits for 2026-03-27T09:00:00Z, and missed-window")


def test_what_waits_while_a_schedule_is_paused_says_so_and_is_skipped_after_its_window() -> None:
    book, row = waiting_for_its_jitter(missed=Missed.NONE, missed_window=2 * HOUR)
    book.schedule = replace(book.schedule, pause=Pause("ada", "the server moves"))
    book.wake(row.due + MINUTE)
    held = book.rows[row.nominal]
    assert (held.state, held.reason) == (State.DUE, "waits: paused by ada: the server moves")
    resumed = Ledger(replace(book.schedule, pause=None), dict(book.rows))
    resumed.wake(row.due + HOUR)
    assert resumed.rows[row.nominal].state is State.SENT
    book.wake(row.due + 3 * HOUR)
    assert book.rows[row.nominal].state is State.SKIPPED
    assert book.rows[row.nominal].reason == "paused by ada: the server moves"


def test_a_schedule_that_is_gone_leaves_no_time_undecided() -> None:
    book, row = waiting_for_its_jitter(missed=Missed.ALL, missed_window=30 * DAY)
    now = START + 2 * DAY
    schedule = replace(book.schedule, open=[row])
    ended = close(schedule, now, {})
    assert [tick.nominal for tick in ended] == [START + 9 * HOUR, START + DAY + 9 * HOUR]
    assert {(tick.state, tick.cause) for tick in ended} == {(State.SKIPPED, Cause.REMOVED)}
    assert ended[0].reason == (
        "its PingSource was gone, or had no policies any more, at 2026-03-29 00:00:00Z"
    )
