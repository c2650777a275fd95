"""Four issues and a budget for two: the third Job knows what is left, the fourth waits a day.

job-launcher, agent-status and GitHub's stand-in are real; everything is delivered twice. What a Job
has cost is known after its end, and what came of its outputs later still.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from functions.agent_status.main import agent_status
from functions.events.agent import AgentDelivered, AgentUsage, AgentUsed
from functions.events.schedule import ScheduleDue
from functions.kit import cloudevents
from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.deliveries_world import Clock
from tests.support.github_standin import GithubStandIn
from tests.support.job_world import World, job_world, takes_outputs
from tests.support.listening import listening

REPOSITORY = "acme/shop"
ROUTES = """
version: 1
budgets:
  - {group: acme/*, usd: 10}
routes:
  - name: work
    match: {type: com.github.issue.labeled, label: agent, actor: triage}
    job:
      kind: execute
      task_id: "acme/shop#{{ data.issue.number }}"
      service: shop
      group: acme/shop
      group_limit: 1
      github: acme/shop
      issue: "{{ data.issue.number }}"
      outputs: {}
      command: [python, -c, {code}]
"""
# It works until the test lets it end.
CODE = """
import os, pathlib, time
ends = pathlib.Path({folder!r}) / os.environ["TASK_ID"].rpartition("#")[2]
while not ends.exists():
    time.sleep(0.05)
print("left", os.environ["BUDGET_USD"])
"""


@dataclass
class Day:
    """`github` has the issues, `jobs` the launcher."""

    jobs: World
    github: GithubStandIn
    clock: Clock
    folder: Path
    _passed_on: set[str] = field(default_factory=set)

    async def labelled(self) -> int:
        number = await self.github.opened(REPOSITORY)
        body = {
            "action": "labeled",
            "label": {"name": "agent"},
            "issue": {"number": number, "title": "x"},
            "repository": {"full_name": REPOSITORY},
            "sender": {"login": "octocat", "type": "User"},
        }
        message = cloudevents.Message(
            f"label-{number}",
            "/github",
            "com.github.issue.labeled",
            json.dumps(body).encode(),
            extensions={"actorpermission": "triage"},
        )
        await self.to("job-launcher", message)
        return number

    async def to(self, function: str, message: cloudevents.Message) -> None:
        for _ in range(2):
            answer = await self.jobs.cluster.tell(function, message)
            assert answer.status_code == 202, answer.text

    async def minute(self) -> None:
        """Its ticks come, and agent-status gets what was emitted."""
        self.clock.passes(minutes=1)
        await self.jobs.sweep()
        await self.jobs.cluster.relayed()
        for message in list(self.jobs.cluster.sink.messages):
            if message.id not in self._passed_on and message.type.startswith("io.dsm."):
                self._passed_on.add(message.id)
                await self.to("agent-status", message)
        due = ScheduleDue(schedule="agent-status-sweep", time=self.clock())
        assert (await self.jobs.cluster.tell("agent-status", due)).status_code == 202

    async def state(self, number: int) -> str:
        [job] = await self.jobs.jobs(task=f"{REPOSITORY}#{number}")
        return str(job["state"])

    async def becomes(self, number: int, state: str) -> None:
        async def is_in_it() -> bool:
            await self.minute()
            return await self.state(number) == state

        await eventually(is_in_it, every_s=0.05)

    async def done(self, number: int, usd: float) -> None:
        """Its Job ends, agent-outputs reports what it has cost, and what it has applied."""
        await self.becomes(number, "running")
        (self.folder / str(number)).touch()
        await self.becomes(number, "succeeded")
        await self.minute()
        assert await self.jobs.jobs(state="running") == [], "its use is not known"
        [job] = await self.jobs.jobs(task=f"{REPOSITORY}#{number}")
        about = {
            "job_id": job["job_id"],
            "task_id": job["task_id"],
            "route": "work",
            "repository": REPOSITORY,
            "issue": number,
        }
        usage = AgentUsage(cost_usd=usd)
        await self.reported(AgentUsed(**about, usage=usage, used_at=self.clock()))
        delivered = {"commented": True, "settled_at": self.clock(), "usage": usage}
        await self.reported(AgentDelivered(**about, **delivered))
        await self.minute()

    async def reported(self, fact: AgentUsed | AgentDelivered) -> None:
        for function in ("job-launcher", "agent-status"):
            for _ in range(2):
                assert (await self.jobs.cluster.tell(function, fact)).status_code == 202

    def comment(self, number: int) -> str:
        [found] = self.github.conversation.on(REPOSITORY, number)
        return found.body


@pytest.fixture
async def day(cluster: Cluster, functions_database: str, tmp_path: Path) -> AsyncIterator[Day]:
    clock = Clock()
    routes = ROUTES.replace("{code}", json.dumps(CODE.format(folder=str(tmp_path))))
    async with (
        httpx.AsyncClient() as no_receiver,
        listening(takes_outputs) as outputs,
        job_world(
            *(cluster, functions_database, tmp_path),
            routes=routes,
            environ={
                "AGENT_OUTPUTS_URL": outputs,
                "WORKSPACE_IMAGE": "anthropic/claude-code",
                "GRANT_KEY": "k" * 40,
            },
            now=clock,
        ) as jobs,
    ):
        github = GithubStandIn(clock, no_receiver, "secret", folder=tmp_path / "github")
        cluster.add("api", github)
        environ = {
            "DATABASE_URL": functions_database,
            "GITHUB_APP_ID": "1",
            "GITHUB_SHARE": "1000",
            "GITHUB_APP_PRIVATE_KEY": github.private_key,
        }
        cluster.deploy(agent_status, environ, now=clock)
        yield Day(jobs, github, clock, tmp_path)
    assert not github.document.violations, github.document.violations


async def test_a_budget_that_is_reached_in_mid_queue(day: Day) -> None:
    numbers = [await day.labelled() for _ in range(4)]
    first, second, third, fourth = numbers
    await day.done(first, 4.5)
    await day.done(second, 4.0)
    assert "85 % of the budget of group acme/shop (usd) are used" in day.comment(second)
    await day.done(third, 1.75)
    [job] = await day.jobs.jobs(task=f"{REPOSITORY}#{third}")
    assert job["last_lines"] == ["left 1.50"]

    for _ in range(3):
        await day.minute()
    assert await day.state(fourth) == "queued"
    reason = "the budget of group acme/shop is used up: $10.25 of $10.00; it starts at 2026-03-03"
    assert f"> {reason} 00:00 UTC" in day.comment(fourth)
    day.clock.passes(hours=10)
    await day.done(fourth, 0.5)
    [job] = await day.jobs.jobs(task=f"{REPOSITORY}#{fourth}")
    assert job["last_lines"] == ["left 10.00"]
    assert "used up" not in day.comment(fourth)
    assert len(day.github.conversation.comments) == len(numbers), "one on each issue"
    names = [fact.type.split(".")[2:4] for fact in {f.id: f for f in day.jobs.facts}.values()]
    assert (names.count(["budget", "warned"]), names.count(["job", "held"])) == (1, 1)
