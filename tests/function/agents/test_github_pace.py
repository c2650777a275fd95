"""GitHub is asked slower than it refuses: the stand-in counts."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from functions.kit.clients.github import Github
from functions.kit.clients.github_app import GithubSettings
from functions.kit.clients.github_limits import PutOff, RateLimited
from functions.kit.clients.github_pace import Pace
from tests.support.agent_world import FILES, REPOSITORY
from tests.support.cluster import Cluster
from tests.support.deliveries_world import Clock
from tests.support.github_standin import GithubStandIn
from tests.support.repository import ROOT, environment, services

ISSUES = {"issues": "write"}
COMMENTS = f"/repos/{REPOSITORY}/issues/1/comments"
LABELS = f"/repos/{REPOSITORY}/issues/1/labels"


@dataclass
class Counted:
    """GitHub, and when each change of content began and ended there, in seconds."""

    github: GithubStandIn
    http: httpx.AsyncClient
    clock: Clock
    changes: list[tuple[float, float]] = field(default_factory=list)

    def client(self, share: float = 0.5) -> Github:
        environ = {"GITHUB_APP_ID": "1", "GITHUB_APP_PRIVATE_KEY": self.github.private_key}
        settings = GithubSettings.read(environ | {"GITHUB_SHARE": str(share)})
        return Github(settings, self.http, self.clock)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        began = time.monotonic()
        await self.github(scope, receive, send)
        if scope["method"] != "GET" and scope["path"].startswith("/repos/"):
            self.changes.append((began, time.monotonic()))


@pytest.fixture
async def counted(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Counted]:
    clock = Clock()
    async with httpx.AsyncClient(transport=cluster) as http:
        github = GithubStandIn(clock, http, "secret", folder=tmp_path)
        github.git.create(REPOSITORY, FILES)
        await github.opened(REPOSITORY, "The basket forgets")
        counted = Counted(github, http, clock)
        cluster.add("api", counted)
        yield counted
    assert github.document.violations == []


async def comment(github: Github, text: str = "Done.") -> None:
    body = {"body": text}
    await github.send("POST", COMMENTS, body, repository=REPOSITORY, permissions=ISSUES)


async def test_changes_are_sent_in_series_and_apart(counted: Counted) -> None:
    github = counted.client(share=10)
    await asyncio.gather(*(comment(github, f"Comment {number}") for number in range(4)))
    assert len(counted.changes) == 4
    pairs = list(zip(counted.changes, counted.changes[1:], strict=False))
    assert all(after[0] >= before[1] + 0.1 for before, after in pairs), "a tenth of a second"


async def test_tokens_of_one_installation_share_its_pace_and_its_wall(counted: Counted) -> None:
    github = counted.client(share=0.05)  # a change in 20 s
    await comment(github)
    more: dict[str, Any] = {"repository": REPOSITORY, "permissions": {"pull_requests": "write"}}
    with pytest.raises(RateLimited) as limited:
        await github.send("POST", LABELS, {"labels": ["a"]}, **more)
    assert 10 < limited.value.delay_s <= 20
    assert len(counted.changes) == 1, "nothing was sent"

    counted.github.busy = [(403, {"retry-after": "90"})]
    with pytest.raises(RateLimited):
        await github.get(COMMENTS, repository=REPOSITORY, permissions=ISSUES)
    with pytest.raises(RateLimited, match="90 s"):
        await github.get(COMMENTS, **more)


async def test_a_secondary_limit_is_known_by_its_text(counted: Counted) -> None:
    github = counted.client()
    await github.get(COMMENTS, repository=REPOSITORY, permissions=ISSUES)
    counted.github.busy = [(403, {})]
    with pytest.raises(RateLimited) as limited:
        await github.get(COMMENTS, repository=REPOSITORY, permissions=ISSUES)
    assert limited.value.delay_s == 60
    counted.clock.time += timedelta(seconds=61)
    await github.get(COMMENTS, repository=REPOSITORY, permissions=ISSUES)


class Seconds:
    """A clock that a test moves."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


async def sent(pace: Pace, clock: Seconds, *, apart_s: float) -> tuple[int, float]:
    """How many changes go out before one has to wait longer than a caller does, and how long."""
    for count in range(10_000):
        try:
            async with pace.content():
                pass
            clock.now += apart_s
        except RateLimited as limited:
            return count, limited.delay_s
    raise AssertionError("no limit")


async def test_an_hour_has_its_limit_of_changes() -> None:
    clock = Seconds()
    count, delay_s = await sent(Pace(0.5, clock), clock, apart_s=3.0)
    assert count == 250
    assert delay_s == pytest.approx(3600 - 250 * 3.0)


async def test_minor_changes_leave_half_of_the_hour_to_others() -> None:
    clock = Seconds()
    pace = Pace(0.5, clock)
    for _ in range(125):
        async with pace.content(minor=True):
            pass
        clock.now += 3.0
    with pytest.raises(PutOff) as put_off:
        async with pace.content(minor=True):
            pass
    assert put_off.value.delay_s == pytest.approx(3600 - 125 * 3.0)
    assert (await sent(pace, clock, apart_s=3.0))[0] == 125, "the other half"


async def test_a_minute_has_its_points() -> None:
    clock = Seconds()
    pace = Pace(0.5, clock)
    for _ in range(90):
        await pace.points(5)
    with pytest.raises(RateLimited) as limited:
        await pace.points(1)
    assert limited.value.delay_s == 60
    clock.now += 60
    await pace.points(5)


def test_those_who_write_stay_below_github_s_limits_together() -> None:
    """A process counts for itself, so processes times share may not be more than all."""
    writers = {
        file.relative_to(ROOT / "functions").parts[0]
        for file in (ROOT / "functions").rglob("*.py")
        if "github.send(" in file.read_text()
    }
    assert writers == {"agent_status", "agent_outputs"}
    together = 0.0
    for name in writers:
        service = services()[name.replace("_", "-")]
        annotations = service["spec"]["template"]["metadata"]["annotations"]
        processes = int(annotations["autoscaling.knative.dev/max-scale"])
        together += processes * GithubSettings.read(environment(service)).github_share
    assert together <= 1
