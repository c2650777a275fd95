"""A year of all schedules that have a ledger, with random outages, lost and doubled ticks."""

from __future__ import annotations

import random
from bisect import bisect_left
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import pytest

from functions.dsm.project_orchestrator.decide import schedule_manifest
from functions.schedule_policy import Missed, parse
from functions.scheduler.decide.missed import ON_TIME
from functions.scheduler.decide.nominal import Version
from functions.scheduler.decide.reconcile import Schedule
from functions.scheduler.decide.tick import State
from functions.scheduler.sources import Source, of_object
from tests.support.repository import of_kind
from tests.unit.test_scheduler_decide import Ledger, model

YEAR = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SPRINT = schedule_manifest("GEM-001", "GEM-001-S01", "0 13 * * 1-5", "default")
SOURCES = [
    source
    for source in map(of_object, [*of_kind("PingSource", "sources"), SPRINT])
    if source.policy
]


@cache
def times_of_the_year(source_name: str) -> list[datetime]:
    (source,) = (one for one in SOURCES if one.name == source_name)
    return model(source.expression, source.zone, YEAR, YEAR + 365 * DAY)


def wake_ups(chance: random.Random, nominal: list[datetime]) -> list[datetime]:
    """Ticks, of which a tenth is lost and a tenth is doubled, and a look every six hours.

    Twelve outages of up to five days swallow what falls into them.
    """
    began = [YEAR + chance.random() * 360 * DAY for _ in range(12)]
    outages = [(at, at + chance.random() * 5 * DAY) for at in began]
    ticks = [at for at in nominal if chance.random() > 0.1]
    doubled = [at + 20 * timedelta(seconds=1) for at in ticks if chance.random() < 0.1]
    looks = [YEAR + number * DAY / 4 for number in range(4 * 365)]
    found = sorted({*ticks, *doubled, *looks})
    return [at for at in found if not any(start <= at < end for start, end in outages)]


def is_in_window(source: Source, nominal: datetime, woken: datetime) -> bool:
    window = parse(source.policy).missed_window
    if window is not None:
        return woken - nominal <= window
    zone = ZoneInfo(source.zone)
    return nominal.astimezone(zone).date() == woken.astimezone(zone).date()


def test_both_kinds_of_schedules_are_there() -> None:
    assert {source.name for source in SOURCES} == {
        *("sprint-report", "scrum-simulate", "run-dailyscrum-gem-001-gem-001-s01"),
    }


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_each_time_has_one_row_and_runs_once_or_says_why_not(source: Source, seed: int) -> None:
    policy = parse(source.policy)
    nominal = times_of_the_year(source.name)
    woken = wake_ups(random.Random(f"{source.name} {seed}"), nominal)
    version = Version(YEAR, source.expression, source.zone, policy)
    book = Ledger(Schedule(source.name, [version], reconciled_until=YEAR))
    for at in woken:
        book.wake(at)
        for _ in range(7):  # what queues up runs one after the other
            book.end()
            book.wake(at)
    looked = [at for at in nominal if at <= woken[-1]]
    assert sorted(book.rows) == looked
    sent = [at for at, _ in book.sent]
    assert sorted(set(sent)) == sorted(sent), "none twice"
    assert all(at <= when for at, when in book.sent), "none before its time"
    first = {at: woken[bisect_left(woken, at)] for at in looked}
    for at in looked:
        late = first[at] - at > ON_TIME
        newer = any(at < other <= first[at] for other in looked)
        runs = not late or (
            is_in_window(source, at, first[at]) and (policy.missed is Missed.ALL or not newer)
        )
        assert (book.rows[at].state is State.DONE) is runs, at
        assert runs or (book.rows[at].state is State.MISSED and book.rows[at].reason)
