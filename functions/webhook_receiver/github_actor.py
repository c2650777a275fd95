"""What a delivery of GitHub does not say of who did it, asked of GitHub.

A label or a command asks for work. A payload names its sender and not what the sender may do; that
a label needs triage is no proof, as an issue's template sets labels for whoever opens it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel

from functions.events.agent import command_of
from functions.events.webhook import PERMISSIONS
from functions.kit.clients import Github, typed
from functions.kit.clients.off_loop import off_loop
from functions.kit.clients.url_path import path
from functions.kit.context import Context, Resources
from functions.kit.errors import NotFound, PermanentError, TemporaryError, shortened
from functions.webhook_receiver.settings import ReceiverSettings
from functions.webhook_receiver.tables import Delivery

logger = logging.getLogger(__name__)

COMMENTED = "com.github.issue_comment.created"
# Buttons of a check run, which are commands too.
PRESSED = ("com.github.check_run.requested_action", "com.github.check_run.rerequested")
# GitHub waits ten seconds for an answer to its delivery.
ASK_S = 4.0
# A right that was withdrawn starts nothing after this time.
REMEMBERED = timedelta(minutes=5)
# A refusal, as of an App that is not installed there.
REFUSAL_REMEMBERED = timedelta(minutes=1)
MAX_REMEMBERED = 10_000
NO_CREDENTIALS = "there are no credentials for GitHub"
NO_ANSWER = "GitHub did not answer"
READ, READ_PULLS = {"metadata": "read"}, {"pull_requests": "read"}
READ_MEMBERS = {"members": "read"}


@dataclass(frozen=True)
class Question:
    """Who did something in a repository; `pull_request` is the number of a command's, if any."""

    repository: str
    login: str
    owns: bool
    pull_request: int | None = None


class _Permission(BaseModel):
    permission: str
    role_name: str = ""
    user: Mapping[str, Any] | None = None


class _Membership(BaseModel):
    state: str


class _Repository(BaseModel):
    full_name: str


class _Head(BaseModel):
    repo: _Repository | None


class _Pull(BaseModel):
    head: _Head


def question_of(found: Delivery, types: tuple[str, ...]) -> Question | None:
    """What to ask of a delivery that asks for work; None of any other, and of a bot's."""
    if found.source != "github" or found.type not in (*types, COMMENTED, *PRESSED):
        return None
    payload = found.json()
    try:
        sender, repository = payload["sender"], payload["repository"]
        if sender.get("type") == "Bot" or sender["login"].endswith("[bot]"):
            return None  # no collaborator: GitHub has no answer
        owner = repository.get("owner") or {}
        question = Question(
            str(repository["full_name"]),
            str(sender["login"]),
            owner.get("type") == "User" and owner.get("login") == sender["login"],
        )
        if found.type != COMMENTED:
            return question
        if not command_of(payload["comment"]["body"]):
            return None
        is_pull = "pull_request" in payload["issue"]
        return replace(question, pull_request=payload["issue"]["number"] if is_pull else None)
    except (KeyError, TypeError, AttributeError):
        return None


async def with_actor(found: Delivery, ctx: Context, *, waits: bool = False) -> Delivery:
    """Return the delivery with what GitHub says of its sender, or why that is unknown.

    With `waits` a `TemporaryError` while GitHub is away, as the delivery will be had again.
    """
    types = ctx.settings(ReceiverSettings).asked_types
    question = await off_loop(len(found.data), question_of, found, types)
    if question is None:
        return found
    attributes: Mapping[str, str]
    try:
        async with asyncio.timeout(ASK_S):
            attributes = await ctx.part(Actors).attributes(question, ctx)
    except (TemporaryError, TimeoutError) as error:
        if waits:
            raise TemporaryError(f"{NO_ANSWER}: {error}".removesuffix(": ")) from None
        logger.warning("%s is not known in %s: %s", question.login, question.repository, error)
        attributes = {"actorproblem": NO_ANSWER}
    return replace(found, attributes={**found.attributes, **attributes})


