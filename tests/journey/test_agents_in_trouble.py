"""An agent that a stranger steers, one that is killed, and GitHub away: what is seen on the issue.

The pods' own programs, agent-outputs and agent-status work with a real repository behind GitHub's
stand-in. Each story runs again with everything delivered twice.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest

from functions.agent_status.main import agent_status
from functions.events.agent import AgentRefused
from functions.events.base import Event
from functions.events.job import JobFailed, JobQueued, JobStarted, JobSucceeded
from functions.events.schedule import ScheduleDue
from functions.kit import cloudevents
from tests.conftest import MakeMigrated
from tests.support.agent_world import CHANGED, FILES, REPOSITORY, WANTED, AgentWorld, Pod
from tests.support.agent_world import agent_world as outputs_world
from tests.support.cluster import Cluster
from tests.support.github_conversation import Comment

KEY = "sk-ant-api03-0123456789abcdefghijklmnop"
OTHER = "acme/other"


@dataclass
class Trouble:
    """`times`: how often each event is delivered."""

    agents: AgentWorld
    times: int
    _passed_on: set[str] = field(default_factory=set)

    async def pod(self, job: str = "job-1", **claims: Any) -> Pod:
        pod = await self.agents.pod(job, **claims)
        fields = self.fields(pod)
        cause = {"cause_id": job, "cause_source": "/s", "cause_type": "com.github.issue.labeled"}
        await self.tell(JobQueued(**fields, **cause))
        await self.tell(JobStarted(**fields, started_at=self.agents.clock()))
        return pod

    def fields(self, pod: Pod) -> dict[str, Any]:
        grant = pod.grant
        return {
            **{"job_id": grant.job_id, "kind": "execute", "task_id": grant.task_id, "group": ""},
            **{"service": "shop", "route": grant.route, "repository": grant.repository},
            **{"issue": grant.issue, "gives_outputs": True},
        }

    async def tell(self, event: Event) -> None:
        for _ in range(self.times):
            for name in ("agent-status", "agent-outputs"):
                answer = await self.agents.cluster.tell(name, event)
                assert answer.status_code in (202, 400), answer.text  # each has types of its own

    async def ended(self, pod: Pod, blocked: list[str] | None = None, *, killed: bool) -> None:
        """Kubernetes sees the Job's end."""
        at, fields = self.agents.clock(), self.fields(pod)
        if killed:
            reason = {"reason": "BackoffLimitExceeded", "message": "container agent, exit code 137"}
            await self.tell(JobFailed(**fields, ended_at=at, **reason, blocked=blocked or []))
        else:
            times = {"started_at": at, "ended_at": at}
            await self.tell(JobSucceeded(**fields, **times, blocked=blocked or []))

    async def minutes(self, count: int) -> None:
        """Time passes: each minute has its ticks, and what agent-outputs emitted arrives."""
        for _ in range(count):
            await self.agents.minute()
            await self.agents.cluster.relayed()
            for message in list(self.agents.cluster.sink.messages):
                if message.id not in self._passed_on and ".agent." in message.type:
                    self._passed_on.add(message.id)
                    await self._deliver(message)
            due = ScheduleDue(schedule="agent-status-sweep", time=self.agents.clock())
            assert (await self.agents.cluster.tell("agent-status", due)).status_code == 202

    async def _deliver(self, message: cloudevents.Message) -> None:
        for _ in range(self.times):
            answer = await self.agents.cluster.tell("agent-status", message)
            assert answer.status_code == 202, answer.text

    @property
    def comments(self) -> list[Comment]:
        return self.agents.github.conversation.on(REPOSITORY, 1)

    @property
    def comment(self) -> Comment:
        [found] = self.comments
        return found

    def loses_an_answer(self) -> list[str]:
        """agent-outputs takes the next post, and its answer is lost: the sidecar posts again.

        What was lost is in the list.
        """
        cluster = self.agents.cluster
        app = cluster.apps["agent-outputs"]
        lost: list[str] = []

        async def losing(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http" or lost or not scope["path"].endswith("/outputs"):
                return await app(scope, receive, send)

            async def unheard(message: Any) -> None:
                lost.append(message["type"])

            await app(scope, receive, unheard)
            await send({"type": "http.response.start", "status": 502, "headers": []})
            await send({"type": "http.response.body", "body": b""})

        cluster.add("agent-outputs", losing)
        return lost

    def untouched(self) -> None:
        """Nothing has left: no branch, no pull request, no word in another place."""
        git = self.agents.github.git
        assert git.branches(REPOSITORY) == ["main"]
        assert git.file(REPOSITORY, "main", "src/basket.py") == FILES["src/basket.py"].strip()
        assert git.branches(OTHER) == ["main"]
        assert self.agents.pulls == []
        comments = self.agents.github.conversation.comments.values()
        assert {(one.repository, one.number) for one in comments} == {(REPOSITORY, 1)}
        assert not any(KEY in text for one in comments for text in one.edits)


@pytest.fixture(scope="module")
async def outputs_database(make_migrated: MakeMigrated) -> str:
    return await make_migrated("agent_outputs")


@pytest.fixture(scope="module")
async def status_database(make_migrated: MakeMigrated) -> str:
    return await make_migrated("agent_status")


@pytest.fixture(params=[1, 2], ids=["once", "twice"])
async def trouble(
    request: pytest.FixtureRequest,
    cluster: Cluster,
    outputs_database: str,
    status_database: str,
    tmp_path: Path,
) -> AsyncIterator[Trouble]:
    for database, tables in (
        (outputs_database, "agent_output, outbox_event, inbox, run"),
        (status_database, "status_thread, inbox, run"),
    ):
        connection = await asyncpg.connect(database)
        await connection.execute(f"TRUNCATE {tables}")
        await connection.close()
    async with outputs_world(cluster, outputs_database, tmp_path) as agents:
        agents.github.git.create(OTHER, {"a.txt": "a\n"})
        environ = {**agents.environ, "DATABASE_URL": status_database}
        cluster.deploy(agent_status, environ, now=agents.clock)
        yield Trouble(agents, request.param)


def gives_the_key(pod: Pod) -> None:
    pod.commit(CHANGED)
    pod.says(WANTED | {"comment": f"As you asked: {KEY}"})


def commits_the_key(pod: Pod) -> None:
    pod.commit({"config.py": f"KEY = '{KEY}'\n"})
    pod.says(WANTED)


def writes_a_workflow(pod: Pod) -> None:
    pod.commit({".github/workflows/ci.yml": "on: pull_request_target\n"})
    pod.says(WANTED)


def pushes_to_main(pod: Pod) -> None:
    """By itself, which it cannot, and by a branch of that name in its clone."""
    pod.git("checkout", "--quiet", "-B", "main")
    pod.commit({".github/workflows/ci.yml": "on: push\n"})
    with pytest.raises(subprocess.CalledProcessError) as refused:
        pod.git("push", "--quiet", "origin", "HEAD:main")
    assert refused.value.returncode != 0
    pod.says(WANTED)


def comments_elsewhere(pod: Pod) -> None:
    """The outputs have no field for a place: there is the one of the grant."""
    url = f"{pod.world.environ['GITHUB_URL']}/repos/{OTHER}/issues/1/comments"
    assert httpx.post(url, json={"body": "hello"}, trust_env=False).status_code == 401
    pod.says({"comment": "hello", "repository": OTHER})


@pytest.mark.parametrize(
    ("tries", "because"),
    [
        (gives_the_key, "the comment: has what looks like an Anthropic key"),
        (commits_the_key, "config.py: has what looks like an Anthropic key"),
        (writes_a_workflow, ".github/workflows/ci.yml: agents may not change this path"),
        (pushes_to_main, ".github/workflows/ci.yml: agents may not change this path"),
        (comments_elsewhere, "repository: Extra inputs are not permitted"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_what_a_strangers_text_makes_an_agent_try_does_not_leave_and_is_reported(
    trouble: Trouble, tries: Callable[[Pod], None], because: str
) -> None:
    pod = await trouble.pod()
    await pod.prepare()
    # Not in the loop: the agent asks the stand-in, which answers there.
    await asyncio.to_thread(tries, pod)
    await pod.collect()
    await trouble.ended(pod, ["collector.example:443 (3 times)"], killed=False)
    await trouble.minutes(3)

    trouble.untouched()
    assert f"- {because}" in trouble.comment.body
    assert "Its network refused `collector.example:443 (3 times)`." in trouble.comment.body


async def test_a_strangers_fork_starts_nothing_and_the_comment_says_why(trouble: Trouble) -> None:
    await trouble.agents.github.opened(REPOSITORY, "Take my fork")
    await trouble.tell(
        AgentRefused(
            route="review-labelled",
            repository=REPOSITORY,
            issue=1,
            login="stranger",
            asked="agent:review",
            reason="it is of a fork, and the route's agent has secrets",
            refused_at=trouble.agents.clock(),
        )
    )
    await trouble.minutes(1)
    trouble.untouched()
    assert (
        "by stranger: not started: it is of a fork, and the route's agent has"
        in trouble.comment.body
    )


STEPS: tuple[Callable[[Pod], object], ...] = (
    lambda pod: pod.write({"src/basket.py": "items = ['half"}),
    lambda pod: pod.write(CHANGED),
    lambda pod: pod.git("add", "--all"),
    lambda pod: pod.git("commit", "--quiet", "-m", "Keep the last item"),
    lambda pod: pod.write({"tests/test_basket.py": "def test"}),
    lambda pod: pod.commit({"tests/test_basket.py": "def test(): ...\n"}, "Test it"),
    lambda pod: pod.says('{"pull_request": {"title": "Keep'),
    lambda pod: pod.says(WANTED),
)


@pytest.mark.parametrize("moment", range(10))
async def test_an_agent_killed_at_any_moment_loses_nothing_and_ends_in_one_pull_request(
    trouble: Trouble, moment: int
) -> None:
    """Before each step and after the last; the tenth time with its sidecar, in its post."""
    pod = await trouble.pod()
    await pod.prepare()
    for step in STEPS[:moment]:
        step(pod)
    lost = trouble.loses_an_answer() if moment == 9 else None
    await pod.collect()
    assert lost is None or lost
    await trouble.ended(pod, killed=True)
    await trouble.minutes(4)

    facts = trouble.agents.emitted()
    assert len(facts) == 1, facts
    done = moment >= len(STEPS)
    assert (facts[0]["type"] == "delivered") is done, facts
    if not done:
        assert facts[0]["kept"] is (moment > 0), "what it had changed"
        assert trouble.agents.pulls == []

    again = await trouble.pod("job-2")
    await again.run(CHANGED | {"tests/test_basket.py": "def test(): return\n"})
    await trouble.ended(again, killed=False)
    await trouble.minutes(2)

    [pull] = trouble.agents.pulls
    assert (pull.head, pull.draft) == ("agent/1", True)
    file = trouble.agents.github.git.file(REPOSITORY, "agent/1", "src/basket.py")
    assert file == CHANGED["src/basket.py"].strip()
    assert trouble.comment.body.startswith(f"**Draft pull request #{pull.number}")


async def test_github_away_for_ten_minutes_is_caught_up_once_and_in_order(
    trouble: Trouble,
) -> None:
    agents = trouble.agents
    pod = await trouble.pod()
    await trouble.minutes(1)
    await pod.prepare()
    agents.cluster.down.add("api")
    agents.github.git.away = True
    pod.commit(CHANGED)
    pod.says(WANTED)
    await pod.collect()
    await trouble.ended(pod, killed=False)
    await trouble.minutes(10)
    assert (agents.pulls, agents.emitted()) == ([], [])

    agents.cluster.down.clear()
    agents.github.git.away = False
    agents.github.refuses(1, 429, {"retry-after": "90"})
    await trouble.minutes(4)
    agents.github.refuses(0, 429, {"retry-after": "60"})
    await trouble.minutes(20)

    [pull] = agents.pulls
    [fact] = agents.emitted()
    assert (fact["type"], fact["pull_request"]) == ("delivered", pull.number)
    headlines = [edit.partition("\n")[0] for edit in trouble.comment.edits]
    assert headlines[-1] == f"**Draft pull request #{pull.number} is ready for review.**"
    order = ["queued", "working", "ended", "Draft"]
    places = [next(n for n, word in enumerate(order) if word in line) for line in headlines]
    assert places == sorted(places), headlines
    kinds = json.dumps(agents.github.conversation.reactions)
    assert kinds.count("eyes") == 1
