"""Which day a scrum is of, which sprints have one, and what is a percentage."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta, timezone

import pytest

from functions.events.schedule import ScheduleDue
from functions.events.scrum import ScrumRequested
from functions.events.sprint import ProjectSprints, Sprint
from functions.scrum_simulate import decide

NOW = datetime(2025, 8, 30, 1, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("event", "day"),
    [
        (ScheduleDue(schedule="s", time=datetime(2025, 8, 29, 14, tzinfo=UTC)), 29),
        (
            ScheduleDue(
                schedule="s",
                time=datetime(2025, 8, 29, 22, tzinfo=timezone(timedelta(hours=-5))),
            ),
            30,
        ),
        (ScrumRequested(), 30),
        (ScrumRequested(scrum_date=date(2025, 8, 28)), 28),
    ],
    ids=["tick", "tick-with-offset", "request", "request-with-date"],
)
def test_the_day_is_that_of_the_tick_in_utc(event: ScheduleDue | ScrumRequested, day: int) -> None:
    assert decide.day_of(event, NOW) == date(2025, 8, day)


def sprint(number: int, status: str, start: date | None) -> Sprint:
    return Sprint(project_id="P", sprint_id=f"P-S{number:02d}", status=status, start_date=start)


def test_of_several_active_sprints_the_newest_counts() -> None:
    sprints = [
        sprint(1, "in_progress", date(2025, 8, 1)),
        sprint(2, "in_progress", date(2025, 8, 15)),
        sprint(3, "completed", date(2025, 8, 20)),
    ]
    found = decide.active_sprints(
        [ProjectSprints(project_id="P", sprints=sprints), ProjectSprints(project_id="Q")]
    )
    assert [s.sprint_id for s in found] == ["P-S02"]


@pytest.mark.parametrize(("text", "number"), [("0%", 0), ("20%", 20), ("100%", 100), ("7", 7)])
def test_a_percentage_is_read(text: str, number: int) -> None:
    assert decide.percent(text) == number


@pytest.mark.parametrize("text", ["", "%", "20 %", "101%", "-5%", "20.5%", "completed"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no percentage"):
        decide.percent(text)