class Actors:
    """What GitHub has answered this process in the last minutes."""

    def __init__(self, resources: Resources) -> None:
        self._known: dict[tuple[str, str], tuple[datetime, Mapping[str, str]]] = {}

    async def attributes(self, question: Question, ctx: Context) -> Mapping[str, str]:
        """Return the attributes of an event that `question` is of."""
        found = {"actorpermission": "admin"} if question.owns else await self._asked(question, ctx)
        teams = ctx.settings(ReceiverSettings).teams
        if teams and ctx.asks_github:
            found = {**found, **await self._in_teams(question, teams, ctx)}
        if question.pull_request is not None and "actorpermission" in found and ctx.asks_github:
            found = {**found, **await _fork(question, ctx.github)}
        return found

    async def _in_teams(
        self, question: Question, teams: tuple[str, ...], ctx: Context
    ) -> Mapping[str, str]:
        """Return the teams of the repository's organisation that it is in, or why not."""
        owner = question.repository.partition("/")[0].lower()
        found, problem = [], ""
        for team in teams:
            if team.partition("/")[0] != owner:
                continue
            now, key = ctx.now(), (team, question.login)
            until, known = self._known.get(key, (now, {}))
            if until <= now:
                try:
                    is_in, kept = await _is_member(question, team, ctx.github), REMEMBERED
                    known = {"in": "true"} if is_in else {}
                except PermanentError as error:
                    logger.warning("%s in %s: %s", question.login, team, error.detail)
                    known, kept = {"problem": shortened(error.detail, 200)}, REFUSAL_REMEMBERED
                self._remember(key, now + kept, known)
            if "in" in known:
                found.append(team)
            problem = known.get("problem", problem)
        return {
            **({"actorteams": ",".join(found)} if found else {}),
            **({"actorproblem": problem} if problem else {}),
        }

    def _remember(self, key: tuple[str, str], until: datetime, found: Mapping[str, str]) -> None:
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[key] = until, found

    async def _asked(self, question: Question, ctx: Context) -> Mapping[str, str]:
        if not ctx.asks_github:
            return {"actorproblem": NO_CREDENTIALS}
        now, key = ctx.now(), (question.repository, question.login)
        until, found = self._known.get(key, (now, {}))
        if until > now:
            return found
        try:
            found, kept = {"actorpermission": await _permission(question, ctx.github)}, REMEMBERED
        except PermanentError as error:
            logger.warning("%s in %s: %s", question.login, question.repository, error.detail)
            found, kept = {"actorproblem": shortened(error.detail, 200)}, REFUSAL_REMEMBERED
        self._remember(key, now + kept, found)
        return found


async def _is_member(question: Question, team: str, github: Github) -> bool:
    """Is it in the team, or in one below it? One that is invited is not."""
    org, _, slug = team.partition("/")
    at = path("orgs", org, "teams", slug, "memberships", question.login)
    try:
        answer = await github.get(at, repository=question.repository, permissions=READ_MEMBERS)
    except NotFound:
        return False
    return typed("GitHub", _Membership, answer.body).state == "active"


async def _permission(question: Question, github: Github) -> str:
    owner, _, name = question.repository.partition("/")
    at = path("repos", owner, name, "collaborators", question.login, "permission")
    answer = await github.get(at, repository=question.repository, permissions=READ)
    return permission_in(typed("GitHub", _Permission, answer.body))


def permission_in(found: _Permission) -> str:
    """The role; of one that an organisation has made, the highest right that is in it.

    >>> permission_in(_Permission(permission="read", role_name="triage"))
    'triage'
    >>> rights = {"permissions": {"pull": True, "triage": True, "push": False}}
    >>> permission_in(_Permission(permission="read", role_name="sorter", user=rights))
    'triage'
    """
    if found.role_name in PERMISSIONS:
        return found.role_name
    names = {"pull": "read", "triage": "triage", "push": "write", "maintain": "maintain"}
    given = (found.user or {}).get("permissions") or {}
    held = [names.get(name, name) for name, has in given.items() if has is True]
    return max(
        (name for name in [*held, found.permission] if name in PERMISSIONS),
        key=lambda name: PERMISSIONS.index(name),
        default="none",
    )


async def _fork(question: Question, github: Github) -> Mapping[str, str]:
    """Is the pull request from another repository? One that is deleted is."""
    owner, _, name = question.repository.partition("/")
    at = f"{path('repos', owner, name, 'pulls')}/{question.pull_request}"
    try:
        answer = await github.get(at, repository=question.repository, permissions=READ_PULLS)
    except PermanentError as error:
        logger.warning("%s: %s", at, error.detail)
        return {}
    head = typed("GitHub", _Pull, answer.body).head.repo
    ours = head is not None and head.full_name == question.repository
    return {"fork": "false" if ours else "true"}
