"""Sprints that need attention: a cycle that stopped, a closed sprint, scrums that move nothing."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from functions.console.main import console
from tests.support.cluster import Cluster
from tests.support.console_browser import LOCAL, browser
from tests.support.dsm_services import World

NOW = datetime(2026, 3, 6, 15, tzinfo=UTC)
CLOSED = {
    "project_id": "P",
    "sprint_id": None,
    "state": "no-sprint",
    "detail": "P-S01 is completed and has no successor",
}


class Records:
    """What the functions have on record, as a test sets it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cycles: list[dict[str, Any]] = []
        self.reported: list[dict[str, Any]] = []
        self.scrums: list[dict[str, Any]] = []
        cluster.add("cycle-trigger", Starlette(routes=[Route("/cycles", self._cycles)]))
        cluster.add("sprint-report", Starlette(routes=[Route("/runs", self._reports)]))
        cluster.add("scrum-report", Starlette(routes=[Route("/runs", self._scrums)]))

    def cycle(self, **values: Any) -> None:
        row = {"project_id": "P", "sprint_id": "P-S01", "state": "failed", "step": "verify"}
        row |= {"detail": "no tasks", "updated_at": "2026-03-06T14:59:00Z"}
        self.cycles.append(row | values)

    def scrum(self, day: int, moved: int, *, completed: int = 1) -> None:
        fact = {"sprint_id": "P-S01", "scrum_date": f"2026-03-0{day}", "moved_tasks": moved}
        fact |= {"completed_tasks": completed, "total_tasks": 4}
        answer = [{"type": "io.dsm.scrum.reported.v1", "data": fact}]
        self.scrums.insert(0, {"id": f"P-S01@2026-03-0{day}", "answer": answer})

    async def _cycles(self, request: Request) -> Response:
        return JSONResponse({"cycles": self.cycles})

    async def _reports(self, request: Request) -> Response:
        data = {"sprints": self.reported}
        answer = [{"type": "io.dsm.sprints.reported.v1", "data": data}]
        return JSONResponse({"runs": [{"answer": answer}], "next": None})

    async def _scrums(self, request: Request) -> Response:
        query = request.query_params
        runs = [run for run in self.scrums if run["id"] in (query.getlist("id") or [run["id"]])]
        shown = runs[:1] if query.get("latest") == "true" else runs
        return JSONResponse({"runs": shown, "next": None})


@pytest.fixture
def records(cluster: Cluster, world: World) -> Records:
    world.sprint("P", 1, 100).status = "completed"
    cluster.deploy(console, LOCAL, now=lambda: NOW)
    return Records(cluster)


async def attention(cluster: Cluster) -> str:
    async with browser(cluster) as client:
        return (await client.get("/panels/attention")).text


class TestWithoutNextSprint:
    async def test_a_cycle_that_failed_says_at_which_step(
        self, cluster: Cluster, records: Records
    ) -> None:
        records.cycle()
        page = await attention(cluster)
        assert "Projects without a next sprint" in page
        assert "its cycle has not finished at step verify: no tasks" in page
        assert 'href="/sprints/P-S01"' in page

    async def test_a_cycle_that_is_under_way_needs_nothing(
        self, cluster: Cluster, records: Records
    ) -> None:
        records.cycle(state="open")
        assert "Projects without" not in await attention(cluster)

    async def test_one_that_stands_open_for_long_needs_attention(
        self, cluster: Cluster, records: Records
    ) -> None:
        records.cycle(state="open", updated_at="2026-03-06T14:00:00Z")
        assert "its cycle has not finished" in await attention(cluster)

    async def test_a_closed_sprint_without_a_cycle_is_named_once(
        self, cluster: Cluster, records: Records
    ) -> None:
        records.reported = [CLOSED]
        page = await attention(cluster)
        assert page.count("P-S01 is completed and has no successor") == 1

    async def test_a_sprint_that_was_started_since_ends_it(
        self, cluster: Cluster, records: Records, world: World
    ) -> None:
        records.cycle()
        records.reported = [CLOSED]
        world.sprint("P", 2, 0)
        assert "Projects without" not in await attention(cluster)

    async def test_a_cycle_of_what_is_no_project_is_the_dead_letters_matter(
        self, cluster: Cluster, records: Records
    ) -> None:
        records.cycle(project_id="NOBODY", sprint_id=None)
        assert "Projects without" not in await attention(cluster)


class TestNothingMoves:
    async def test_three_scrums_without_a_move_say_since_when(
        self, cluster: Cluster, records: Records
    ) -> None:
        for day, moved in ((3, 1), (4, 0), (5, 0), (6, 0)):
            records.scrum(day, moved)
        page = await attention(cluster)
        assert "Sprints in which nothing moves" in page
        assert "no task moved in 3 daily scrums, since 2026-03-04" in page

    @pytest.mark.parametrize(
        "moves", [[1, 0, 0], [0, 0, 1]], ids=["two days only", "it moved again"]
    )
    async def test_less_than_that_is_no_matter(
        self, cluster: Cluster, records: Records, moves: list[int]
    ) -> None:
        for day, moved in enumerate(moves, 4):
            records.scrum(day, moved)
        assert "nothing moves" not in await attention(cluster)

    async def test_where_every_task_is_done_none_needs_to_move(
        self, cluster: Cluster, records: Records
    ) -> None:
        for day in (4, 5, 6):
            records.scrum(day, 0, completed=4)
        assert "nothing moves" not in await attention(cluster)


class TestLate:
    @pytest.mark.parametrize(
        ("remaining", "is_late"), [(2.0, False), (7.5, True)], ids=["begun counts", "behind"]
    )
    async def test_a_sprint_is_late_by_what_is_left_of_its_tasks(
        self, cluster: Cluster, records: Records, remaining: float, is_late: bool
    ) -> None:
        sprint = {"sprint_id": "P-S02", "project_id": "P", "status": "in_progress"}
        sprint |= {"start_date": "2026-03-02", "end_date": "2026-03-10"}
        counts = {"total_tasks": 8, "completed_tasks": 0, "pending_tasks": 8}

        async def overview(request: Request) -> Response:
            return JSONResponse([sprint | counts])

        async def burndown(request: Request) -> Response:
            return JSONResponse({"days": [{"remaining": remaining}]})

        cluster.add("sprint-service", Starlette(routes=[Route("/sprints/overview", overview)]))
        at = "/v1/analytics/sprint/P-S02/burndown"
        cluster.add("chronicle-service", Starlette(routes=[Route(at, burndown)]))
        page = await attention(cluster)
        assert ("Sprints that will be late" in page) is is_late
        if is_late:
            assert "at its pace it is done on 2026-05-29, after its end on 2026-03-10" in page
