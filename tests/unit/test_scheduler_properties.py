"""The ledger over everything at once: any expression, outages, pauses, changes, and its end.

The model looks at every minute, and knows nothing of how `Cron` searches.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from functions.schedule_policy import Holiday, Missed, Overlap, Policy
from functions.scheduler.decide.calendar import Calendar
from functions.scheduler.decide.missed import ON_TIME
from functions.scheduler.decide.nominal import Version, times
from functions.scheduler.decide.reconcile import Pause, Schedule, close
from functions.scheduler.decide.tick import Cause, State, Tick
from tests.unit.test_scheduler_decide import DAY, MINUTE, START, ZONES, Ledger

SPAN = 5 * 1440  # minutes, over a change of the clocks and of the month
WINDOW = 6 * timedelta(hours=1)
# Seconds, minute, hour, day, month, weekday; both with five fields and with six.
EXPRESSIONS = st.builds(
    lambda *fields: " ".join(field for field in fields if field),
    st.sampled_from(["", "0", "*/20", "7,59"]),
    st.sampled_from(["0", "30", "*/20", "59", "1-3"]),
    st.sampled_from(["*", "2", "8", "1-3", "*/6", "?"]),
    st.sampled_from(["*", "?", "28", "*/2", "29-31", "1", "*/1"]),
    st.sampled_from(["*", "3", "4", "MAR-APR", "*/2", "12"]),
    st.sampled_from(["*", "?", "1-5", "0", "*/2", "SAT"]),
)
NAMES = {"MAR": 3, "APR": 4, "SAT": 6}
MINUTES = st.integers(0, SPAN)


def model(expression: str, zone: str, after: datetime, until: datetime) -> list[datetime]:
    """Each second in (after, until] whose wall time the fields name, as robfig/cron means them."""
    fields = expression.split()
    texts = fields if len(fields) == 6 else ["0", *fields]
    ranges = [(0, 59), (0, 59), (0, 23), (1, 31), (1, 12), (0, 6)]
    second, minute, hour, day, month, weekday = map(_values, texts, ranges)
    either = not any(text in ("*", "?", "*/1") for text in (texts[3], texts[5]))
    found, at = list[datetime](), after.replace(second=0, microsecond=0)
    while at <= until:
        wall = at.astimezone(ZoneInfo(zone or "UTC"))
        days = [wall.day in day, wall.isoweekday() % 7 in weekday]
        fits = any(days) if either else all(days)
        if fits and wall.minute in minute and wall.hour in hour and wall.month in month:
            found += [at + timedelta(seconds=number) for number in sorted(second)]
        at += MINUTE
    return [at for at in found if after < at <= until]


def _values(text: str, span: tuple[int, int]) -> set[int]:
    low, high = span
    found: set[int] = set()
    for part in text.split(","):
        ends, _, step = part.partition("/")
        first, _, last = ends.partition("-")
        if first in ("*", "?"):
            numbers = range(low, high + 1)
        else:
            begin, end = (NAMES.get(name) or int(name) for name in (first, last or first))
            numbers = range(begin, end + 1)
        found |= set(numbers[:: int(step or 1)])
    return found


@given(EXPRESSIONS, st.sampled_from(ZONES))
@settings(max_examples=60, deadline=None)
def test_the_times_are_those_of_a_look_at_every_second(expression: str, zone: str) -> None:
    until = START + SPAN * MINUTE
    found = list(times(Version(START, expression, zone), START, until))
    assert found == model(expression, zone, START, until)


@given(
    expressions=st.tuples(EXPRESSIONS, EXPRESSIONS),
    zone=st.sampled_from(ZONES),
    changed=MINUTES,
    wakes=st.lists(MINUTES, max_size=30),
    pauses=st.lists(st.tuples(MINUTES, st.integers(1, 1440)), max_size=3),
    lag=st.sampled_from([-90, 1]),
    calendars=st.lists(st.tuples(MINUTES, st.sets(st.integers(0, 8), max_size=4)), max_size=3),
    jitter=st.sampled_from([0, 20, 300]),
    missed=st.sampled_from(Missed),
    overlap=st.sampled_from(Overlap),
    holiday=st.sampled_from(Holiday),
)
@settings(max_examples=60, deadline=None)
def test_each_nominal_time_has_one_row_that_is_decided_once_and_for_all(
    expressions: tuple[str, str],
    zone: str,
    changed: int,
    wakes: list[int],
    pauses: list[tuple[int, int]],
    lag: int,
    calendars: list[tuple[int, set[int]]],
    jitter: int,
    missed: Missed,
    overlap: Overlap,
    holiday: Holiday,
) -> None:
    policy = Policy(
        missed=missed,
        missed_window=WINDOW,
        overlap=overlap,
        calendar="c",
        holiday=holiday,
        jitter=jitter * MINUTE,
    )
    change = START + changed * MINUTE
    old, new = (
        Version(at, text, zone, policy)
        for at, text in zip((START, change), expressions, strict=True)
    )
    book = Ledger(Schedule("s", [old], START))
    early: set[datetime] = set()  # they ran before a holiday, by the expression of then
    for minute in sorted([*wakes, *(begin for begin, _ in pauses)]):
        now = START + minute * MINUTE
        paused = any(begin <= minute < begin + length for begin, length in pauses)
        known = [(at, days) for at, days in calendars if at <= minute]
        book.calendars = {"c": _calendar(len(known), known[-1][1] if known else set())}
        book.schedule = replace(
            book.schedule,
            versions=[old, new] if change <= now and changed else [old],
            pause=Pause("ada", "moving", since=now + lag * MINUTE) if paused else None,
        )
        before, sent = dict(book.rows), len(book.sent)
        book.wake(now)
        book.wake(now)  # doubled, or another scheduler
        _is_kept(before, book.rows)
        assert bool(book.schedule.pause) is paused, "only a user ends it"
        early |= {at for at in book.rows if at > now}
        assert not (paused and len(book.sent) > sent), "none while it is paused"
        book.end()
    end = START + SPAN * MINUTE
    schedule = replace(
        book.schedule,
        versions=[old, new] if changed else [old],
        open=[row for row in book.rows.values() if row.state is State.DUE],
        ahead=frozenset(at for at in book.rows if at > book.schedule.reconciled_until),
    )
    last = {tick.nominal: tick for tick in close(schedule, end, book.calendars)}
    _is_kept(book.rows, {**book.rows, **last})
    rows = {**book.rows, **last}

    split = change - timedelta(microseconds=1) if changed else end
    wanted = model(expressions[0], zone, START, min(split, end))
    wanted += model(expressions[1], zone, split, end) if changed else []
    assert holiday is Holiday.PREVIOUS or not early
    assert {at for at in rows if at <= end} == {*wanted, *(at for at in early if at <= end)}
    assert all(row.state is not State.DUE for row in rows.values()), "all are decided"
    assert all(row.reason or row.state is State.DONE for row in rows.values()), "and it says why"
    nominal = [at for at, _ in book.sent]
    assert len(nominal) == len(set(nominal)), "none twice"
    for at, now in book.sent:
        row = rows[at]
        assert row.due <= now <= row.due + WINDOW, "neither early nor too late"
        assert row.state in (State.DONE, State.SKIPPED)
        assert row.state is State.DONE or row.cause is Cause.CANCELLED


@given(
    expression=EXPRESSIONS,
    zone=st.sampled_from(ZONES),
    wakes=st.lists(MINUTES, max_size=30),
    missed=st.sampled_from(Missed),
)
@settings(max_examples=60, deadline=None)
def test_what_is_sent_is_what_came_in_time_and_what_the_policy_makes_good(
    expression: str, zone: str, wakes: list[int], missed: Missed
) -> None:
    policy = Policy(missed=missed, missed_window=WINDOW, overlap=Overlap.ALLOW)
    book = Ledger(Schedule("s", [Version(START, expression, zone, policy)], START))
    wanted, before = list[tuple[datetime, datetime]](), START
    for minute in sorted(wakes):
        now = START + minute * MINUTE
        book.wake(now)
        came = model(expression, zone, before, now)
        good = {Missed.ALL: came, Missed.LATEST: came[-1:], Missed.NONE: []}[missed]
        wanted += [
            (at, now) for at in came if now - at <= ON_TIME or (at in good and now - at <= WINDOW)
        ]
        before = now
    assert book.sent == wanted


def _calendar(version: int, offsets: set[int]) -> Calendar:
    days = {date(2026, 3, 25) + number * DAY: "Feast" for number in offsets}
    return Calendar("c", str(version), days)


def _is_kept(before: dict[datetime, Tick], after: dict[datetime, Tick]) -> None:
    """What has an end keeps it, whatever becomes of expressions, calendars and pauses."""
    open_ = (State.DUE, State.SENT, State.RUNNING)
    for at, row in before.items():
        assert row.state in open_ or after[at] == row


def test_the_span_holds_a_change_of_the_clocks_and_of_the_month() -> None:
    end = START + SPAN * MINUTE
    berlin = ZoneInfo("Europe/Berlin")
    assert START.astimezone(berlin).utcoffset() != end.astimezone(berlin).utcoffset()
    assert (START.month, end.month, end.tzinfo) == (3, 4, UTC)
