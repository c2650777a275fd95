"""The stages of the morning: each does one thing over HTTP and shows what came of it."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

import httpx

from knative.demo import expected, tables, words
from knative.local.event_json import event_json
from knative.local.runtime import Runtime

SETTLED_FOR_S = 0.5  # nothing on its way for that long: the stage is over
# A function answers before its events leave, so nothing is on its way for a moment; where something
# is missing still, it may be on a busy machine.
MISSING_FOR_S = 5.0
_BAD_STATES = ("dead-lettered", "failed")


class Failure(Exception):
    """A stage could not do its part; the text says why."""


class Morning:
    """A running runtime, a client inside its cluster, and what has happened so far."""

    def __init__(self, runtime: Runtime) -> None:
        self.runtime = runtime
        self.http = httpx.AsyncClient(proxy=runtime.proxy_url, timeout=120, trust_env=False)
        self.events: list[dict[str, Any]] = []
        self.finished: str | None = None  # a sprint made with every task done, if one was
        self._before: Mapping[str, int] = {}
        self._following: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Morning:
        self._before = await self.runtime.broker.counts()
        self._following = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._following is not None:
            self._following.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._following
        await self.http.aclose()

    async def _follow(self) -> None:
        async for change in self.runtime.broker.follow():
            if change.delivery is None:
                found = await self.runtime.broker.events(None, change.seq - 1, 1)
                for event in map(event_json, found):
                    if event["seq"] == change.seq:
                        self.events.append(event)
                        if text := words.line(event):
                            self.tell(text)
            elif text := words.trouble(dataclasses.asdict(change)):
                self.tell(text)

    def tell(self, text: str) -> None:
        line = f"  {datetime.now():%H:%M:%S}  {text}"
        tables.console.print(line, markup=False, soft_wrap=True)

    def of(self, kind: str) -> list[dict[str, Any]]:
        """The data of each event of one type so far, in order, each id once."""
        found = {e["attributes"]["id"]: e["data"] for e in self.events if _type(e) == kind}
        return list(found.values())

    async def kept(self, kind: str) -> list[dict[str, Any]]:
        """The data of the latest events of one type that the Broker keeps, of earlier runs too."""
        found = await self.runtime.broker.events(kind, None, 1000)
        return [event_json(event)["data"] for event in found]

    async def call(self, method: str, service: str, path: str, **options: Any) -> Any:
        """JSON from a Service; a Failure in the service's words where it refuses."""
        url = f"http://{service}.dsm.svc.cluster.local{path}"
        response = await self.http.request(method, url, **options)
        if not response.is_success:
            raise Failure(f"{service} answered {response.status_code}: {response.text[:300]}")
        return response.json()

    async def fire(self, schedule: str, complete: Callable[[], Awaitable[bool]]) -> None:
        """Let a schedule be due now, and wait until all that follows from it is over.

        `complete` says whether what has to follow is there.
        """
        tick = await self.runtime.clock.fire(self.runtime.clock.find(schedule))
        if not tick.accepted:
            raise Failure(f"the broker did not take the tick of {schedule}")
        await self.settled()
        if not await complete():
            await self.settled(MISSING_FOR_S)

    async def settled(self, for_s: float = SETTLED_FOR_S, within_s: float = 600.0) -> None:
        """Wait until no event and no request has been on its way for `for_s` seconds."""
        deadline = time.monotonic() + within_s
        calm_since = time.monotonic()
        while time.monotonic() - calm_since < for_s:
            if time.monotonic() > deadline:
                raise Failure(f"not settled within {within_s:.0f} s")
            busy = any(revision.in_flight for revision in self.runtime.processes.revisions)
            if busy or not self.runtime.settled():
                calm_since = time.monotonic()
            await asyncio.sleep(0.05)

    async def given_up(self) -> int:
        """How many deliveries were dead-lettered or failed since the morning began."""
        counts = await self.runtime.broker.counts()
        return sum(counts.get(s, 0) - self._before.get(s, 0) for s in _BAD_STATES)


async def sample_data(morning: Morning) -> None:
    """Projects, people and sprints to work with; what exists is kept."""
    answer = await morning.call("POST", "project-orchestrator", "/sample-data")
    morning.tell(f"sample data: {answer['message']}")
    morning.finished = answer.get("finished_sprint")
    await morning.call("POST", "backlog-setup", "/", json={"project_id": "TEST-001"})


async def report(morning: Morning) -> None:
    """8:30 in Chicago: every active sprint is measured, each finished one gets its next cycle."""

    async def complete() -> bool:
        reports = morning.of("io.dsm.sprints.reported.v1")
        cycles = morning.of("io.dsm.cycle.completed.v1")
        return not (expected.report(reports, morning.finished) or expected.cycles(reports, cycles))

    await morning.fire("sprint-report", complete)
    reports = morning.of("io.dsm.sprints.reported.v1")
    for data in reports:
        tables.show(tables.report(data))
    cycles = morning.of("io.dsm.cycle.completed.v1")
    for data in cycles:
        tables.show(tables.cycle(data))
    _require(expected.report(reports, morning.finished))
    _require(expected.cycles(reports, cycles))
    if not cycles:
        tables.console.print("\nNo sprint is complete: no cycle was due.")


async def scrum(morning: Morning) -> None:
    """14:00 UTC: a working day is simulated, then one report per sprint is filed."""
    projects = await morning.call("GET", "sprint-service", "/sprints/list_projects")
    sprints = [sprint for project in projects for sprint in project["sprints"]]
    in_progress = [s["sprint_id"] for s in sprints if s["status"] == "in_progress"]

    async def filed() -> list[dict[str, Any]]:
        days = {_day(data) for data in morning.of("io.dsm.sprint.simulated.v1")}
        # What an earlier run has reported of a day is not reported again.
        reported = {_day(data): data for data in await morning.kept("io.dsm.scrum.reported.v1")}
        return [data for day, data in reported.items() if day in days]

    async def complete() -> bool:
        return expected.scrums(in_progress, await filed()) is None

    await morning.fire("scrum-simulate", complete)
    reports = await filed()
    for ids in reports:
        query = {"sprint_id": ids["sprint_id"], "daily_scrum_date": ids["scrum_date"]}
        note = await morning.call(
            "GET", "chronicle-service", "/v1/notes/daily_scrum_report", params=query
        )
        tables.show(tables.filed(note, ids))
    _require(expected.scrums(in_progress, reports))
    if not in_progress:
        tables.console.print("\nNo sprint is in progress: no daily scrum was due.")


def _require(problem: str | None) -> None:
    if problem is not None:
        raise Failure(problem)


STAGES = (sample_data, report, scrum)


def _day(data: Mapping[str, Any]) -> tuple[str, str]:
    return data["sprint_id"], data["scrum_date"]


def _type(event: Mapping[str, Any]) -> str:
    return str(event["attributes"]["type"])
