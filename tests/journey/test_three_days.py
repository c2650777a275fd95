"""Three working days with everything on: what the clock and GitHub lose is made good by itself."""

from __future__ import annotations

import html
import re
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.support import eventually
from tests.support.three_days import ThreeDays, three_days

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

DAYS = ("2026-12-01", "2026-12-02", "2026-12-03")
NEXT = "run-dailyscrum-phe001-phe001-s02"  # of the sprint that the first report begins
DUE = {
    "sprint-report": [f"{day}T14:30:00Z" for day in DAYS],
    "scrum-simulate": [f"{day}T14:00:00Z" for day in DAYS],
    NEXT: [f"{day}T08:00:00Z" for day in DAYS[1:]],
}
NAMES = {f"{schedule}@{nominal}" for schedule, times in DUE.items() for nominal in times}
# While nothing ran, until the scheduler's first tick that is not lost.
LATE = re.compile(r"nothing looked at the schedule until 2026-12-02 18:\d\d:00Z")


@pytest.fixture(scope="module")
async def days(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[ThreeDays]:
    # A unix socket's path may have 107 characters at most: PostgreSQL's is below the data.
    async with three_days(tmp_path_factory.mktemp("d")) as story:
        await story.pass_by()
        yield story


def named(days: ThreeDays, type_: str) -> dict[str, Any]:
    """The events of a type, each id once."""
    return {one["attributes"]["id"]: one for one in days.knative.events(type=type_, limit=1000)}


def page(days: ThreeDays, path: str) -> str:
    """The text of a page of the console."""
    text = re.sub(r"<[^>]+>", " ", days.ask("console", path))
    return re.sub(r"\s+", " ", html.unescape(text)).replace(" :", ":")


def test_ticks_were_lost_and_doubled(days: ThreeDays) -> None:
    lost, doubled, *named_ones = days.faults
    for fault in (lost, doubled):
        assert 0.05 < fault["injected"] / fault["calls"] < 0.15, fault
    assert [one["injected"] for one in named_ones] == [1, 1]


def test_each_nominal_time_has_its_row(days: ThreeDays) -> None:
    rows = days.json("scheduler", "/ticks?limit=1000")["ticks"]
    assert sorted(f"{one['schedule']}@{one['nominal']}" for one in rows) == sorted(NAMES)
    assert {one["state"] for one in rows} == {"done"}
    for one in rows:
        late = one["nominal"].startswith(DAYS[1])
        assert one["origin"] == ("catch-up" if late else "clock"), one
        assert bool(LATE.fullmatch(one["reason"])) == late, one


def test_each_nominal_time_has_its_one_effect_with_its_date(days: ThreeDays) -> None:
    assert named(days, "io.dsm.schedule.due.v1").keys() == NAMES
    reports = named(days, "io.dsm.sprints.reported.v1").values()
    caused = Counter(one["attributes"]["causationid"] for one in reports)
    assert caused == Counter(f"sprint-report@{nominal}" for nominal in DUE["sprint-report"])
    simulated = [
        (one["attributes"]["causationid"], one["data"]["sprint_id"], one["data"]["scrum_date"])
        for one in named(days, "io.dsm.sprint.simulated.v1").values()
    ]
    assert all(f"@{date}T" in cause for cause, _, date in simulated), simulated
    first = [("ORI002-S01", DAYS[0]), ("PHE001-S01", DAYS[0])]
    expected = [*first, *((s, day) for s in ("ORI002-S01", "PHE001-S02") for day in DAYS[1:])]
    assert sorted({(sprint, date) for _, sprint, date in simulated}) == sorted(expected)
    filed = named(days, "io.dsm.scrum.reported.v1").values()
    notes = Counter((one["data"]["sprint_id"], one["data"]["scrum_date"]) for one in filed)
    assert notes == Counter(expected)
    for sprint, date in expected:
        path = "/v1/notes/daily_scrum_report/notes"
        query = f"?sprint_id={sprint}&daily_scrum_date={date}"
        assert len(days.json("chronicle-service", path + query)) == 1, (sprint, date)


def test_each_issue_with_the_label_has_one_job_and_no_other_has_any(days: ThreeDays) -> None:
    assert sum(map(len, days.labelled.values())) == 200
    jobs = days.json("job-launcher", "/jobs?limit=500")["jobs"]
    wanted = Counter(f"o/r#{number}" for number in days.labelled["agent"])
    assert Counter(one["task_id"] for one in jobs) == wanted
    # There is no repository here to work on: that they have run is what counts.
    assert {one["state"] for one in jobs} <= {"succeeded", "failed"}


def test_each_webhook_is_here_once(days: ThreeDays) -> None:
    events = named(days, "com.github.issue.labeled").values()
    assert len(events) == 200
    via = Counter(one["attributes"].get("via", "webhook") for one in events)
    assert via == {"webhook": 165, "fetched": 30, "state": 5}


async def test_the_console_says_so_in_text(days: ThreeDays) -> None:
    async def complete(path: str) -> str:
        """A page once all functions answer: one that is asleep starts, and does the next time."""

        async def message() -> str:
            found = page(days, path)
            return "" if "has not answered" in found else found

        return await eventually(message, every_s=0.5)

    assert "All that was due from " in await complete("/schedules/panels/schedules")
    assert LATE.search(page(days, "/schedules/sprint-report/panels/ticks"))
    deliveries = page(days, "/functions")
    assert re.search(r"GitHub made ([1-9]\d*) in the last day, \1 are here\.", deliveries)
    assert "labelled agent or agent:review has its request; 5 had to be made" in deliveries
    attention = await complete("/panels/attention")
    for kind in ("Dead-lettered events", "Schedules that", "Deliveries that are not here"):
        assert kind not in attention
    assert days.knative.admin.ask("dead-letters") == []
