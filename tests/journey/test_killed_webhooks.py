"""Signed webhooks while everything is killed: each is emitted once by id, and has exactly one Job.

250 deliveries, and 75 of them once more, go the whole way: webhook-receiver, the broker,
job-launcher, Kubernetes, a process. Meanwhile receiver, launcher, and the runtime with its broker,
database and Kubernetes get a SIGKILL, and the broker loses its memory, at points drawn from a seed.

What is counted, and why:
- An acknowledgement: 202. Whoever gets none sends again under the same delivery id, as GitHub's
  "redeliver" does. Of one id at most one answer may say that it is new.
- An event: an id at the broker, in its own record. Each acknowledged id is there, and no other.
  Of what a receiver had on its way when it was killed it cannot know whether the broker answered,
  and it is sent again; a broker knows no ids and takes that as a second event, which must be a
  copy: with the same source, type and data.
- A Job: a uid that Kubernetes ever gave to a Job of that delivery, as it tells whoever watches, so
  that one which is gone or was made again would count. One per delivery, though its event may come
  twice.
- An effect: the Job's process writes down its delivery and its Job. A pod that dies with the
  runtime is replaced, so lines may repeat; the Job's name may not differ.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from knative.demo.agents import sample_issue
from tests.support import eventually
from tests.support import webhook_requests as make
from tests.support.local_knative import ROOT, LocalKnative
from tests.support.repository import container, services

DELIVERIES = int(os.environ.get("KILLED_DELIVERIES", "250"))
REPEATS = DELIVERIES * 3 // 10
SENDERS = 12
RUNTIME, MEMORY = "the runtime", "the broker's memory"
VICTIMS = ["webhook-receiver", "job-launcher"] * 3 + [RUNTIME, MEMORY] * 2
ROUTES = """
routes:
  - name: write-it-down
    match: {type: com.github.issue.labeled, label: agent}
    job:
      kind: execute
      task_id: "{{ data.repository.full_name }}#{{ data.issue.number }}"
      service: shop
      ttl_seconds: 3600
      retries: 5
      image: busybox:1
      command: [sh, -c, 'echo "$EVENT_ID $JOB_NAME" >> RECORD']
      files: {task.md: "{{ data.issue.title }}"}
"""


def overlay(folder: Path, record: Path) -> Path:
    """Of the laptop's overlay what has part in this, with these routes and room for all Jobs."""
    parts = ["namespace", "broker", "sink", "migrate"]
    parts += [f"functions/{name}" for name in ("webhook-receiver", "job-launcher", "dead-letter")]
    routes = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "job-routes"},
        "data": {"routes.yaml": ROUTES.replace("RECORD", str(record))},
    }
    service = services()["job-launcher"]
    names = [one["name"] for one in container(service)["env"]]
    room = [
        {
            "op": "replace",
            "path": f"/spec/template/spec/containers/0/env/{names.index(name)}/value",
            "value": str(DELIVERIES),
        }
        for name in ("JOB_CONCURRENCY", "JOB_GROUP_CONCURRENCY")
    ]
    dsm = {
        "namespace": "dsm",
        "resources": [
            *(_way(folder / "dsm", f"base/{name}.yaml") for name in parts),
            _way(folder / "dsm", "overlays/local/dsm/webhook-secrets.yaml"),
        ],
        "components": [_way(folder / "dsm", "components/postgres")],
        "patches": [
            {"patch": json.dumps(routes)},
            {"target": {"kind": "Service", "name": "job-launcher"}, "patch": json.dumps(room)},
        ],
    }
    _kustomization(folder / "dsm", dsm)
    images = yaml.safe_load((ROOT / "knative" / "base" / "knative-local.yaml").read_text())[
        "images"
    ]
    program = images["dsm-functions"] | {"workingDir": str(ROOT)}
    (folder / "knative-local.yaml").write_text(
        yaml.safe_dump({"images": {"dsm-functions": program}})
    )
    jobs = [_way(folder, f"jobs/{name}.yaml") for name in ("namespace", "launcher")]
    return _kustomization(folder, {"resources": ["dsm", *jobs]})


def _way(folder: Path, name: str) -> str:
    return os.path.relpath(ROOT / "knative" / name, folder)


