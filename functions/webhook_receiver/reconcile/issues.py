"""The open issues and pull requests with a label that asks for work: each has its request, or gets
it."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel

from functions.kit import cloudevents
from functions.kit.clients import Github, typed
from functions.kit.clients.github import Answer
from functions.kit.context import Context
from functions.kit.errors import TemporaryError
from functions.webhook_receiver.acceptance import accept_found
from functions.webhook_receiver.intake import SOURCES, Arrival
from functions.webhook_receiver.reconcile import comparison, decide
from functions.webhook_receiver.reconcile.failures import failure_of
from functions.webhook_receiver.reconcile.wanted import wanted_labels
from functions.webhook_receiver.senders import issue_state
from functions.webhook_receiver.senders.issue_state import ISSUE, PULL_REQUEST, Kind, Labelled
from functions.webhook_receiver.tables import Delivery

READ = {"issues": "read"}
READ_PULLS = {**READ, "pull_requests": "read"}
# A delivery may be under way; five minutes later the list of deliveries has it.
GRACE = timedelta(minutes=15)
Json = Mapping[str, Any]


class _Issue(BaseModel):
    number: int
    updated_at: datetime
    repository_url: str
    pull_request: Json | None = None


@dataclass(frozen=True)
class _Memory:
    """`since`: what began before is none of our business. `seen`: issues that had their request,
    as of when; `made`: so many requests, the last one `made_at`. `kinds`: what is looked at."""

    since: str = ""
    etag: str = ""
    seen: Mapping[str, str] = field(default_factory=dict)
    made: int = 0
    made_at: str = ""
    kinds: Sequence[str] = (ISSUE.type,)


class Issues:
    """The open issues of a repository, `owner/name`.

    Looked at for the first time, states that are older than what GitHub keeps of deliveries, which
    is `keeps`, are left alone; `remembers` is for how long the ledger knows.
    """

    def __init__(
        self, repository: str, github: Github, ctx: Context, keeps: timedelta, remembers: timedelta
    ) -> None:
        self.name = name_of(repository)
        self._repository = repository
        self._github = github
        self._ctx = ctx
        self._keeps = keeps
        self._remembers = remembers
        self._problem = ""

    async def compare(self, memory: Json, until: float) -> bool:
        """Ask for each label that wants work; True if all is done."""
        for label, kinds in (await wanted_labels(self._ctx)).items():
            known = _of_kinds(_Memory(**memory.get(label, {})), kinds)
            known, finished = await self._label(label, known, until)
            memory = {**memory, label: asdict(known)}
            async with self._ctx.store.connection() as connection:
                await comparison.remember(connection, self.name, memory)
            if not finished:
                return False
        if self._problem:
            raise TemporaryError(self._problem)
        return True

    async def _label(self, label: str, known: _Memory, until: float) -> tuple[_Memory, bool]:
        """Ask for each object since when it has the label, and make what request is missing."""
        query: Mapping[str, str] | None = {
            "labels": label,
            "state": "open",
            "sort": "updated",
            "direction": "desc",
            "per_page": "100",
        }
        seen: dict[str, str] = {}
        etag, complete = "", True
        while query is not None:
            answer = await self._ask("/issues", query, "" if etag else known.etag)
            if not answer.changed:
                return known, True
            etag = etag or answer.etag
            known = replace(known, since=known.since or (answer.at - self._keeps).isoformat())
            for issue in answer.body:
                if time.monotonic() > until:
                    return replace(known, seen={**known.seen, **seen}), False
                try:
                    made, settled = await self._look(issue, label, answer.at, known)
                except Exception as error:
                    self._problem, _ = failure_of(error, f"an issue of {self._repository}")
                    made, settled = False, False
                if settled:
                    seen[str(issue["number"])] = issue["updated_at"]
                complete = complete and settled
                if made:
                    at = cloudevents.format_time(self._ctx.now())
                    known = replace(known, made=known.made + 1, made_at=at)
            query = {**query, **answer.next} if answer.next else None
        return replace(known, seen=seen, etag=etag if complete else ""), True

    async def _look(
        self, given: Json, label: str, now: datetime, known: _Memory
    ) -> tuple[bool, bool]:
        """Was a request made for an object, and is there nothing to look at until it changes?"""
        issue = typed("GitHub", _Issue, given)
        unchanged = known.seen.get(str(issue.number)) == given["updated_at"]
        kind = ISSUE if issue.pull_request is None else PULL_REQUEST
        if kind.type not in known.kinds or unchanged:
            return False, True
        labelled = Labelled(kind, issue.repository_url, str(issue.number), label, issue.updated_at)
        async with self._ctx.store.connection() as connection:
            notified = [one.as_of for one in await issue_state.notified(connection, labelled)]
        if any(as_of >= issue.updated_at for as_of in notified):
            return False, True
        event = decide.present_label(await self._timeline(issue.number), label)
        if event is None:
            return False, True  # the label was taken off meanwhile
        since = datetime.fromisoformat(event["created_at"])
        if since > now - GRACE:
            return False, False
        earliest = max(datetime.fromisoformat(known.since), now - self._remembers)
        if since < earliest or any(as_of >= since for as_of in notified):
            return False, True
        return await self._make(kind, given, event, since), True

    async def _make(self, kind: Kind, issue: Json, event: Json, since: datetime) -> bool:
        """The delivery that should have come, accepted unless it has."""
        repository, number = (await self._ask("")).body, issue["number"]
        about: Json = {"issue": issue}
        if kind is PULL_REQUEST:
            pull_request = (await self._ask(f"/pulls/{number}", permissions=READ_PULLS)).body
            about = {"number": number, "pull_request": pull_request}
        payload = {
            "action": "labeled",
            "label": decide.label_of(issue, event["label"]["name"]),
            **about,
            "repository": repository,
            "sender": event.get("actor"),
        }
        headers = {
            "x-github-event": kind.event,
            "x-github-delivery": decide.found_id(repository["full_name"], number, event),
        }
        body = json.dumps(payload, separators=(",", ":"), ensure_ascii=False).encode()
        found = SOURCES["github"].read(Arrival(headers, body, since))
        assert isinstance(found, Delivery), "GitHub asks nothing"
        found = replace(found, attributes={**found.attributes, "via": issue_state.FOUND})
        labelled = issue_state.labelled(found)
        assert labelled is not None, "it was made so"
        return await accept_found(found, labelled, since, self._ctx)

    async def _timeline(self, number: int) -> list[Json]:
        found: list[Json] = []
        query: Mapping[str, str] | None = {"per_page": "100"}
        while query is not None:
            answer = await self._ask(f"/issues/{number}/timeline", query)
            found += answer.body
            query = answer.next
        return found

    async def _ask(
        self,
        at: str,
        query: Mapping[str, str] | None = None,
        etag: str = "",
        permissions: Mapping[str, str] = READ,
    ) -> Answer:
        return await self._github.get(
            f"/repos/{self._repository}{at}",
            query,
            repository=self._repository,
            permissions=permissions,
            etag=etag,
        )


def _of_kinds(known: _Memory, kinds: Sequence[Kind]) -> _Memory:
    """What was seen counts only where the same kinds were looked at."""
    types = [kind.type for kind in kinds]
    return known if list(known.kinds) == types else replace(known, etag="", seen={}, kinds=types)


def name_of(repository: str) -> str:
    """What the comparison is called: where GitHub has the issues."""
    return f"repos/{repository}/issues"
