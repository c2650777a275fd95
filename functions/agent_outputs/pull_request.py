"""What is written on GitHub for one Job: a draft pull request, labels, a comment. Each once."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from functions.agent_outputs.outputs import PullRequest
from functions.job_grant import JobGrant
from functions.kit.clients.github import Github
from functions.kit.clients.github_comments import comment_with
from functions.kit.clients.service import typed
from functions.kit.clients.url_path import path
from functions.untrusted_text import harmless

# One token for the push and the pull request, one for the issue.
PULLS = {"contents": "write", "pull_requests": "write"}
ISSUES = {"issues": "write"}
READ_CONTENT = {"contents": "read"}


class Opened(BaseModel):
    """A pull request."""

    number: int
    html_url: str
    draft: bool = False
    state: str = "open"
    body: str | None = None


class _Repository(BaseModel):
    default_branch: str


class Writer:
    """Writes in the repository of a grant, about its issue, from its branch."""

    def __init__(self, github: Github, grant: JobGrant) -> None:
        self._github, self._grant = github, grant
        owner, _, name = grant.repository.partition("/")
        self._owner, self._at = owner, path("repos", owner, name)

    async def pull_request(self, wanted: PullRequest) -> Opened:
        """Open the branch's draft pull request, or bring the open one up to date.

        One that this Job has opened and that was closed since stays as it is.
        """
        grant, at = self._grant, f"{self._at}/pulls"
        text = {"title": harmless(wanted.title, grant.issue), "body": self._body(wanted.body)}
        existing = await self._of_the_branch()
        if number := next((one.number for one in existing if one.state == "open"), None):
            answer = await self._send("PATCH", f"{at}/{number}", text, PULLS)
            return typed("GitHub", Opened, answer)
        if done := self._own(existing):
            return done
        base = grant.ref or await self._default_branch()
        new = {**text, "head": grant.branch, "base": base, "draft": True}
        return typed("GitHub", Opened, await self._send("POST", at, new, PULLS))

    async def own_pull_request(self) -> Opened | None:
        """The branch's pull request that this Job has opened or brought up to date, if there is."""
        return self._own(await self._of_the_branch())

    async def _of_the_branch(self) -> list[Opened]:
        query = {"head": f"{self._owner}:{self._grant.branch}", "state": "all", "per_page": "100"}
        found = await self._github.get(
            f"{self._at}/pulls", query, repository=self._grant.repository, permissions=PULLS
        )
        return typed("GitHub", list[Opened], found.body)

    def _own(self, existing: list[Opened]) -> Opened | None:
        return next((one for one in existing if self._made_by() in (one.body or "")), None)

    async def label(self, names: list[str]) -> None:
        at = f"{self._at}/issues/{self._grant.issue}/labels"
        await self._send("POST", at, {"labels": names}, ISSUES)

    async def comment(self, text: str) -> None:
        """Comment on the issue, unless this Job has."""
        grant = self._grant
        assert grant.issue is not None, "checked before"
        marker = f"<!-- dsm agent {grant.job_id} -->"
        if await comment_with(self._github, grant.repository, grant.issue, marker) is None:
            at = f"{self._at}/issues/{grant.issue}/comments"
            await self._send(
                "POST", at, {"body": f"{harmless(text, grant.issue)}\n\n{marker}"}, ISSUES
            )

    def _body(self, given: str) -> str:
        grant = self._grant
        closes = f"Closes #{grant.issue}\n\n" if grant.issue is not None else ""
        return (
            f"{harmless(given, grant.issue)}\n\n{closes}{self._made_by()}, route `{grant.route}`)."
            " Review it as a stranger's work."
        )

    def _made_by(self) -> str:
        return f"Made by an agent (Job `{self._grant.job_id}`"

    async def _default_branch(self) -> str:
        found = await self._github.get(
            self._at, repository=self._grant.repository, permissions=PULLS
        )
        return typed("GitHub", _Repository, found.body).default_branch

    async def _send(
        self, method: str, at: str, body: dict[str, Any], permissions: dict[str, str]
    ) -> Any:
        answer = await self._github.send(
            method, at, body, repository=self._grant.repository, permissions=permissions
        )
        return answer.body
