"""What happens on GitHub: issues, labels, and the deliveries that hooks make of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal
from urllib.parse import parse_qs, quote_plus
from uuid import uuid4

import httpx

from functions.webhook_receiver.senders import github_proof
from tests.support.github_answers import API
from tests.support.openapi import Document

# What becomes of a delivery: it arrives; the attempt fails; GitHub never tries; it waits for
# `arrive_late`.
Fate = Literal["arrives", "lost", "untried", "late"]


@dataclass
class Sent:
    """One event as one hook delivers it."""

    hook: str
    guid: str
    event: str
    action: str | None
    headers: dict[str, str]
    body: bytes

    def as_form(self, secret: str) -> None:
        """Send it as the form that GitHub's older hooks send."""
        self.body = b"payload=" + quote_plus(self.body).encode()
        self.headers["Content-Type"] = "application/x-www-form-urlencoded"
        self.headers["X-Hub-Signature-256"] = github_proof.sign(secret.encode(), self.body)

    @property
    def payload(self) -> Any:
        form = parse_qs(self.body.decode()) if self.body.startswith(b"payload=") else {}
        return json.loads(form["payload"][0] if form else self.body)


@dataclass
class Attempt:
    """One row of a hook's list."""

    id: int
    sent: Sent
    at: datetime
    status_code: int
    redelivery: bool


@dataclass
class Issue:
    """An issue with its timeline."""

    number: int
    title: str
    updated_at: datetime
    state: str = "open"
    body: str = ""
    author: str = "octocat"
    labels: list[str] = field(default_factory=list)
    timeline: list[dict[str, Any]] = field(default_factory=list)
    locked: bool = False


@dataclass
class Pull:
    """A pull request between two branches of one repository, or from a fork."""

    number: int
    title: str
    body: str
    head: str
    base: str
    draft: bool
    author: str
    updated_at: datetime
    state: str = "open"
    # Of the head; another one is a fork.
    repository: str = ""
    labels: list[str] = field(default_factory=list)
    timeline: list[dict[str, Any]] = field(default_factory=list)


