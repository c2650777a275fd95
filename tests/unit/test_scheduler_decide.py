"""The ledger against a model that looks at every minute, over outages, doubles and changes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from functions.schedule_policy import Fold, Gap, Holiday, Missed, Overlap, Policy
from functions.scheduler.decide.calendar import Calendar
from functions.scheduler.decide.nominal import Version, times
from functions.scheduler.decide.reconcile import Decision, Pause, Schedule, reconcile
from functions.scheduler.decide.tick import Cause, Origin, State, Tick

MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)
START = datetime(2026, 3, 27, tzinfo=UTC)  # two days before the clocks change in Europe
ZONES = ["", "Europe/Berlin", "America/Chicago", "Australia/Lord_Howe", "Asia/Kathmandu"]
# Minute, hour, weekday: few enough that a model may look at every minute.
EXPRESSIONS = st.builds(
    "{} {} * * {}".format,
    st.sampled_from(["0", "30", "*/20", "59"]),
    st.sampled_from(["*", "2", "8", "1-3", "*/6"]),
    st.sampled_from(["*", "1-5", "0"]),
)
# A day before the clocks change, forward and back, in Berlin, Chicago and on Lord Howe Island.
CHANGES = [
    datetime(2026, month, day, tzinfo=UTC)
    for month, day in ((3, 28), (10, 24), (3, 7), (10, 31), (4, 4), (10, 3))
]
THANKSGIVING = Calendar("us-federal", "2026.1", {date(2026, 11, 26): "Thanksgiving Day"})


@dataclass
class Ledger:
    """Rows by nominal time, as tables would keep them, and each that was sent."""

    schedule: Schedule
    rows: dict[datetime, Tick] = field(default_factory=dict)
    sent: list[tuple[datetime, datetime]] = field(default_factory=list)
    calendars: Mapping[str, Calendar] = field(default_factory=dict)

    def wake(self, now: datetime) -> Decision:
        unfinished = (State.DUE, State.SENT, State.RUNNING)
        self.schedule = replace(
            self.schedule,
            open=[row for row in self.rows.values() if row.state in unfinished],
            ahead=frozenset(at for at in self.rows if at > self.schedule.reconciled_until),
        )
        decision = reconcile(self.schedule, now, self.calendars)
        self.rows |= {tick.nominal: tick for tick in decision.ticks}
        self.sent += [(tick.nominal, now) for tick in decision.send]
        self.schedule = replace(
            self.schedule,
            reconciled_until=max(now, self.schedule.reconciled_until),
            pause=decision.pause,
        )
        return decision

    def end(self, state: State = State.DONE) -> None:
        """All that runs ends."""
        for at, row in self.rows.items():
            if row.state is State.SENT:
                self.rows[at] = replace(row, state=state)

    def states(self) -> dict[str, str]:
        return {tick.name: tick.state.value for tick in self.rows.values()}


def ledger(expression: str, *, zone: str = "", start: datetime = START, **policy: object) -> Ledger:
    version = Version(start, expression, zone, Policy(**policy))  # type: ignore[arg-type]
    return Ledger(Schedule("s", [version], reconciled_until=start))


def model(expression: str, zone: str, after: datetime, until: datetime) -> list[datetime]:
    """The minutes whose wall time an expression of the strategy above names."""
    minutes, hours, _, _, weekdays = map(_values, expression.split(), (60, 24, 0, 0, 7))
    at, found = after.replace(second=0, microsecond=0) + MINUTE, []
    while at <= until:
        wall = at.astimezone(ZoneInfo(zone or "UTC"))
        if (wall.minute in minutes) & (wall.hour in hours) & (wall.isoweekday() % 7 in weekdays):
            found.append(at)
        at += MINUTE
    return found


def _values(text: str, size: int) -> set[int]:
    if text.startswith("*"):
        return set(range(0, size, int(text[2:] or 1)))
    low, _, high = text.partition("-")
    return set(range(int(low), int(high or low) + 1))


@given(EXPRESSIONS, st.sampled_from(ZONES), st.lists(st.integers(0, 4 * 1440), max_size=30))
@settings(max_examples=30, deadline=None)
def test_each_nominal_time_has_one_row_whatever_wakes_the_scheduler(
    expression: str, zone: str, wakes: list[int]
) -> None:
    book = ledger(expression, zone=zone, missed=Missed.ALL, missed_window=30 * DAY)
    for minute in [*wakes, 4 * 1440]:  # in any order, doubled, with outages
        now = START + minute * MINUTE
        book.wake(now)
        book.wake(now)
        book.end()
    wanted = model(expression, zone, START, START + 4 * DAY)
    assert sorted(book.rows) == wanted
    assert sorted(at for at, _ in book.sent) == wanted
    assert all(at <= now for at, now in book.sent)


@given(
    EXPRESSIONS,
    st.sampled_from(ZONES),
    st.sets(st.integers(0, 8)),
    st.sampled_from(Holiday),
    st.lists(st.integers(0, 4 * 1440), max_size=20),
)
@settings(max_examples=30, deadline=None)
def test_each_nominal_time_has_one_row_and_runs_on_a_working_day_whatever_the_calendar(
    expression: str, zone: str, offsets: set[int], holiday: Holiday, wakes: list[int]
) -> None:
    days = {date(2026, 3, 25) + number * DAY: "Feast" for number in offsets}
    book = ledger(expression, zone=zone, missed=Missed.ALL, missed_window=30 * DAY)
    version = book.schedule.versions[0]
    policy = replace(version.policy, calendar="c", holiday=holiday)
    book.schedule = replace(book.schedule, versions=[replace(version, policy=policy)])
    book.calendars = {"c": Calendar("c", "1", days)}
    until = START + 4 * DAY
    for minute in [*sorted(wakes), 4 * 1440]:
        book.wake(START + minute * MINUTE)
        book.end()
    wanted = model(expression, zone, START, until)
    assert [at for at in sorted(book.rows) if at <= until] == wanted
    sent = [at for at, _ in book.sent]
    assert len(sent) == len(set(sent)), "none twice"
    assert all(book.rows[at].due <= now for at, now in book.sent), "none before it is due"
    for at, row in book.rows.items():
        due = row.due.astimezone(ZoneInfo(zone or "UTC")).date()
        if at.astimezone(ZoneInfo(zone or "UTC")).date() not in days:
            assert (row.due, at in sent) == (at, True)
        elif row.state is State.SKIPPED:
            assert "Feast (c, 1)" in row.reason
        else:
            assert holiday is not Holiday.SKIP
            assert due not in days, "it moved to a working day"
            assert (row.due > at) is (holiday is Holiday.NEXT)
            assert (at in sent) is (row.due <= until)


@given(EXPRESSIONS, st.sampled_from(ZONES), st.integers(1, 3 * 1440))
@settings(max_examples=30, deadline=None)
def test_a_changed_expression_does_not_rewrite_the_past(
    expression: str, zone: str, minute: int
) -> None:
    book = ledger("17 * * * *", missed=Missed.ALL, missed_window=30 * DAY)
    changed, until = START + minute * MINUTE, START + 4 * DAY
    new = Version(changed, expression, zone, book.schedule.versions[0].policy)
    book.schedule = replace(book.schedule, versions=[*book.schedule.versions, new])
    book.wake(until)
    before = model("17 * * * *", "", START, changed - timedelta(seconds=1))
    assert sorted(book.rows) == before + model(
        expression, zone, changed - timedelta(seconds=1), until
    )


@given(EXPRESSIONS, st.sampled_from(ZONES), st.sampled_from(CHANGES))
@settings(max_examples=40, deadline=None)
def test_a_fold_runs_once_and_a_gap_runs_after_where_the_policy_says_so(
    expression: str, zone: str, start: datetime
) -> None:
    until = start + 2 * DAY
    policy = Policy(gap=Gap.AFTER, fold=Fold.FIRST)
    found = list(times(Version(start, expression, zone, policy), start, until))
    walls = {at.astimezone(ZoneInfo(zone or "UTC")).replace(tzinfo=None) for at in found}
    assert len(walls) == len(found), "a wall time ran twice"
    added = set(found) - set(model(expression, zone, start, until))
    assert all(_offset(zone, at) != _offset(zone, at - MINUTE) for at in added)


def _offset(zone: str, at: datetime) -> timedelta | None:
    return at.astimezone(ZoneInfo(zone or "UTC")).utcoffset()


def test_a_gap_runs_at_its_end() -> None:
    policy = Policy(gap=Gap.AFTER)
    version = Version(START, "30 2 * * *", "Europe/Berlin", policy)
    found = [f"{at:%d %H:%M}" for at in times(version, START, START + 3 * DAY)]
    assert found == ["27 01:30", "28 01:30", "29 01:00"]


@pytest.mark.parametrize(
    ("missed", "window", "states"),
    [
        (Missed.ALL, 3 * DAY, ["missed", "sent", "sent", "sent"]),
        (Missed.LATEST, 3 * DAY, ["missed", "missed", "missed", "sent"]),
        (Missed.NONE, 3 * DAY, ["missed"] * 4),
        (Missed.ALL, None, ["missed", "missed", "missed", "sent"]),
    ],
)
def test_what_was_missed_runs_by_policy(
    missed: Missed, window: timedelta | None, states: list[str]
) -> None:
    book = ledger("0 9 * * *", missed=missed, missed_window=window)
    book.wake(START + 3 * DAY + 12 * HOUR)
    assert list(book.states().values()) == states
    caught_up = [row for row in book.rows.values() if row.state is State.SENT]
    assert all(row.origin is Origin.CATCH_UP for row in caught_up)
    assert all(row.reason for row in book.rows.values())


@pytest.mark.parametrize(
    ("overlap", "states"),
    [
        (Overlap.ALLOW, ["sent", "sent", "sent", "sent"]),
        (Overlap.SKIP, ["sent", "skipped", "skipped", "skipped"]),
        (Overlap.QUEUE_ONE, ["sent", "due", "skipped", "skipped"]),
        (Overlap.QUEUE_ALL, ["sent", "due", "due", "due"]),
    ],
)
def test_a_time_waits_or_not_while_an_earlier_one_runs(overlap: Overlap, states: list[str]) -> None:
    book = ledger("0 * * * *", overlap=overlap)
    for hour in range(1, 5):
        book.wake(START + hour * HOUR)
    assert list(book.states().values()) == states
    book.end()
    book.wake(START + 4 * HOUR + MINUTE)
    queued = [row for row in book.rows.values() if row.state is State.SENT]
    assert len(queued) == (1 if "due" in states else 0), "the queue goes on, one at a time"


def test_cancel_ends_what_runs() -> None:
    book = ledger("0 * * * *", overlap=Overlap.CANCEL)
    book.wake(START + HOUR)
    decision = book.wake(START + 2 * HOUR)
    assert [tick.nominal for tick in decision.cancel] == [START + HOUR]
    assert [tick.nominal for tick in decision.send] == [START + 2 * HOUR]
    assert decision.cancel[0].state is State.FAILED
    assert decision.cancel[0].reason == "cancelled: 2026-03-27T02:00:00Z is due"


def test_of_several_that_are_due_at_once_cancel_sends_the_last() -> None:
    book = ledger("0 * * * *", overlap=Overlap.CANCEL, missed=Missed.ALL)
    book.wake(START + HOUR)
    decision = book.wake(START + 4 * HOUR)
    assert list(book.states().values()) == ["sent", "skipped", "skipped", "sent"]
    assert [tick.nominal for tick in decision.send] == [START + 4 * HOUR]
    assert [tick.nominal for tick in decision.cancel] == [START + HOUR]


@pytest.mark.parametrize(
    ("expression", "holiday", "day", "reason"),
    [
        ("0 14 * * 1-5", Holiday.SKIP, None, "Thanksgiving Day (us-federal, 2026.1)"),
        ("0 14 * * 4", Holiday.NEXT, 27, "moved to 2026-11-27: Thanksgiving Day"),
        ("0 14 * * 4", Holiday.PREVIOUS, 25, "moved to 2026-11-25: Thanksgiving Day"),
        ("0 14 * * 1-5", Holiday.NEXT, None, "2026-11-27 has a run of its own"),
    ],
)
def test_a_holiday_skips_or_moves_a_run(
    expression: str, holiday: Holiday, day: int | None, reason: str
) -> None:
    start = datetime(2026, 11, 24, 20, tzinfo=UTC)
    book = ledger(expression, start=start, calendar="us-federal", holiday=holiday)
    book.calendars = {"us-federal": THANKSGIVING}
    for hour in range(1, 4 * 24):
        book.wake(start + hour * HOUR)
        book.end()
    nominal = datetime(2026, 11, 26, 14, tzinfo=UTC)
    row = book.rows[nominal]
    assert reason in row.reason
    assert [now.day for at, now in book.sent if at == nominal] == ([] if day is None else [day])


@pytest.mark.parametrize(
    ("expression", "zone", "holiday", "days", "sent"),
    [
        # Late in the day, so that the next midnight is near; the clocks change on the target day.
        (
            "30 23 * * *",
            "America/Chicago",
            Holiday.NEXT,
            ["11-26"],
            ["24 23:30", "25 23:30", "27 23:30"],
        ),
        ("30 23 * 10 6,0", "Europe/Berlin", Holiday.NEXT, ["10-24"], ["25 23:30"]),
        ("0 8 26,27 11 ?", "", Holiday.NEXT, ["11-26", "11-27"], ["28 08:00"]),
        ("0 8 26,27 11 ?", "", Holiday.PREVIOUS, ["11-26", "11-27"], ["25 08:00"]),
        ("0 8,9 26 11 ?", "", Holiday.NEXT, ["11-26"], ["27 08:00", "27 09:00"]),
    ],
)
def test_of_days_that_move_onto_one_or_onto_one_that_runs_itself_one_runs(
    expression: str, zone: str, holiday: Holiday, days: list[str], sent: list[str]
) -> None:
    start = datetime(2026, *((10, 23) if "10-" in days[0] else (11, 24)), 12, tzinfo=UTC)
    book = ledger(expression, zone=zone, start=start, calendar="c", holiday=holiday)
    holidays = {date.fromisoformat(f"2026-{day}"): "Feast" for day in days}
    book.calendars = {"c": Calendar("c", "1", holidays)}
    first = START.replace(month=start.month, day=int(days[0][3:]) - 1)
    for minute in range(0, 5 * 24 * 60, 30):
        book.wake(start + minute * MINUTE)
        book.end()
    local = [now.astimezone(ZoneInfo(zone or "UTC")) for _, now in book.sent]
    assert [f"{at:%d %H:%M}" for at in local if at >= first][: len(sent)] == sent
    assert len({now for _, now in book.sent}) == len(book.sent), "none at one moment with another"


def test_a_time_that_moved_to_before_its_schedule_was_known_does_not_run() -> None:
    start = datetime(2026, 11, 25, 20, tzinfo=UTC)
    book = ledger("0 14 * * 4", start=start, calendar="c", holiday=Holiday.PREVIOUS)
    book.calendars = {"c": THANKSGIVING}
    for hour in range(48):
        book.wake(start + hour * HOUR)
    assert book.sent == []
    (row,) = book.rows.values()
    assert row.state is State.SKIPPED
    assert row.reason.endswith("that was before the schedule was known")


@pytest.mark.parametrize(("hours", "states"), [(3, ["due"] * 3), (25, ["missed"] * 23)])
def test_without_its_calendar_a_time_waits_within_its_window(hours: int, states: list[str]) -> None:
    book = ledger("0 * * * *", calendar="c", missed=Missed.LATEST)
    book.wake(START + hours * HOUR)
    assert list(book.states().values())[: len(states)] == states
    assert {row.cause for row in book.rows.values()} == {Cause.NO_CALENDAR}
    assert book.sent == []


def test_what_waited_for_its_calendar_is_judged_by_it() -> None:
    book = ledger("0 9 * * *", calendar="us-federal", missed=Missed.ALL, missed_window=3 * DAY)
    book.schedule = replace(book.schedule, reconciled_until=START.replace(month=11, day=25))
    now = START.replace(month=11, day=26, hour=12)
    book.wake(now)
    assert list(book.states().values()) == ["due", "due"]
    book.calendars = {"us-federal": THANKSGIVING}
    book.wake(now + MINUTE)
    first, second = book.rows.values()
    assert (first.state, first.origin) == (State.SENT, Origin.CATCH_UP)
    assert first.reason == "calendar us-federal was missing until 2026-11-26 12:01:00Z"
    assert (second.state, second.cause) == (State.SKIPPED, Cause.HOLIDAY)


def test_a_pause_skips_with_its_reason_and_ends_at_its_time() -> None:
    book = ledger("0 * * * *")
    pause = Pause("ada", "the server moves", until=START + 150 * MINUTE)
    book.schedule = replace(book.schedule, pause=pause)
    for hour in range(1, 4):
        book.wake(START + hour * HOUR)
    assert list(book.states().values()) == ["skipped", "skipped", "sent"]
    assert book.rows[START + HOUR].reason == "paused by ada: the server moves"


@pytest.mark.parametrize("until", [None, START + 2 * HOUR])
def test_a_pause_that_came_while_a_wake_up_was_under_way_is_kept(until: datetime | None) -> None:
    book = ledger("0 * * * *")
    pause = Pause("ada", "the server moves", until, since=START + HOUR)
    book.schedule = replace(book.schedule, pause=pause)
    assert book.wake(START + HOUR - timedelta(seconds=1)).pause == pause
    book.wake(START + HOUR)
    assert list(book.states().values()) == ["skipped"]


def test_a_pause_that_ends_during_an_outage_skips_what_it_covered() -> None:
    book = ledger("0 * * * *", missed=Missed.ALL)
    pause = Pause("ada", "the server moves", until=START + 150 * MINUTE)
    book.schedule = replace(book.schedule, pause=pause)
    decision = book.wake(START + 3 * HOUR)
    assert list(book.states().values()) == ["skipped", "skipped", "sent"]
    assert decision.pause is None


def test_failures_in_a_row_pause_a_schedule() -> None:
    book = ledger("0 * * * *", pause_after=2)
    book.schedule = replace(book.schedule, failures=2)
    decision = book.wake(START + HOUR)
    assert decision.pause == Pause("scheduler", "2 runs failed in a row")
    assert not decision.send


@given(st.text(max_size=20), st.integers(0, 10**6))
def test_jitter_is_stable_and_within_its_span(name: str, minute: int) -> None:
    version = Version(START, "* * * * *", "", Policy(jitter=5 * MINUTE, missed=Missed.ALL))
    at = START + minute * MINUTE
    books = [Ledger(Schedule(name, [version], at - MINUTE)) for _ in range(2)]
    for book in books:
        book.wake(at)
    first, second = (book.rows[at] for book in books)
    assert first == second
    assert timedelta() <= first.due - at <= 5 * MINUTE
