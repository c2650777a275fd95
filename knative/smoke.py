"""`python -m knative.smoke --url URL`: a smoke test of a cluster, over HTTP only.

URL is a gateway that routes by host: a cluster's own, as
`kubectl port-forward -n kourier-system service/kourier-internal 8081:80` forwards it, or the local
Knative's with its token, as http://knative:TOKEN@127.0.0.1:8080. The exit code is 0 when every
stage succeeded. It creates sample data and simulates a working day: not for a cluster with real
projects.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx

from knative.demo import tables

SERVICES = (
    "project-service", "sprint-service", "backlog-service", "daily-scrum-service",
    "chronicle-service", "project-orchestrator", "sprint-report", "cycle-trigger",
    "scrum-simulate", "scrum-report", "backlog-setup", "dead-letter", "webhook-receiver",
    "job-launcher", "orchestrator", "realm-service", "client-service", "console",
)  # fmt: skip
_POLL_INTERVAL_S = 1.0
_GATEWAY_TIMEOUT_S = 10.0  # until a port-forward listens


class Failure(Exception):
    """A stage failed; the text says why."""


class Smoke:
    """A client of the cluster's Services, and the time of its start."""

    def __init__(self, url: str, namespace: str, timeout_s: float) -> None:
        self.http = httpx.AsyncClient(base_url=url, timeout=timeout_s, trust_env=False)
        self._namespace = namespace
        self._timeout_s = timeout_s
        self.began = datetime.now(UTC)

    async def call(self, method: str, service: str, path: str, **options: Any) -> Any:
        """Return a Service's JSON; a Failure with its answer where it is no success."""
        host = f"{service}.{self._namespace}.svc.cluster.local"
        try:
            response = await self.http.request(method, path, headers={"Host": host}, **options)
        except httpx.TimeoutException:
            raise Failure(f"{service} did not answer within {self._timeout_s:g} s") from None
        except httpx.TransportError as error:
            message = f"{service}: {type(error).__name__}: {error} (gateway {self.http.base_url})"
            raise Failure(message) from None
        text = response.text[:300].strip()
        if response.status_code == 404 and not text:
            raise Failure(
                f"{self.http.base_url} knows no host {host}: is it the gateway inside the "
                "cluster (service/kourier-internal), and is the Service ready?"
            )
        if not response.is_success:
            raise Failure(f"{service} answered {response.status_code}: {text}")
        try:
            return response.json()
        except ValueError:
            raise Failure(f"{service} answered what is no JSON: {text[:100]!r}") from None

    async def listening(self) -> None:
        """Wait until the gateway accepts connections; the first call reports other problems."""
        deadline = time.monotonic() + min(_GATEWAY_TIMEOUT_S, self._timeout_s)
        while time.monotonic() < deadline:
            try:
                await self.http.get("/", timeout=5)
            except httpx.ConnectError:
                await asyncio.sleep(_POLL_INTERVAL_S / 5)
            except httpx.HTTPError:
                return
            else:
                return

    async def request(self, function: str, data: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Make an ad-hoc request; return its events, a Failure where they were not published."""
        answer = await self.call("POST", function, "/", json=data)
        if answer["events"] and not answer["published"]:
            raise Failure(f"{function} has no K_SINK: is the SinkBinding ready?")
        events: list[dict[str, Any]] = answer["events"]
        return events

    async def events(self, service: str) -> list[dict[str, Any]]:
        """Return a function's events of the last day: a repeated request emits none."""
        since = self.began - timedelta(days=1)
        query = {"answers": "true", "since": since.isoformat(), "limit": "1000"}
        runs = (await self.call("GET", service, "/runs", params=query))["runs"]
        answers = (run["answer"] for run in runs if run["answer"])
        read = (json.loads(answer) if isinstance(answer, str) else answer for answer in answers)
        return [event for events in read for event in events]

    async def until(
        self, what: str, find: Callable[[], Awaitable[Mapping[str, Any] | None]]
    ) -> Mapping[str, Any]:
        """Poll until `find` returns a result; a Failure at the timeout."""
        deadline = time.monotonic() + self._timeout_s
        while time.monotonic() < deadline:
            if (found := await find()) is not None:
                return found
            await asyncio.sleep(_POLL_INTERVAL_S)
        raise Failure(f"{what} did not happen within {self._timeout_s:g} s")

    async def newest_dead_letter(self) -> int:
        found = (await self.call("GET", "dead-letter", "/"))["dead_letters"]
        return int(found[0]["seen"]) if found else 0


def print_line(text: str) -> None:
    tables.console.print(f"  {datetime.now():%H:%M:%S}  {text}", markup=False, soft_wrap=True)


async def health(smoke: Smoke) -> None:
    """Does every Service answer?"""
    failures = []
    for service in SERVICES:
        began = time.monotonic()
        try:
            await smoke.call("GET", service, "/health")
            print_line(f"{service} is well ({time.monotonic() - began:.1f} s, with its start)")
        except Failure as failure:
            failures.append(str(failure))
            if "ConnectError" in failures[0]:
                break  # no gateway: all others would fail too
    if failures:
        raise Failure("\n".join(failures))


async def sample_data(smoke: Smoke) -> None:
    """Projects, employees and sprints; what exists is kept"""
    print_line((await smoke.call("POST", "project-orchestrator", "/sample-data"))["message"])
    for event in await smoke.request("backlog-setup", {"project_id": "TEST-001"}):
        print_line(f"TEST-001 has {event['data']['tasks_count']} tasks in its backlog")


async def report(smoke: Smoke) -> None:
    """The sprint report, and the next cycle of each finished sprint"""
    events = await smoke.request("sprint-report", {})
    for event in _of(events, "io.dsm.sprints.reported.v1"):
        tables.console.print("\n", tables.report(event["data"]), sep="")
    for event in _of(events, "io.dsm.sprint.completed.v1"):
        sprint = event["data"]["sprint_id"]

        async def cycled(sprint: str = sprint) -> Mapping[str, Any] | None:
            cycles = _of(await smoke.events("cycle-trigger"), "io.dsm.cycle.completed.v1")
            mine = (e["data"] for e in cycles if e["data"]["closed_sprint_id"] == sprint)
            return next(mine, None)

        data = await smoke.until(f"the next cycle after {sprint}", cycled)
        tables.console.print("\n", tables.cycle(data), sep="")
    tables.console.print()


async def scrum(smoke: Smoke) -> None:
    """A working day, and one report for each sprint"""
    for event in _of(await smoke.request("scrum-simulate", {}), "io.dsm.sprint.simulated.v1"):
        sprint, day = event["data"]["sprint_id"], event["data"]["scrum_date"]
        print_line(f"{len(event['data']['moved'])} tasks of {sprint} moved on {day}")

        async def filed(wanted: tuple[str, str] = (sprint, day)) -> Mapping[str, Any] | None:
            reports = _of(await smoke.events("scrum-report"), "io.dsm.scrum.reported.v1")
            found = (e["data"] for e in reports)
            return next((d for d in found if (d["sprint_id"], d["scrum_date"]) == wanted), None)

        data = await smoke.until(f"the report of {sprint}", filed)
        print_line(f"note {data['note_id']} is filed for {sprint}")


STAGES = (health, sample_data, report, scrum)


async def run(smoke: Smoke) -> int:
    """Return 0 when every stage succeeded without a new dead letter."""
    async with smoke.http:
        before = None
        await smoke.listening()
        try:
            for stage in STAGES:
                tables.console.print(f"[bold]{stage.__doc__}[/]")
                await stage(smoke)
                before = await smoke.newest_dead_letter() if before is None else before
            given_up = await smoke.newest_dead_letter() - (before or 0)
        except Failure as failure:
            tables.console.print(str(failure), style="red", markup=False, soft_wrap=True)
            return 1
        except (KeyError, TypeError) as error:
            message = f"an answer has another format than this project's: {error!r} is missing"
            tables.console.print(message, style="red", markup=False, soft_wrap=True)
            return 1
    if given_up:
        tables.console.print("[red]There are new dead letters[/]: GET dead-letter / shows them")
        return 1
    tables.console.print("\nAll went well.")
    return 0


def _of(events: Sequence[Mapping[str, Any]], kind: str) -> list[Mapping[str, Any]]:
    return [event for event in events if event["type"] == kind]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m knative.smoke",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--url", required=True, help="the gateway, http://127.0.0.1:8081")
    parser.add_argument("--namespace", default="dsm", help="default: dsm")
    parser.add_argument("--within", type=float, default=120, metavar="S", help="timeout, seconds")
    arguments = parser.parse_args(argv)
    try:
        url = httpx.URL(arguments.url)
        if not url.host or url.scheme not in ("http", "https") or not 0 <= (url.port or 80) < 65536:
            raise httpx.InvalidURL("it is http://host:port")
    except httpx.InvalidURL as error:
        parser.error(f"--url {arguments.url}: {error}")
    return asyncio.run(run(Smoke(arguments.url, arguments.namespace, arguments.within)))


if __name__ == "__main__":
    sys.exit(main())
