"""Calendars are read from a folder, strictly: a wrong one names file and field."""

from __future__ import annotations

import io
import json
from datetime import date
from pathlib import Path

import pytest

from functions.scheduler import calendar_document, calendars
from functions.scheduler.decide.calendar import Calendar

US = """\
name: us-federal
version: "2026.1"
weekend: [saturday, sunday]
holidays:
  2026-11-26: Thanksgiving Day
"""
ICS = """\
BEGIN:VCALENDAR
VERSION:2.0
PRODID:-//test//test//EN
X-WR-CALNAME:works council
BEGIN:VEVENT
UID:1
SUMMARY:Bridge days
DTSTART;VALUE=DATE:20261224
DTEND;VALUE=DATE:20261227
LAST-MODIFIED:20260115T120000Z
END:VEVENT
BEGIN:VEVENT
UID:2
SUMMARY:A meeting
DTSTART:20261201T100000Z
END:VEVENT
END:VCALENDAR
"""


def good(folder: Path) -> dict[str, Calendar]:
    """The calendars of a folder in which nothing is wrong."""
    found, problems = calendars.read(folder)
    assert problems == []
    return found


def test_a_yaml_document_is_a_calendar(tmp_path: Path) -> None:
    (tmp_path / "us.yaml").write_text(US)
    found = good(tmp_path)["us-federal"]
    assert found.reason(date(2026, 11, 26)) == "Thanksgiving Day (us-federal, 2026.1)"
    assert found.reason(date(2026, 11, 28)) == "Saturday (us-federal, 2026.1)"
    assert found.reason(date(2026, 11, 27)) == ""


def test_an_ics_file_is_a_calendar_of_its_whole_days(tmp_path: Path) -> None:
    (tmp_path / "council.ics").write_text(ICS.replace("\n", "\r\n"))
    found = good(tmp_path)["works council"]
    assert found.version == "2026-01-15"
    assert sorted(found.days) == [date(2026, 12, day) for day in (24, 25, 26)]


def test_hidden_files_of_a_mounted_configmap_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "..2026_01_01").mkdir()
    (tmp_path / "..2026_01_01" / "us.yaml").write_text(US)
    (tmp_path / "us.yaml").symlink_to(tmp_path / "..2026_01_01" / "us.yaml")
    assert list(good(tmp_path)) == ["us-federal"]


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("us.yaml", US.replace("name:", "title:"), "us.yaml: name: Field required"),
        ("us.yaml", US.replace("2026-11-26", "tomorrow"), "us.yaml: holidays.tomorrow"),
        ("us.yaml", US.replace("sunday", "domingo"), "us.yaml: weekend.1"),
        ("us.yaml", "name: [", "us.yaml: "),
        ("x.ics", "no calendar", "x.ics: "),
        (
            "x.ics",
            ICS.replace("UID:1", "UID:1\nRRULE:FREQ=YEARLY"),
            "x.ics: Bridge days: RRULE is not read",
        ),
    ],
)
def test_a_wrong_document_is_refused_by_file_and_field(
    tmp_path: Path, name: str, text: str, problem: str
) -> None:
    (tmp_path / name).write_text(text)
    (tmp_path / "zz.yaml").write_text(US)
    found, (error,) = calendars.read(tmp_path)
    assert problem in error.detail
    assert list(found) == ["us-federal"], "a wrong one costs no other"


def test_two_calendars_of_one_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text(US)
    (tmp_path / "b.yaml").write_text(US)
    _, (error,) = calendars.read(tmp_path)
    assert "us-federal stands in another file" in error.detail


def test_the_holidays_of_project_service_become_a_calendar(tmp_path: Path) -> None:
    received = [{"holiday_date": "2026-12-25", "holiday_name": 'A "day" off', "type": "company"}]
    path = tmp_path / "company.yaml"
    asked = ["--name", "company", "--version", "2026.1", "--read", "-"]
    with path.open("w") as out:
        assert calendar_document.main(asked, lines=io.StringIO(json.dumps(received)), out=out) == 0
    calendar = good(tmp_path)["company"]
    assert calendar.reason(date(2026, 12, 25)) == 'A "day" off (company, 2026.1)'
    assert calendar.reason(date(2026, 12, 26)) == "Saturday (company, 2026.1)"


def test_holidays_that_cannot_be_had_are_reported_in_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = ["--name", "company", "--version", "1", "--read", "-"]
    assert calendar_document.main(asked, lines=io.StringIO("{}[")) == 1
    assert capsys.readouterr().err.startswith("error: JSONDecodeError: ")