def _kustomization(folder: Path, fields: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    kind = {"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization"}
    (folder / "kustomization.yaml").write_text(yaml.safe_dump(kind | fields))
    return folder


class Story:
    """One runtime, what was sent to it and killed of it, and how to ask it while it may be dead."""

    def __init__(self, folder: Path) -> None:
        self.record = folder / "record"
        self.record.touch()
        self.runtime = LocalKnative(overlay(folder / "overlay", self.record), folder / "k")
        self.ids = [f"d-{number}" for number in range(DELIVERIES)]
        self.new: Counter[str] = Counter()
        self.acknowledged = 0
        self.killed: Counter[str] = Counter()
        self.jobs_made: dict[str, set[str]] = defaultdict(set)

    async def send_all(self, chance: random.Random) -> None:
        todo = self.ids + chance.choices(self.ids, k=REPEATS)
        chance.shuffle(todo)

        async def sender(client: httpx.AsyncClient) -> None:
            while todo:
                await self._deliver(client, todo.pop())

        async with httpx.AsyncClient(timeout=30, trust_env=False) as client:
            await asyncio.gather(*(sender(client) for _ in range(SENDERS)))

    async def _deliver(self, client: httpx.AsyncClient, id: str) -> None:
        """Send until it is acknowledged."""
        payload = sample_issue(int(id.removeprefix("d-")))
        secret = self.runtime.secret("dsm/webhook-secrets", "github")
        path, headers, body = make.from_github(payload, delivery=id, secret=secret)
        headers["host"] = "webhook-receiver.dsm.localhost"

        async def acknowledged() -> dict[str, Any] | None:
            with contextlib.suppress(httpx.TransportError):
                answer = await client.post(self.runtime.url + path, headers=headers, content=body)
                assert answer.status_code == 202 or answer.status_code >= 500, answer.text
                return answer.json() if answer.status_code == 202 else None
            return None

        answer = await eventually(acknowledged)
        assert answer is not None
        self.new[id] += not answer["repeated"]
        self.acknowledged += 1

    async def kill_them_all(self, chance: random.Random) -> None:
        """Kill a victim at each of the points, which lie between the first and the last Job."""
        victims = list(VICTIMS)
        chance.shuffle(victims)
        points = sorted(chance.sample(range(DELIVERIES // 20, DELIVERIES), len(victims)))
        for victim, point in zip(victims, points, strict=True):
            await eventually(partial(self._far_enough, point), timeout_s=240, every_s=0.05)
            await self._kill(victim)

    async def _far_enough(self, point: int) -> bool:
        """Half of it is acknowledging, half is Jobs that ran."""
        lines = self.record.read_text().count("\n")
        return (min(self.acknowledged, DELIVERIES) + min(lines, DELIVERIES)) // 2 >= point

    async def _kill(self, victim: str) -> None:
        if victim == RUNTIME:
            await asyncio.to_thread(self.runtime.kill)
            await asyncio.to_thread(self.runtime.start)
        elif victim == MEMORY:
            await eventually(self._memory_lost)
        else:
            pid = await eventually(partial(self._pid, victim))
            os.kill(pid, signal.SIGKILL)
        self.killed[victim] += 1

    async def _memory_lost(self) -> int:
        """What the broker had on its way; near the end that may be nothing but this tick."""
        firing, lost = asyncio.create_task(self.runtime.fire("job-sweep")), 0
        while not (lost or firing.done()):
            lost = await self.runtime.crash_broker()
        await firing
        return lost

    async def _pid(self, victim: str) -> int:
        found = {s["name"]: s["pid"] for s in await self.runtime.ask("services")}
        return found[victim] or 0

    async def all_is_done(self) -> bool:
        """Nothing is on its way, and each Job ran; what waits for a minute's tick gets one."""
        await eventually(self.runtime.settled, every_s=0.1)
        if set(self.ids) <= set(self.jobs_that_ran()) & set(self.jobs_made):
            return True
        for schedule in ("webhook-relay", "job-sweep"):
            await self.runtime.fire(schedule)
        return False

    async def watch_jobs(self) -> None:
        """Note every uid that Kubernetes gives to a Job, by delivery; goes on after a kill."""
        jobs = "/kubernetes/apis/batch/v1/namespaces/agents/jobs"
        while True:
            with contextlib.suppress(httpx.HTTPError):
                # A new one each time: a runtime that was killed comes back with another token.
                async with (
                    self.runtime.client(timeout=None) as client,
                    client.stream("GET", jobs, params={"watch": "true"}) as answer,
                ):
                    answer.raise_for_status()  # a runtime that comes back may not be ready
                    async for line in answer.aiter_lines():
                        metadata = json.loads(line)["object"]["metadata"]
                        delivery = metadata["annotations"]["jobs.dsm.io/github-delivery"]
                        self.jobs_made[delivery].add(metadata["uid"])
            await asyncio.sleep(0.01)

    def jobs_that_ran(self) -> dict[str, set[str]]:
        ran: dict[str, set[str]] = defaultdict(set)
        for line in self.record.read_text().splitlines():
            delivery, job = line.split()
            ran[delivery].add(job)
        return ran


@pytest.fixture
async def story(tmp_path: Path) -> AsyncIterator[Story]:
    story = Story(tmp_path)
    await asyncio.to_thread(story.runtime.start)
    yield story
    await asyncio.to_thread(story.runtime.stop)


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_each_delivery_is_one_event_by_id_and_one_job_whoever_is_killed(
    story: Story,
) -> None:
    chance = random.Random(20261121)
    watching = asyncio.create_task(story.watch_jobs())
    async with asyncio.TaskGroup() as together:
        together.create_task(story.send_all(chance))
        together.create_task(story.kill_them_all(chance))
    await eventually(story.all_is_done, timeout_s=240, every_s=0.5)
    assert not watching.done()
    watching.cancel()

    assert story.killed == Counter(VICTIMS)
    assert set(story.new.values()) <= {0, 1}, "of an id one answer at most says that it is new"

    output = await story.runtime.ask("events", type="com.github.issue.labeled", limit=10_000)
    assert {event["attributes"]["id"] for event in output} == set(story.ids)
    different = {
        json.dumps([[event["attributes"][n] for n in ("id", "source", "type")], event["data"]])
        for event in output
    }
    assert len(different) == DELIVERIES, "what came twice was a copy"

    for jobs in (story.jobs_made, story.jobs_that_ran()):
        assert set(jobs) == set(story.ids)
        assert {id: names for id, names in jobs.items() if len(names) != 1} == {}
    assert await story.runtime.given_up() == []
