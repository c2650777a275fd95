"""The morning's run while every process is killed: nothing is lost, nothing is done twice."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support import eventually
from tests.support.local_knative import ROOT, LocalKnative

OVERLAY = ROOT / "knative/overlays/local"
FINISHED, HALF_DONE = "PHE001", "ORI002"
RUNTIME = "the runtime"
VICTIMS = (
    *("sprint-report", "cycle-trigger", "scrum-simulate", "scrum-report", "dead-letter"),
    *("project-service", "sprint-service", "backlog-service", "daily-scrum-service"),
    *("chronicle-service", "project-orchestrator"),
    *(RUNTIME, RUNTIME, RUNTIME),
)


class Story:
    """One runtime, what it has been through, and how to ask it while it may be dead."""

    def __init__(self, data: Path, seed: int) -> None:
        self.runtime = LocalKnative(OVERLAY, data, ["--deliver-twice"])
        self.chance = random.Random(seed)
        self.victims = list(VICTIMS)
        self.chance.shuffle(self.victims)
        self.killed: list[str] = []

    async def get(self, service: str, path: str, **query: Any) -> Any:
        """A read of a Service that works by now."""

        async def answer() -> Any:
            with contextlib.suppress(httpx.HTTPError):
                async with self.runtime.client(service) as client:
                    response = await client.get(path, params=query)
                return [response.json()] if response.status_code == 200 else None
            return None

        return (await eventually(answer, within_s=60))[0]

    async def events(self, kind: str) -> list[Any]:
        """The data of the events of a type, each id once."""
        found = await self.runtime.ask("events", type=kind, limit=1000)
        return list({e["attributes"]["id"]: e["data"] for e in reversed(found)}.values())

    async def morning(self) -> None:
        """Both schedules are due; each is over before the next."""
        for schedule in ("sprint-report", "scrum-simulate"):
            await eventually(partial(self._fired, schedule), within_s=60)
            await eventually(self._settled, within_s=120, every_s=0.1)

    async def _fired(self, schedule: str) -> bool:
        # A tick that nobody took is lost, as on a cluster: the schedule comes again.
        with contextlib.suppress(httpx.HTTPError, KeyError, ValueError):
            return await self.runtime.fire(schedule) == 202
        return False

    async def _settled(self) -> bool:
        with contextlib.suppress(httpx.HTTPError, ValueError):
            return await self.runtime.settled()
        return False

    async def kill_them_all(self) -> None:
        """Kill a victim whenever a little more has happened."""
        seen = await self._progress()
        while self.victims:
            wanted = seen + self.chance.randint(1, 4)
            seen = await eventually(partial(self._at_least, wanted), within_s=300)
            await self._kill(self.victims.pop())

    async def _at_least(self, wanted: int) -> int:
        done = await self._progress()
        return done if done >= wanted else 0

    async def _progress(self) -> int:
        with contextlib.suppress(httpx.HTTPError, ValueError):
            found = await self.runtime.ask("events", limit=1000)
            return len(found) + sum(len(d["attempts"]) for e in found for d in e["deliveries"])
        return 0

    async def _kill(self, victim: str) -> None:
        if victim == RUNTIME:
            await asyncio.to_thread(self.runtime.kill)
            await asyncio.to_thread(self.runtime.start)
        else:
            services = {s["name"]: s["pid"] for s in await self.runtime.ask("services")}
            if services[victim]:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(services[victim], signal.SIGKILL)
        self.killed.append(victim)


@pytest.fixture(params=[1, 2], ids=["one order", "another order"])
async def story(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Story]:
    story = Story(tmp_path / "data", request.param)
    await asyncio.to_thread(story.runtime.start)
    async with story.runtime.client("project-orchestrator") as client:
        (await client.post("/sample-data")).raise_for_status()
    yield story
    await asyncio.to_thread(story.runtime.stop)


async def _tasks(story: Story, sprint_id: str) -> dict[str, int]:
    tasks = await story.get("sprint-service", f"/sprints/{sprint_id}/tasks")
    return {task["task_id"]: task["progress_percentage"] for task in tasks}


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_whoever_is_killed_whenever_all_ends_as_if_nobody_had_been(story: Story) -> None:
    before = await _tasks(story, f"{HALF_DONE}-S01")
    killing = asyncio.create_task(story.kill_them_all())
    # Mornings go on until everybody has been killed; a second one on a day must change nothing.
    while not killing.done():
        await story.morning()
    await killing
    await story.morning()
    assert sorted(story.killed) == sorted(VICTIMS)

    sprints = await story.get("sprint-service", f"/sprints/by-project/{FINISHED}")
    assert {s["sprint_id"]: s["status"] for s in sprints} == {
        f"{FINISHED}-S01": "completed",
        f"{FINISHED}-S02": "in_progress",
    }
    assert len(await story.events("io.dsm.cycle.completed.v1")) == 1
    backlog = await story.get("backlog-service", f"/backlogs/{FINISHED}")
    assert len(backlog) == 20, "ten tasks of the first sprint, ten of one cycle"

    simulated = await story.events("io.dsm.sprint.simulated.v1")
    by_day: dict[tuple[str, str], dict[str, int]] = {}
    for event in simulated:
        moves = {move["task_id"]: move["progress_made"] for move in event["moved"]}
        key = (event["sprint_id"], event["scrum_date"])
        assert by_day.setdefault(key, moves) == moves, "a day is simulated once"
    for sprint_id, start in ((f"{HALF_DONE}-S01", before), (f"{FINISHED}-S02", {})):
        moved = [moves for (sprint, _), moves in by_day.items() if sprint == sprint_id]
        assert moved, f"{sprint_id} was simulated"
        expected = {
            task: start.get(task, 0) + sum(moves.get(task, 0) for moves in moved)
            for task in await _tasks(story, sprint_id)
        }
        assert await _tasks(story, sprint_id) == expected, "each task moved once a day"

    for sprint_id, day in by_day:
        notes = await story.get(
            "chronicle-service",
            "/v1/notes/daily_scrum_report/notes",
            sprint_id=sprint_id,
            daily_scrum_date=day,
        )
        assert len(notes) == 1, f"one note for {sprint_id} on {day}"

    letters = await story.runtime.ask("dead-letters")
    assert [(e["attributes"]["type"], e["deliveries"]) for e in letters] == []
    await eventually(story.runtime.settled)  # a tick of each minute may be on its way
    assert (await story.runtime.ask("settled"))["counts"].get("failed", 0) == 0
