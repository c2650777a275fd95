"""Cron means what robfig/cron means, which PingSource uses: cron.tsv holds what that computed."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from functions.cron import Cron, CronError, UnknownZoneError

ROWS = [
    line.split("\t")
    for line in Path(__file__).with_name("cron.tsv").read_text().splitlines()
    if not line.startswith("#")
]
REFUSED = [row[0] for row in ROWS if row[3] == "refused"] + ["@every 5m"]  # which PingSource does
ACCEPTED = [row for row in ROWS if row[0] not in REFUSED]


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def due_times(cron: Cron, moment: datetime, number: int) -> list[datetime]:
    """The next `number` due times, fewer where there are none."""
    found: list[datetime] = []
    while len(found) < number and (due := cron.after(found[-1] if found else moment)):
        found.append(due)
    return found


def test_the_table_is_complete() -> None:
    assert len(ROWS) == 177
    assert {row[3] for row in ROWS} == {"next", "refused"}


@pytest.mark.parametrize(("text", "zone", "after", "_", "times"), ACCEPTED)
def test_the_due_times_are_those_of_robfig_cron(
    text: str, zone: str, after: str, _: str, times: str
) -> None:
    wanted = [] if times == "never" else [datetime.fromisoformat(one) for one in times.split()]
    found = due_times(Cron(text, "" if "TZ=" in text else zone), datetime.fromisoformat(after), 5)
    assert found[: len(wanted)] == wanted
    assert bool(found) is bool(wanted)


@pytest.mark.parametrize("text", REFUSED)
def test_what_robfig_cron_refuses_is_refused(text: str) -> None:
    with pytest.raises(CronError):
        Cron(text)


@pytest.mark.parametrize("zone", ["Nowhere/Land", "America", "../etc/passwd", "/etc/localtime"])
def test_an_unknown_zone_is_no_wrong_expression(zone: str) -> None:
    with pytest.raises(UnknownZoneError, match="is not a time zone"):
        Cron("0 6 * * *", zone)


def test_a_zone_in_the_expression_and_beside_it_is_refused() -> None:
    """The adapter puts the zone before the expression, where a second one is a field."""
    with pytest.raises(CronError):
        Cron("CRON_TZ=Europe/Berlin 0 6 * * *", "UTC")


def test_later_is_strictly_later() -> None:
    cron = Cron("30 8 * * *", "America/Chicago")
    assert cron.after(at("2026-07-15 13:30")) == at("2026-07-16 13:30")
    assert cron.after(at("2026-07-15 13:29:59.999999")) == at("2026-07-15 13:30")


def test_an_expression_of_no_values_never_comes() -> None:
    assert Cron(", * * * *").after(at("2026-01-01")) is None
