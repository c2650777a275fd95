"""An agent's work on an issue: the local Knative, and GitHub beside it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx

from knative.demo.agents import FILES
from knative.demo.github import REPOSITORY
from tests.support import eventually
from tests.support.github_conversation import Comment
from tests.support.github_standin import GithubStandIn
from tests.support.github_world import Pull, Sent
from tests.support.listening import listening
from tests.support.local_knative import LocalKnative, local_knative
from tests.support.warm_data import OVERLAY

ASKED = "In `src/basket.py`, replace `items[:-1]` by `items`."
FACTS = ("queued", "started", "succeeded", "delivered")


@dataclass
class Story:
    """A cluster on this machine, and GitHub beside it."""

    knative: LocalKnative
    github: GithubStandIn

    async def labelled(self, body: str = ASKED, label: str = "agent") -> tuple[int, Sent]:
        number = await self.github.opened(REPOSITORY, "The basket forgets", body)
        return number, await self.github.labelled(REPOSITORY, number, label)

    def pulls(self, number: int) -> list[Pull]:
        found = self.github.pulls.get(REPOSITORY, {}).values()
        return [pull for pull in found if pull.head == f"agent/{number}"]

    def comments(self, number: int) -> list[Comment]:
        return self.github.conversation.on(REPOSITORY, number)

    async def says(self, number: int, text: str) -> Comment:
        """The one comment on an issue, once it has a text."""

        async def is_written() -> Comment | None:
            found = self.comments(number)
            return found[0] if found and text in found[0].body else None

        async with self._explained(number):
            comment = await eventually(is_written, every_s=0.1)
        assert comment is not None
        assert len(self.comments(number)) == 1
        return comment

    async def shows(self, number: int, text: str) -> str:
        """Our one comment among those of users, once it has a text in it."""

        async def is_written() -> str:
            ours = [one.body for one in self.comments(number) if "<!-- dsm status" in one.body]
            assert len(ours) <= 1, ours
            return ours[0] if ours and text in ours[0] else ""

        async with self._explained(number):
            return await eventually(is_written, every_s=0.1)

    @asynccontextmanager
    async def _explained(self, number: int) -> AsyncIterator[None]:
        """Add to a failure what is known of an issue."""
        try:
            yield
        except AssertionError as failure:
            failure.add_note("\n".join(f"comment: {one.body}" for one in self.comments(number)))
            failure.add_note(f"jobs: {await self.jobs(number)}")
            raise

    async def jobs(self, number: int) -> list[dict[str, Any]]:
        async with self.knative.client("job-launcher") as client:
            answer = await client.get("/jobs", params={"task": f"{REPOSITORY}#{number}"})
            return list(answer.json()["jobs"])

    async def facts(self, job_id: str) -> list[str]:
        """The types of events about a Job, each id once."""
        found = await self.knative.ask("events", since=0, limit=1000)
        output = {e["attributes"]["id"]: e["attributes"] for e in found}
        mine = [e["type"] for e in output.values() if e.get("subject") == job_id]
        return sorted(kind.split(".")[3] for kind in mine)


@asynccontextmanager
async def story_of(
    data: Path, folder: Path, overlay: Path = OVERLAY, *arguments: str
) -> AsyncIterator[Story]:
    async with httpx.AsyncClient() as no_receiver:
        github = GithubStandIn(lambda: datetime.now(UTC), no_receiver, "", folder=folder)
        github.git.create(REPOSITORY, FILES)
        async with listening(github) as url:
            github_at = ("--map", f"github.dsm={url}")
            with local_knative(overlay, data, *github_at, *arguments) as knative:
                async with knative.client("webhook-receiver") as receiver:
                    secret = knative.secret("dsm/webhook-secrets", "github")
                    github.reaches(receiver, secret)
                    github.knows(knative.secret("dsm/github", "token"))
                    yield Story(knative, github)
    assert not github.document.violations, github.document.violations
