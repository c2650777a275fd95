"""The stages of the demo: each makes HTTP requests and prints the events and results."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import ssl
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import Any

import httpcore  # noqa: F401 - httpx imports it with its first client, which is made on the loop
import httpx

from knative.demo import expected, messages, tables
from knative.local.event_json import event_json
from knative.local.manifests.core import Secret
from knative.local.runtime import Runtime

IDLE_S = 0.5  # a stage ends after that long without events and requests in flight
# For events that are missing then: a function answers before its events leave.
LATE_EVENT_S = 5.0
_FAILED_STATES = ("dead-lettered", "failed")


class Failure(Exception):
    """A stage failed; the text says why."""


# All that is asked is here, by plain HTTP: reading whom the machine trusts takes 25 ms a client.
NO_AUTHORITIES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Demo:
    """The runtime, an HTTP client inside its cluster, and the events so far."""

    def __init__(self, runtime: Runtime, github: str = "") -> None:
        self.runtime = runtime
        self.github = github  # the URL of its stand-in, if there is one
        self.http = httpx.AsyncClient(
            proxy=runtime.proxy_url, timeout=120, trust_env=False, verify=NO_AUTHORITIES
        )
        self.events: list[dict[str, Any]] = []
        self.finished: str | None = None  # the sample data's sprint with every task done
        self._before: Mapping[str, int] = {}
        self._following: asyncio.Task[None] | None = None

    def client_of(self, url: str) -> httpx.AsyncClient:
        """A client of what is outside of the cluster, on this machine."""
        return httpx.AsyncClient(base_url=url, timeout=30, trust_env=False, verify=NO_AUTHORITIES)

    async def __aenter__(self) -> Demo:
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
                        if text := messages.line(event):
                            self.print_line(text)
            elif text := messages.trouble(dataclasses.asdict(change)):
                self.print_line(text)

    def print_line(self, text: str) -> None:
        line = f"  {datetime.now():%H:%M:%S}  {text}"
        tables.console.print(line, markup=False, soft_wrap=True)

    def data_of(self, kind: str) -> list[dict[str, Any]]:
        """Return the data of each event of one type so far, in order, each id once."""
        found = {e["attributes"]["id"]: e["data"] for e in self.events if _type(e) == kind}
        return list(found.values())

    async def kept(self, kind: str) -> list[dict[str, Any]]:
        """Return the data of the Broker's latest events of one type, of earlier runs too."""
        found = await self.runtime.broker.events(kind, None, 1000)
        return [event_json(event)["data"] for event in found]

    async def call(self, method: str, service: str, path: str, **options: Any) -> Any:
        """Return a Service's JSON; a Failure with its answer where it is no success."""
        url = f"http://{service}.dsm.svc.cluster.local{path}"
        response = await self.http.request(method, url, **options)
        if not response.is_success:
            raise Failure(f"{service} answered {response.status_code}: {response.text[:300]}")
        return response.json()

    def secret(self, name: str, key: str) -> str:
        """Return a value of a Secret of the overlay."""
        found = self.runtime.world.get(Secret, "dsm", name)
        values = found.files() if found else {}
        if key not in values:
            raise Failure(f"the overlay has no Secret {name} with a key {key}")
        return values[key].decode()

    async def fire(self, schedule: str, complete: Callable[[], Awaitable[bool]]) -> None:
        """Fire a schedule and wait until it is settled and `complete` returns true."""
        self.print_line(f"schedule {schedule} is due")
        tick = await self.runtime.clock.fire(self.runtime.clock.find(schedule))
        if not tick.accepted:
            raise Failure(f"the broker did not accept the tick of {schedule}")
        await self.settled()
        if not await complete():
            await self.settled(LATE_EVENT_S)

    async def always(self) -> bool:
        """Nothing more is to come."""
        return True

    async def settled(self, for_s: float = IDLE_S, timeout_s: float = 600.0) -> None:
        """Wait until no event and no request has been in flight for `for_s` seconds."""
        deadline = time.monotonic() + timeout_s
        idle_since = time.monotonic()
        while time.monotonic() - idle_since < for_s:
            if time.monotonic() > deadline:
                raise Failure(f"not settled within {timeout_s:.0f} s")
            busy = any(revision.in_flight for revision in self.runtime.processes.revisions)
            if busy or not self.runtime.settled():
                idle_since = time.monotonic()
            await asyncio.sleep(0.05)

    async def given_up(self) -> int:
        """Return how many deliveries were dead-lettered or failed since the demo started."""
        counts = await self.runtime.broker.counts()
        return sum(counts.get(s, 0) - self._before.get(s, 0) for s in _FAILED_STATES)


async def sample_data(demo: Demo) -> None:
    """Projects, employees and sprints to work with; what exists is kept."""
    answer = await demo.call("POST", "project-orchestrator", "/sample-data")
    demo.print_line(f"sample data: {answer['message']}")
    demo.finished = answer.get("finished_sprint")
    await demo.call("POST", "backlog-setup", "/", json={"project_id": "TEST-001"})


async def report(demo: Demo) -> None:
    """8:30 in Chicago: every active sprint is measured, each finished one gets its next cycle."""

    async def complete() -> bool:
        reports = demo.data_of("io.dsm.sprints.reported.v1")
        cycles = demo.data_of("io.dsm.cycle.completed.v1")
        return not (expected.report(reports, demo.finished) or expected.cycles(reports, cycles))

    await demo.fire("sprint-report", complete)
    reports = demo.data_of("io.dsm.sprints.reported.v1")
    for data in reports:
        tables.show(tables.report(data))
    cycles = demo.data_of("io.dsm.cycle.completed.v1")
    for data in cycles:
        tables.show(tables.cycle(data))
    _require(expected.report(reports, demo.finished))
    _require(expected.cycles(reports, cycles))
    if not cycles:
        tables.console.print("\nNo sprint is complete: no cycle was due.")


async def scrum(demo: Demo) -> None:
    """14:00 UTC: a working day is simulated, then one report per sprint is filed."""
    projects = await demo.call("GET", "sprint-service", "/sprints/list_projects")
    sprints = [sprint for project in projects for sprint in project["sprints"]]
    in_progress = [s["sprint_id"] for s in sprints if s["status"] == "in_progress"]

    async def filed() -> list[dict[str, Any]]:
        days = {_day(data) for data in demo.data_of("io.dsm.sprint.simulated.v1")}
        # A day is reported once, maybe by an earlier run.
        reported = {_day(data): data for data in await demo.kept("io.dsm.scrum.reported.v1")}
        return [data for day, data in reported.items() if day in days]

    async def complete() -> bool:
        return expected.scrums(in_progress, await filed()) is None

    await demo.fire("scrum-simulate", complete)
    reports = await filed()
    for ids in reports:
        query = {"sprint_id": ids["sprint_id"], "daily_scrum_date": ids["scrum_date"]}
        note = await demo.call(
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
