"""A morning while whatever it stands on is killed, and what is true of it all the same."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil

from knative.local.broker.broker import LOST
from knative.local.postgres import stop_left
from tests.support import eventually
from tests.support.local_knative import LocalKnative
from tests.support.waiting import TIMEOUT_S
from tests.support.warm_data import OVERLAY

FINISHED, HALF_DONE = "PHE001", "ORI002"
SCHEDULES = ("sprint-report", "scrum-simulate")
RUNTIME, MEMORY = "the runtime", "the broker's memory"
SERVER, SESSION = "PostgreSQL", "a session of PostgreSQL"
FUNCTIONS = (
    *("sprint-report", "cycle-trigger", "scrum-simulate", "scrum-report", "dead-letter"),
    *("scheduler", "project-service", "sprint-service", "backlog-service"),
    *("daily-scrum-service", "chronicle-service", "project-orchestrator"),
)
PING = "dev.knative.sources.ping"
VICTIMS = (*FUNCTIONS, *[RUNTIME, MEMORY, SERVER, SESSION] * 2)


class Story:
    """One runtime, what it has been through, and how to ask it while it may be dead."""

    def __init__(self, folder: Path, chance: random.Random, *options: str) -> None:
        self.runtime = LocalKnative(OVERLAY, folder / "data", options)
        self.before: dict[str, int] = {}
        self._chance = chance

    async def begin(self) -> None:
        """Start, with sample data."""
        await asyncio.to_thread(self.runtime.start)
        # Processes are killed here and no machine is, and recovery without it takes no time.
        database = await self.runtime.connect("functions")
        await database.execute("ALTER SYSTEM SET fsync = off")
        await database.execute("SELECT pg_reload_conf()")
        await database.close()
        async with self.runtime.client("project-orchestrator") as client:
            (await client.post("/sample-data")).raise_for_status()
        self.before = await self._tasks(f"{HALF_DONE}-S01")

    async def end(self) -> None:
        """Stop, and what a runtime that could not be started again has left as well."""
        await asyncio.to_thread(self.runtime.stop)
        await asyncio.to_thread(stop_left, self.runtime.data)

    async def whole(self, victims: Sequence[str]) -> None:
        """From the start to the end, with all victims killed, and everything checked."""
        try:
            await self.begin()
            await self.mornings(victims)
            await self.check()
        finally:
            await self.end()

    # What happens.

    async def mornings(self, victims: Sequence[str]) -> None:
        """Mornings go on until all victims are killed; a day's second one must change nothing."""
        async with asyncio.TaskGroup() as together:
            killing = together.create_task(self._kill_all(victims))
            while not killing.done():
                await self.morning()
        await eventually(self.has_cycled)
        # A tick of the minute in which the new sprint was not there yet is a repeated one.
        async with asyncio.timeout(TIMEOUT_S):
            while not await self.is_reported():
                await self.morning()

    async def morning(self) -> None:
        """Both schedules are due; each is over before the next."""
        for schedule in SCHEDULES:
            await eventually(partial(self.fired, schedule))
            await eventually(self.settled, every_s=0.1)

    async def fired(self, schedule: str) -> bool:
        # A tick that was not accepted is lost, as on a cluster: the schedule comes again.
        with contextlib.suppress(httpx.HTTPError, KeyError, ValueError):
            return await self.runtime.fire(schedule) == 202
        return False

    async def settled(self) -> bool:
        with contextlib.suppress(httpx.HTTPError, ValueError):
            return await self.runtime.settled()
        return False

    async def _kill_all(self, victims: Sequence[str]) -> None:
        """Kill a victim whenever a little more has happened."""
        seen = await self.progress()
        for victim in victims:
            wanted = seen + self._chance.randint(1, 4)
            seen = await eventually(partial(self.reached, wanted), timeout_s=300, every_s=0.05)
            await self.kill(victim)

    async def reached(self, wanted: int) -> int:
        done = await self.progress()
        return done if done >= wanted else 0

    async def progress(self) -> int:
        """Events, and attempts to deliver them."""
        with contextlib.suppress(httpx.HTTPError, ValueError):
            found = await self.runtime.ask("events", limit=10_000)
            return len(found) + sum(len(d["attempts"]) for e in found for d in e["deliveries"])
        return 0

    async def kill(self, victim: str) -> None:
        """SIGKILL; a function that stays at zero has nothing that could be lost."""
        if victim == RUNTIME:
            await asyncio.to_thread(self.runtime.kill)
            await asyncio.to_thread(self.runtime.start)
        elif victim == MEMORY:
            await self.runtime.crash_broker()
        elif victim == SERVER:
            _kill(await eventually(partial(self._pid, "postgres")))
        elif victim == SESSION:
            _kill(self._chance.choice(await eventually(self._sessions)))
        elif pid := await self._pid(victim):
            _kill(pid)

    async def _pid(self, name: str) -> int:
        return {one["name"]: one["pid"] or 0 for one in await self.runtime.ask("services")}[name]

    async def _sessions(self) -> list[int]:
        """The processes of PostgreSQL that serve a client each."""
        with contextlib.suppress(psutil.NoSuchProcess):
            server = psutil.Process(await self._pid("postgres"))
            return [one.pid for one in server.children() if "[local]" in " ".join(one.cmdline())]
        return []

    # What is true.

    async def get(self, service: str, path: str, **query: Any) -> Any:
        """A read of a Service that works by now."""

        async def answer() -> Any:
            with contextlib.suppress(httpx.HTTPError):
                async with self.runtime.client(service) as client:
                    response = await client.get(path, params=query)
                return [response.json()] if response.status_code == 200 else None
            return None

        return (await eventually(answer))[0]

    async def events(self, kind: str) -> list[Any]:
        """The data of the events of a type, each id once."""
        found = await self.runtime.ask("events", type=kind, limit=1000)
        return list({e["attributes"]["id"]: e["data"] for e in reversed(found)}.values())

    async def _tasks(self, sprint_id: str) -> dict[str, int]:
        tasks = await self.get("sprint-service", f"/sprints/{sprint_id}/tasks")
        return {task["task_id"]: task["progress_percentage"] for task in tasks}

    async def has_cycled(self) -> bool:
        return bool(await self.events("io.dsm.cycle.completed.v1"))

    async def is_reported(self) -> bool:
        """Both sprints that are under way after the cycle have a note.

        So has the first sprint of the project where a scrum came before its cycle had closed it.
        """
        noted = {event["sprint_id"] for event in await self.events("io.dsm.scrum.reported.v1")}
        return noted >= {f"{HALF_DONE}-S01", f"{FINISHED}-S02"}

    async def check(self) -> None:
        """Everything is done, and nothing twice."""
        await eventually(self.has_cycled)
        await eventually(self.is_reported)
        await self._check_cycle()
        days = await self._check_progress()
        for sprint_id, day in days:
            path = "/v1/notes/daily_scrum_report/notes"
            query = {"sprint_id": sprint_id, "daily_scrum_date": day}
            notes = await self.get("chronicle-service", path, **query)
            assert len(notes) == 1, f"one note for {sprint_id} on {day}"
        assert await self.runtime.given_up() == []
        await eventually(self._all_is_made_good)
        await eventually(self.runtime.settled)  # a tick of each minute may be on its way

    async def _all_is_made_good(self) -> bool:
        """Each delivery that the broker forgot was made later: its event was sent again."""
        lost, made = set[tuple[str, str, str]](), set[tuple[str, str, str]]()
        for event in await self.runtime.ask("events", limit=10_000):
            emitted = event["attributes"]
            for one in event["deliveries"]:
                key = (emitted["source"], emitted["id"], one["trigger"])
                if one["state"] == "delivered":
                    made.add(key)
                # What the clock sends is as good the next minute.
                elif one["reason"] == LOST and emitted["type"] != PING:
                    lost.add(key)
        return lost <= made

    async def _check_cycle(self) -> None:
        sprints = await self.get("sprint-service", f"/sprints/by-project/{FINISHED}")
        assert {s["sprint_id"]: s["status"] for s in sprints} == {
            f"{FINISHED}-S01": "completed",
            f"{FINISHED}-S02": "in_progress",
        }
        assert len(await self.events("io.dsm.cycle.completed.v1")) == 1
        backlog = await self.get("backlog-service", f"/backlogs/{FINISHED}")
        assert len(backlog) == 20, "ten tasks of the first sprint, ten of one cycle"

    async def _check_progress(self) -> set[tuple[str, str]]:
        """Each day moved each task once; the sprints and days that were simulated."""
        by_day: dict[tuple[str, str], dict[str, int]] = {}
        for event in await self.events("io.dsm.sprint.simulated.v1"):
            moves = {move["task_id"]: move["progress_made"] for move in event["moved"]}
            key = (event["sprint_id"], event["scrum_date"])
            assert by_day.setdefault(key, moves) == moves, "a day is simulated once"
        for sprint_id, start in ((f"{HALF_DONE}-S01", self.before), (f"{FINISHED}-S02", {})):
            moved = [moves for (sprint, _), moves in by_day.items() if sprint == sprint_id]
            assert moved, f"{sprint_id} was simulated"
            expected = {
                task: start.get(task, 0) + sum(moves.get(task, 0) for moves in moved)
                for task in await self._tasks(sprint_id)
            }
            assert await self._tasks(sprint_id) == expected, "each task moved once a day"
        return set(by_day)


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
