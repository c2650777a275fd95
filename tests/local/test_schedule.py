"""When a cron expression is due in its time zone."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from knative.local.schedule import Schedule

CHICAGO = "America/Chicago"


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "zone", "moment", "due"),
    [
        ("30 8 * * *", CHICAGO, "2026-01-15 12:00", "2026-01-15 14:30"),
        ("30 8 * * *", CHICAGO, "2026-07-15 12:00", "2026-07-15 13:30"),
        ("30 8 * * *", CHICAGO, "2026-07-15 13:30", "2026-07-16 13:30"),
        ("0 14 * * 1-5", "Etc/UTC", "2026-11-20 14:00", "2026-11-23 14:00"),
        ("30 2 * * *", CHICAGO, "2026-03-08 06:00", "2026-03-08 08:00"),
        ("30 2 * * *", CHICAGO, "2026-03-08 08:00", "2026-03-09 07:30"),
        ("30 1 * * *", CHICAGO, "2026-11-01 05:00", "2026-11-01 06:30"),
        ("30 1 * * *", CHICAGO, "2026-11-01 06:30", "2026-11-02 07:30"),
        ("30 1 * * *", CHICAGO, "2026-11-01 07:10", "2026-11-02 07:30"),
        ("*/5 * * * * *", "", "2026-01-01 00:00:03", "2026-01-01 00:00:05"),
        ("@daily", "", "2026-01-01 00:00", "2026-01-02 00:00"),
        ("0 0 ? * MON", "", "2026-01-01 00:00", "2026-01-05 00:00"),
    ],
    ids=[
        "winter", "summer", "strictly after", "weekdays", "skipped hour fires after the gap",
        "and once", "repeated hour fires in its first pass", "and once more only tomorrow",
        "nor in the second pass", "seconds", "descriptor", "question mark",
    ],
)  # fmt: skip
def test_the_next_due_time(cron: str, zone: str, moment: str, due: str) -> None:
    assert Schedule(cron, zone).after(at(moment)) == at(due)


@pytest.mark.parametrize(
    "cron", ["0 0 * * 7", "0 0 * * 1-7", "0 0 * * 5L", "0 0 L * *", "0 0 0 * * 7", "61 * * * * *"]
)
def test_what_knatives_cron_does_not_know_is_refused(cron: str) -> None:
    with pytest.raises(ValueError, match="is not a schedule"):
        Schedule(cron)


def test_a_step_may_be_larger_than_a_day_of_the_week() -> None:
    assert Schedule("0 0 * JUL */7").after(at("2026-01-01 00:00")) == at("2026-07-05 00:00")
