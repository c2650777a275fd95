"""Agents' outputs on GitHub: agent-outputs on a socket, a repository, and what a Job's pod runs."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

import httpx

from functions import job_grant
from functions.agent_outputs.applier import EMITS
from functions.agent_outputs.main import agent_outputs
from functions.agent_pod.collect import Sidecar
from functions.agent_pod.environment import Places
from functions.agent_pod.prepare import prepare
from functions.events.schedule import ScheduleDue
from functions.job_grant import JobGrant, OutputRules
from tests.support.cluster import Cluster
from tests.support.deliveries_world import Clock
from tests.support.github_standin import GithubStandIn
from tests.support.listening import listening

KEY = "k" * 40
REPOSITORY = "acme/shop"
FILES = {"README.md": "# Shop\n", "src/basket.py": "items = []\n"}
CHANGED = {"src/basket.py": "items = ['last']\n"}
WANTED = {"pull_request": {"title": "Keep the last item", "body": "The basket lost it."}}


@dataclass
class Pod:
    """One Job's pod, as far as it is not the agent."""

    world: AgentWorld
    grant: JobGrant
    places: Places

    async def prepare(self) -> None:
        await asyncio.to_thread(prepare, self.places)

    @cached_property
    def sidecar(self) -> Sidecar:
        return Sidecar(self.places)

    async def checkpoint(self) -> None:
        """What happens every minute while the agent works."""
        await asyncio.to_thread(self.sidecar.checkpoint)

    async def collect(self) -> None:
        """What happens after the agent's end, up to what agent-outputs then does."""
        await asyncio.to_thread(self.sidecar.collect)
        await self.world.cluster.relayed()

    def write(self, files: Mapping[str, str]) -> None:
        for name, text in files.items():
            file = self.places.repository / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def git(self, *expected_text: str) -> str:
        """What the agent runs, with the configuration of its own repository."""
        environ = {"PATH": os.environ["PATH"], "HOME": str(self.places.repository.parent)}
        done = subprocess.run(
            ["git", *expected_text],
            cwd=self.places.repository,
            env=environ,
            check=True,
            capture_output=True,
            text=True,
        )
        return done.stdout.strip()

    def commit(self, files: Mapping[str, str], message: str = "Keep the last item") -> None:
        self.write(files)
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "-m", message)

    def says(self, outputs: object) -> None:
        text = outputs if isinstance(outputs, str) else json.dumps(outputs)
        self.places.outputs.write_text(text)

    async def run(self, files: Mapping[str, str] | None = None, outputs: object = None) -> None:
        """A whole Job whose agent commits these files and asks for these outputs."""
        await self.prepare()
        self.commit(files or CHANGED)
        self.says(WANTED if outputs is None else outputs)
        await self.collect()


@dataclass
class AgentWorld:
    """`url` is of agent-outputs, `environ` its settings."""

    cluster: Cluster
    clock: Clock
    github: GithubStandIn
    folder: Path
    url: str
    environ: dict[str, str]
    _pods: list[Pod] = field(default_factory=list)

    def deploy(self, settings: Mapping[str, str] | None = None) -> None:
        """A new process of agent-outputs."""
        environ = {**self.environ, **(settings or {})}
        self.cluster.deploy(agent_outputs, environ, now=self.clock)

    async def pod(self, job: str = "job-1", **claims: Any) -> Pod:
        """A Job's pod, with a grant for an issue that is there."""
        if not self.github.issues.get(REPOSITORY):
            await self.github.opened(REPOSITORY, "The basket forgets")
        grant = JobGrant(
            **{
                "job_id": job,
                "task_id": f"{REPOSITORY}#1",
                "route": "issue-labelled-agent",
                "repository": REPOSITORY,
                "branch": "agent/1",
                "issue": 1,
                "rules": OutputRules(labels=["agent:done"]),
                **claims,
            }
        )
        home = self.folder / f"pod {len(self._pods)} %41"  # as a checkout may be named
        (home / "collected").mkdir(parents=True)
        now = self.clock()
        token = job_grant.signed(grant, KEY, now, now + timedelta(hours=2))
        (home / "grant").write_text(token)
        places = Places(
            repository=home / "workspace" / "repository",
            outputs=home / "workspace" / "outputs.json",
            collected=home / "collected",
            grant=home / "grant",
            outputs_url=self.url,
            job=job,
            pod=home.name,
        )
        self._pods.append(Pod(self, grant, places))
        return self._pods[-1]

    async def minute(self, minutes: float = 1) -> None:
        """Time passes, and the tick of the minute comes."""
        self.clock.passes(minutes=minutes)
        due = ScheduleDue(schedule="agent-outputs-sweep", time=self.clock())
        answer = await self.cluster.tell("agent-outputs", due)
        assert answer.status_code == 202, answer.text

    def emitted(self) -> list[dict[str, Any]]:
        """The facts of agents that the broker has, each id once: `type`, and the data."""
        kinds = {kind.type for kind in EMITS}
        found = {m.id: m for m in self.cluster.sink.messages if m.type in kinds}
        return [{"type": m.type.split(".")[3], **json.loads(m.data)} for m in found.values()]

    @property
    def pulls(self) -> list[Any]:
        return list(self.github.pulls.get(REPOSITORY, {}).values())


@asynccontextmanager
async def agent_world(cluster: Cluster, database: str, folder: Path) -> AsyncIterator[AgentWorld]:
    """GitHub with one repository, its App, and agent-outputs that asks as that App."""
    clock = Clock()
    clock.time = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)
    async with httpx.AsyncClient(verify=False) as anonymous:
        github = GithubStandIn(clock, anonymous, "secret", folder=folder / "github")
        github.git.create(REPOSITORY, FILES)
        cluster.add("api", github)

        async def outputs(scope: Any, receive: Any, send: Any) -> None:
            await cluster.apps["agent-outputs"](scope, receive, send)

        async with listening(github) as github_url, listening(outputs) as url:
            environ = {
                "DATABASE_URL": database,
                "GRANT_KEY": KEY,
                "GITHUB_URL": github_url,
                "GITHUB_APP_ID": "1",
                "GITHUB_SHARE": "1000",
                "GITHUB_APP_PRIVATE_KEY": github.private_key,
            }
            world = AgentWorld(cluster, clock, github, folder, url, environ)
            world.deploy()
            yield world
    assert not github.document.violations, github.document.violations
