"""Today: action items, and whether the morning went well, with real functions behind it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions.console.main import console
from functions.cycle_trigger.main import cycle_trigger
from functions.dead_letter.main import dead_letter
from functions.events.schedule import ScheduleDue
from functions.kit import cloudevents
from functions.kit.durable import inbox
from functions.kit.errors import PermanentError
from functions.orchestrator.main import orchestrator
from functions.scheduler.main import scheduler
from functions.scrum_report.main import scrum_report
from functions.scrum_simulate.main import scrum_simulate
from functions.sprint_report.main import sprint_report
from functions.webhook_receiver.main import webhook_receiver
from tests.support import webhook_requests
from tests.support.cluster import Cluster
from tests.support.console_browser import LOCAL, UNHURRIED, browser
from tests.support.job_world import job_world, run_python
from tests.support.kube_server import PING_SOURCES, make_kube, serving
from tests.support.kubeconfig import kubeconfig
from tests.support.saga_world import SagaWorld

# After the PingSources of these tests are made, which is now.
MONDAY = datetime(2040, 3, 5, 20, tzinfo=UTC)
TICK = "dev.knative.sources.ping"
COMPLETED, SIMULATED = "io.dsm.sprint.completed.v1", "io.dsm.sprint.simulated.v1"


class Days:
    """The functions of the morning, and a record of runs that a test writes."""

    def __init__(self, cluster: Cluster, database: str, environ: dict[str, str]) -> None:
        self.cluster = cluster
        self.database, self.environ = database, environ
        self.now = MONDAY
        for target in (scheduler, sprint_report, cycle_trigger, scrum_simulate, scrum_report):
            ctx = cluster.deploy(target, {"DATABASE_URL": database}, now=lambda: self.now)
        self.store = ctx.store
        cluster.deploy(console, UNHURRIED | environ, now=lambda: self.now)

    async def ran(
        self,
        function: str,
        id: str,
        type_: str = TICK,
        *,
        says: list[dict[str, Any]] | None = None,
        outcome: str = "ok",
        times: int = 1,
        at: datetime = MONDAY - timedelta(hours=2),
    ) -> None:
        """Runs as the kit records them, but for their time; `says` are events of a good one."""
        key = inbox.Key(function, type_, id)
        failure = PermanentError("no room") if outcome == "failed" else None
        async with self.store.connection() as db:
            if failure is None:
                await inbox.add(db, key, type_, says or [], None)
            for _ in range(times):
                await inbox.record(db, key, type_, 5, failure)
            # What was just written, as if at that time.
            await db.execute(
                """UPDATE run SET ended_at = $2::timestamptz + (ended_at - now())
                   WHERE function = $1 AND ended_at <= now()""",
                *(function, at),
            )

    async def good_morning(self) -> None:
        """Both ticks ran; one sprint is finished and one moved; each was taken care of."""
        done = {"project_id": "P", "sprint_id": "P-S01", "total_tasks": 3}
        await self.ran("sprint_report", "sprint-report@1", says=[_event(COMPLETED, done)])
        await self.ran("cycle_trigger", "P-S01", COMPLETED)
        await self.ran("scrum_simulate", "scrum-simulate@1", says=[MOVED])
        await self.ran("scrum_report", "P-S02@2040-03-05", SIMULATED)

    async def forget(self, function: str) -> None:
        async with self.store.connection() as db:
            await db.execute("DELETE FROM run WHERE function = $1", function)
            await db.execute("DELETE FROM inbox WHERE function = $1", function)

    async def morning(self, day: str = "") -> str:
        async with browser(self.cluster) as client:
            return (await client.get(f"/panels/morning?day={day}")).text

    async def attention(self) -> str:
        async with browser(self.cluster) as client:
            return (await client.get("/panels/attention")).text


def _event(type_: str, data: dict[str, Any]) -> dict[str, Any]:
    return {"id": f"{type_}-{data['sprint_id']}", "type": type_, "data": data}


MOVED = _event(
    SIMULATED,
    {
        "project_id": "P",
        "sprint_id": "P-S02",
        "scrum_date": "2040-03-05",
        "simulated_at": MONDAY.isoformat(),
        "moved": [],
    },
)


def ping_source(name: str, cron: str) -> dict[str, Any]:
    return {
        "apiVersion": "sources.knative.dev/v1",
        "kind": "PingSource",
        "metadata": {"name": name, "namespace": "dsm"},
        "spec": {"schedule": cron, "sink": {"uri": "http://example.org"}},
    }


@pytest.fixture
async def days(cluster: Cluster, functions_database: str, tmp_path: Path) -> AsyncIterator[Days]:
    async with serving(make_kube(tmp_path / "clock")) as url:
        async with httpx.AsyncClient(base_url=url, timeout=60) as kube:
            for name, cron in (
                ("sprint-report", "30 13 * * *"),
                ("scrum-simulate", "0 14 * * 1-5"),
            ):
                source = ping_source(name, cron)
                assert (await kube.post(PING_SOURCES, json=source)).status_code == 201
        environ = {"KUBECONFIG": kubeconfig(tmp_path, url), "KUBERNETES_NAMESPACE": "dsm"}
        environ |= LOCAL  # a busy machine must not turn an answer into a late one
        yield Days(cluster, functions_database, environ)


class TestMorning:
    async def test_a_morning_of_which_all_came_went_well(self, days: Days) -> None:
        await days.good_morning()
        assert "The morning ran, and all that was due went well." in await days.morning()

    async def test_what_ran_before_it_was_due_was_run_by_hand(self, days: Days) -> None:
        days.now = MONDAY.replace(hour=13, minute=0)
        at = days.now - timedelta(minutes=59, seconds=30)
        await days.ran("sprint_report", "sprint-report@1", at=at)
        await days.ran("scrum_simulate", "scrum-simulate@1", at=at)
        page = await days.morning()
        due = "sprint-report is due at 13:30 UTC, scrum-simulate is due at 14:00 UTC"
        assert f'<span class="calm">Run by hand at 12:00 UTC; {due}.' in page

    async def test_failures_behind_many_good_runs_are_seen(self, days: Days) -> None:
        await days.good_morning()
        early = MONDAY - timedelta(hours=3)
        await days.ran("sprint_report", "sprint-report@0", outcome="failed", times=50, at=early)
        await days.ran("sprint_report", "sprint-report@2", times=250)
        page = await days.morning()
        assert "Not all went well. sprint-report: PermanentError: no room." in page
        assert ">301<" in page

    async def test_a_tick_that_failed_and_was_tried_again_went_well(self, days: Days) -> None:
        early = MONDAY - timedelta(hours=3)
        await days.ran("sprint_report", "sprint-report@1", outcome="failed", times=3, at=early)
        await days.good_morning()
        assert "all that was due went well" in await days.morning()

    @pytest.mark.parametrize(
        ("lost", "message"),
        [("cycle_trigger", "no cycle of P-S01"), ("scrum_report", "no report of P-S02")],
    )
    async def test_an_event_that_was_not_handled_is_missed(
        self, days: Days, lost: str, message: str
    ) -> None:
        await days.good_morning()
        await days.forget(lost)
        assert f"{lost.replace('_', '-')}: {message}" in await days.morning()

    async def test_what_was_sent_a_moment_ago_is_on_its_way(self, days: Days) -> None:
        await days.good_morning()
        await days.forget("cycle_trigger")
        days.now = MONDAY - timedelta(hours=1, minutes=59)
        assert "The morning is under way." in await days.morning()

    async def test_what_a_user_asked_for_in_between_is_not_the_morning(self, days: Days) -> None:
        await days.good_morning()
        asked = "io.dsm.cycle.requested.v1"
        await days.ran("cycle_trigger", "NOBODY", asked, outcome="failed", times=4)
        page = await days.morning()
        assert "all that was due went well" in page
        assert "and 4 on request" in page

    async def test_what_failed_on_request_leaves_no_all_clear_and_counts_as_on_functions(
        self, days: Days
    ) -> None:
        await days.good_morning()
        assert 'class="good">The morning ran' in await days.morning()
        asked, lately = "io.dsm.cycle.requested.v1", MONDAY - timedelta(minutes=5)
        for number, times in enumerate((4, 2, 1)):
            id = f"NOBODY-{number}"
            await days.ran("cycle_trigger", id, asked, outcome="failed", times=times, at=lately)
        await days.ran("cycle_trigger", "NOBODY-2", asked, at=lately)  # good at its second try
        page = await days.morning()
        assert "went well. 2 events on request failed: cycle-trigger." in page
        assert 'class="wait">The morning ran' in page
        assert "7 runs failed" in page
        assert ">2 events not handled</a>" in page
        async with browser(days.cluster) as client:
            hour = (await client.get("/functions/panels/functions")).text
        failed = hour[hour.index('id="failed-cycle-trigger"') :]
        assert re.match(r"[^>]+>7 failed runs</a>\s*<small>of 3 events<", failed)

    @pytest.mark.parametrize("type_", [TICK, "io.dsm.schedule.due.v1"])
    async def test_a_sweep_is_no_request_and_a_failed_one_is_named(
        self, days: Days, type_: str
    ) -> None:
        await days.good_morning()
        await days.ran("cycle_trigger", "cycle-sweep@1", type_)
        page = await days.morning()
        assert "all that was due went well" in page
        assert "on request" not in page
        await days.ran("cycle_trigger", "cycle-sweep@2", type_, outcome="failed")
        page = await days.morning()
        assert 'class="wait">The morning ran' in page
        assert "went well. 1 sweep failed: cycle-trigger." in page
        assert "on request" not in page
        assert ">1 event not handled</a>" in page

    async def test_what_is_late_or_did_not_run_is_no_event_that_failed(self, days: Days) -> None:
        await days.good_morning()
        await days.forget("cycle_trigger")
        page = await days.morning()
        assert "no cycle of P-S01" in page
        assert "not handled" not in page
        assert "/dead-letters" not in page

    async def test_more_ticks_than_fit_a_page_are_all_looked_at(self, days: Days) -> None:
        await days.ran("sprint_report", "sprint-report@1")
        for number in range(3):
            await days.ran("scrum_simulate", f"scrum-simulate@{number}", times=100)
        earliest = MONDAY - timedelta(hours=5)
        await days.ran("scrum_simulate", "scrum-simulate@x", says=[MOVED], at=earliest)
        assert "no report of P-S02" in await days.morning()

    async def test_a_schedule_that_was_due_and_did_not_run_is_named(self, days: Days) -> None:
        assert "sprint-report: was due at 13:30 UTC and has not run" in await days.morning()

    async def test_on_a_saturday_no_scrum_is_due(self, days: Days) -> None:
        saturday = MONDAY - timedelta(days=2, hours=6)
        await days.ran("sprint_report", "sprint-report@1", at=saturday)
        assert "no daily scrum is due" in await days.morning("2040-03-03")

    async def test_before_a_schedule_was_made_nothing_was_due(self, days: Days) -> None:
        assert "No morning ran on this day." in await days.morning("2020-01-01")


class TestInboxes:
    async def test_older_runs_are_on_the_next_page(self, days: Days) -> None:
        await days.ran("sprint_report", "sprint-report@oldest", at=MONDAY - timedelta(hours=9))
        await days.ran("cycle_trigger", "P-S01", COMPLETED, times=40)
        async with browser(days.cluster) as client:
            first = (await client.get("/events/panels/inboxes")).text
            older = re.search(r'href="/events(\?until=[^"]+)"', first)
            assert older
            second = (await client.get(f"/events/panels/inboxes{older[1]}")).text
        assert first.count("<tr>") == 41  # with its head
        assert "sprint-report@oldest" not in first
        assert "sprint-report@oldest" in second


class TestSchedules:
    async def test_who_asked_for_a_tick_stands_beside_it(self, days: Days) -> None:
        tick = cloudevents.Message(
            id="now",
            source="/ping",
            type=TICK,
            time="2040-03-05T13:30:00Z",
            extensions={"schedule": "sprint-report", "requestedby": "José 李"},
        )
        # It fails, as there are no services here: who asked is written down all the same.
        assert (await days.cluster.tell("sprint-report", tick)).status_code == 503
        async with browser(days.cluster) as client:
            page = (await client.get("/schedules/panels/schedules")).text
        assert "asked for by José 李" in page

    @pytest.mark.parametrize(
        ("name", "target"),
        [("saga-sweep", orchestrator), ("webhook-relay", webhook_receiver)],
        ids=["saga-sweep", "webhook-relay"],
    )
    async def test_a_sweep_is_shown_with_its_last_run(
        self, days: Days, name: str, target: Any
    ) -> None:
        ctx = days.cluster.deploy(
            target, {"DATABASE_URL": days.database} | days.environ | webhook_requests.SECRETS
        )
        await ctx.cluster.create("pingsources", ping_source(name, "* * * * *"))
        tick = ScheduleDue(schedule=name, time=datetime.now(UTC))
        function = target.__name__.replace("_", "-")
        assert (await days.cluster.tell(function, tick)).status_code == 202
        async with browser(days.cluster) as client:
            page = (await client.get("/schedules/panels/schedules")).text
        (row,) = [row for row in page.split("<tr") if f'href="/schedules/{name}"' in row]
        assert "<small>ok, " in row, row


class TestAttention:
    async def test_each_kind_leads_to_where_it_is_pressed(
        self, days: Days, functions_database: str, tmp_path: Path
    ) -> None:
        days.cluster.deploy(dead_letter, {"DATABASE_URL": functions_database})
        failed_event = cloudevents.Message(
            id="lost", source="/ada", type="io.dsm.cycle.requested.v1", data=b"{}"
        )
        assert (await days.cluster.tell("dead-letter", failed_event)).status_code == 202
        saga = SagaWorld(days.cluster, functions_database)
        await saga.register()
        flow = await saga.execute(tenantId="t", realmName="r")
        one, folder = {"JOB_CONCURRENCY": "1"}, tmp_path / "jobs"
        folder.mkdir()
        async with job_world(days.cluster, functions_database, folder, environ=one) as jobs:
            await jobs.tell(run_python("import time; time.sleep(60)"))
            await jobs.tell(run_python("print(1)"))
            queued = [job["job_id"] for job in await jobs.jobs() if job["state"] == "queued"]
            page = await days.attention()
        assert 'href="/dead-letters/1"' in page
        assert f'href="/orchestrations/tenantCreation/runs/{flow}"' in page
        assert "no service has registered as worker for step" in page
        assert [f'href="/jobs/{id}"' in page for id in queued] == [True]
        assert 'href="/schedules/sprint-report"' in page
        async with browser(days.cluster) as client:
            navigation = (await client.get("/navigation?here=/jobs")).text
        assert navigation.count('class="count">1<') == 3
        assert 'class="count">2<' in navigation  # both schedules
        assert 'href="/jobs" aria-current="page"' in navigation

    async def test_who_is_away_is_reported_and_hides_nothing_else(
        self, days: Days, functions_database: str
    ) -> None:
        days.cluster.deploy(dead_letter, {"DATABASE_URL": functions_database})
        page = await days.attention()
        assert "connection refused: orchestrator" in page
        assert "Nothing:" not in page
        assert 'href="/schedules/scrum-simulate"' in page