class GithubWorld:
    """`hooks` are paths of the API, `app` or `repos/o/r/hooks/1`. `now` is the true time."""

    def __init__(
        self,
        now: Callable[[], datetime],
        receiver: httpx.AsyncClient,
        secret: str,
        hooks: tuple[str, ...] = ("repos/o/r/hooks/1",),
    ) -> None:
        self.now = now
        self.skew = timedelta()
        self.hooks = hooks
        self.attempts: list[Attempt] = []
        self.issues: dict[str, dict[int, Issue]] = {}
        self.pulls: dict[str, dict[int, Pull]] = {}
        self.document = Document(Path(__file__).parent / "github-rest.json")
        self._receiver = receiver
        self.secret = secret
        self._late: list[Sent] = []
        self.newest_id = 0

    def reaches(self, receiver: httpx.AsyncClient, secret: str) -> None:
        """Deliver there from now on."""
        self._receiver, self.secret = receiver, secret

    @property
    def time(self) -> datetime:
        return (self.now() + self.skew).replace(microsecond=0)

    async def opened(
        self, repository: str, title: str = "Make it so", body: str = "", author: str = "octocat"
    ) -> int:
        """A user opens an issue; returns its number."""
        issues = self.issues.setdefault(repository, {})
        number = self.next_number(repository)
        issues[number] = Issue(number, title, self.time, body=body, author=author)
        return number

    async def labelled(
        self,
        repository: str,
        number: int,
        label: str,
        fate: Fate = "arrives",
        by: str = "octocat",
    ) -> Sent:
        """A user labels an issue; returns the delivery of the first hook."""
        return await self._changed(repository, number, label, "labeled", fate, by)

    def proposed(self, repository: str, title: str = "Make it so", branch: str = "change") -> int:
        """A user opens a pull request; returns its number."""
        number = self.next_number(repository)
        pull = Pull(number, title, "", branch, "main", False, "octocat", self.time)
        self.pulls.setdefault(repository, {})[number] = pull
        return number

    def commented(self, repository: str, number: int) -> None:
        """A user writes under an issue, which no hook of ours is about."""
        self.issues[repository][number].updated_at = self.time

    async def unlabelled(self, repository: str, number: int, label: str) -> Sent:
        return await self._changed(repository, number, label, "unlabeled", "arrives", "octocat")

    async def _changed(
        self, repository: str, number: int, label: str, event: str, fate: Fate, by: str
    ) -> Sent:
        pull = self.pulls.get(repository, {}).get(number)
        issue = pull or self.issues[repository][number]
        others = [one for one in issue.labels if one.lower() != label.lower()]
        issue.labels = [*others, label] if event == "labeled" else others
        issue.updated_at = self.time
        issue.timeline.append(
            self.document.made(
                f"{event}-issue-event",
                id=self.new_id(),
                event=event,
                actor=self.user(by),
                created_at=written(self.time),
                label={"name": label, "color": "ededed"},
            )
        )
        payload = {
            "action": event,
            "label": self.label(label),
            **self.about(repository, issue),
            "repository": self.repository(repository),
            "organization": {"login": repository.partition("/")[0]},
            "sender": self.user(by),
        }
        return await self.delivers("pull_request" if pull else "issues", payload, fate)

    def about(self, repository: str, issue: Issue | Pull) -> dict[str, Any]:
        """What a delivery says of it."""
        assert isinstance(issue, Issue), "a stand-in shows pull requests"
        return {"issue": self.issue(repository, issue)}

    async def delivers(self, event: str, payload: dict[str, Any], fate: Fate = "arrives") -> Sent:
        """Something happens of which every hook is notified; returns what the first one sends."""
        text = json.dumps(payload, separators=(",", ":"), ensure_ascii=False)
        # GitHub writes what it escapes in capitals.
        body = re.sub(r"(?<!\\)\\u001f", r"\\u001F", text).encode()
        every = []
        for hook in self.hooks:
            guid = str(uuid4())
            headers = {
                "Content-Type": "application/json",
                "X-GitHub-Event": event,
                "X-GitHub-Delivery": guid,
                "X-Hub-Signature-256": github_proof.sign(self.secret.encode(), body),
            }
            every.append(Sent(hook, guid, event, payload.get("action"), headers, body))
        for sent in every:
            if fate == "late":
                self._late.append(sent)
            elif fate != "untried":
                await self.tries(sent, lost=fate == "lost")
        return every[0]

    async def arrive_late(self) -> None:
        """What was held back is delivered now."""
        late, self._late = self._late, []
        for sent in late:
            await self.tries(sent)

    async def tries(self, sent: Sent, *, lost: bool = False, again: bool = False) -> int:
        """Attempt a delivery; returns the status that GitHub notes, 502 where it got none."""
        status = 502
        if not lost:
            status = (await self.answered(sent)).status_code
        self.attempts.append(Attempt(self.new_id(), sent, self.time, status, again))
        return status

    async def answered(self, sent: Sent) -> httpx.Response:
        """What the receiver says to a delivery."""
        return await self._receiver.post("/webhook/github", headers=sent.headers, content=sent.body)

    def item(self, one: Attempt) -> dict[str, Any]:
        return {
            "id": one.id,
            "guid": one.sent.guid,
            "delivered_at": written(one.at),
            "redelivery": one.redelivery,
            "duration": 0.1,
            "status": "OK" if one.status_code < 400 else "Bad Gateway",
            "status_code": one.status_code,
            "event": one.sent.event,
            "action": one.sent.action,
            "installation_id": None,
            "repository_id": None,
        }

    def issue(self, repository: str, issue: Issue | Pull) -> dict[str, Any]:
        """As GitHub lists it; a pull request is an issue, too."""
        pulls = f"{API}/repos/{repository}/pulls/{issue.number}"
        page = f"https://github.com/{repository}/pull/{issue.number}"
        urls = {"url": pulls, "html_url": page, "diff_url": f"{page}.diff"}
        pull = {"pull_request": {**urls, "patch_url": f"{page}.patch"}}
        return self.document.made(
            "issue",
            **(pull if isinstance(issue, Pull) else {}),
            number=issue.number,
            title=issue.title,
            body=issue.body,
            state=issue.state,
            labels=[self.label(name) for name in issue.labels],
            user=self.user(issue.author),
            author_association="MEMBER",
            created_at=written(issue.updated_at),
            updated_at=written(issue.updated_at),
            url=f"{API}/repos/{repository}/issues/{issue.number}",
            html_url=f"https://github.com/{repository}/issues/{issue.number}",
            repository_url=f"{API}/repos/{repository}",
        )

    def label(self, name: str) -> dict[str, Any]:
        return self.document.made("label", id=1, name=name, color="ededed", default=False)

    def repository(self, name: str) -> dict[str, Any]:
        return self.document.made(
            "full-repository",
            full_name=name,
            default_branch="main",
            name=name.partition("/")[2],
            owner=self.user(name.partition("/")[0]),
            url=f"{API}/repos/{name}",
            html_url=f"https://github.com/{name}",
        )

    def user(self, login: str) -> dict[str, Any]:
        kind = "Bot" if login.endswith("[bot]") else "User"
        return self.document.made("simple-user", login=login, type=kind, url=f"{API}/users/{login}")

    def next_number(self, repository: str) -> int:
        """Issues and pull requests are numbered together."""
        found = (self.issues, self.pulls)
        return 1 + sum(len(kind.get(repository, {})) for kind in found)

    def new_id(self) -> int:
        self.newest_id += 1
        return self.newest_id


def written(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
