"""One Job's outputs, applied to GitHub as far as its grant goes, or the reason why not."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from contextlib import suppress
from dataclasses import dataclass, field

from functions.agent_outputs import decide, tables
from functions.agent_outputs.outputs import InvalidOutputs, Outputs, parse
from functions.agent_outputs.pull_request import PULLS, READ_CONTENT, Opened, Writer
from functions.agent_outputs.repository import (
    BadBundle,
    BranchMoved,
    checked_out,
    has_commits,
)
from functions.agent_outputs.settings import OutputsSettings
from functions.agent_outputs.tables import OutputRow
from functions.events.agent import AgentUsage, UndeliveredReason
from functions.job_grant import JobGrant
from functions.kit.clients.github import Github
from functions.kit.durable import Store
from functions.kit.errors import PermanentError
from functions.untrusted_text import harmless, secrets_in

# Of the file names in an event.
MAX_NAMES = 100


@dataclass
class Applied:
    """What was done, in texts of the agent's as it wrote them; `details` is what GitHub refused
    beside it."""

    pull_request: int | None = None
    url: str = ""
    commits: int = 0
    files: list[str] = field(default_factory=list)
    commented: bool = False
    labels: list[str] = field(default_factory=list)
    report: str = ""
    details: list[str] = field(default_factory=list)
    usage: AgentUsage = field(default_factory=AgentUsage)
    summary: str = ""


@dataclass
class Unapplied:
    """Why nothing was done."""

    reason: UndeliveredReason
    details: list[str] = field(default_factory=list)
    usage: AgentUsage = field(default_factory=AgentUsage)
    summary: str = ""


@dataclass
class Unapproved:
    """What a user is to approve before it is done: what the agent asks for, and its commits."""

    wants: list[str]
    work: decide.Work | None = None
    usage: AgentUsage = field(default_factory=AgentUsage)
    summary: str = ""


Result = Applied | Unapplied | Unapproved


async def apply(row: OutputRow, github: Github, settings: OutputsSettings, store: Store) -> Result:
    """Check everything, then do it; `TemporaryError` where another attempt may help."""
    if not row.posted:
        return Unapplied("lost", usage=_session(row))
    if not row.prepared:
        return Unapplied("not_prepared")
    if row.outputs is None:
        return Unapplied("no_outputs", usage=_session(row))
    try:
        wanted = parse(row.outputs)
    except InvalidOutputs as error:
        return Unapplied("invalid_outputs", [str(error)], _session(row))
    found = await _applied(row, wanted, github, settings, store)
    found.usage = wanted.usage
    if not (isinstance(found, Unapplied) and found.reason == "refused"):
        found.summary = wanted.summary
    return found


def given_up(row: OutputRow, why: str) -> Applied | Unapplied:
    """What came of outputs that are not tried again: a pull request that is open stays so, and one
    whose opening GitHub has not answered may be."""
    found: Applied | Unapplied = Unapplied("not_applied", [why])
    if row.opened is not None:
        found = Applied(**row.opened, details=[f"the rest was not applied: {why}"])
    with suppress(InvalidOutputs):
        wanted = parse(row.outputs or "")
        found.usage, found.summary = wanted.usage, wanted.summary
        tried = row.has_work and not _waits(row)
        if wanted.pull_request and tried and isinstance(found, Unapplied):
            branch = row.grant.branch
            found.details.append(
                f"a pull request of {branch} may be open all the same: an answer may be lost"
            )
    return found


def _waits(row: OutputRow) -> bool:
    return row.grant.approval_s is not None and row.approved_at is None


def _session(row: OutputRow) -> AgentUsage:
    return AgentUsage(session=row.session or None)


async def _applied(
    row: OutputRow, wanted: Outputs, github: Github, settings: OutputsSettings, store: Store
) -> Result:
    grant = row.grant
    if problems := _refused_texts(wanted, grant):
        return Unapplied("refused", problems)
    if wanted.nothing_to_do:
        return Unapplied("nothing_to_do", [wanted.nothing_to_do])
    writer = Writer(github, grant)
    applied = Applied(**(row.opened or {}))
    waits = _waits(row)
    work: decide.Work | None = None
    try:
        if wanted.pull_request is not None and row.opened is None:
            # With a problem, what is kept is not the work that the outputs are about.
            if row.problems or row.bundle is None or not has_commits(row.bundle):
                return Unapplied("no_commits", ["a pull request needs a commit on the branch"])
            token = await github.token(grant.repository, READ_CONTENT if waits else PULLS)
            url = f"{settings.github_url.rstrip('/')}/{grant.repository}.git"
            work, problems = await asyncio.to_thread(
                _checked, url, token, row.bundle, grant, pushes=not waits
            )
            if problems:
                return Unapplied("refused", problems)
        if waits:
            return Unapproved(wanted.asks(), work)
        if wanted.pull_request is not None and work is not None:
            applied.commits, applied.files = work.commits, list(work.files[:MAX_NAMES])
            opened = await writer.pull_request(wanted.pull_request)
            await _opened(opened, applied, row, store)
    except BadBundle as error:
        return Unapplied("refused", [error.detail])
    except BranchMoved as error:
        # By users, on top of what an attempt before has pushed, of which the answer was lost?
        own = await writer.own_pull_request()
        if own is None:
            return Unapplied("branch_moved", [error.detail])
        await _opened(own, applied, row, store)
    except PermanentError as error:
        return Unapplied("github_refused", [error.detail])
    applied.report = wanted.report or ""
    if wanted.labels and await _done(writer.label(wanted.labels), applied):
        applied.labels = wanted.labels
    if wanted.comment:
        applied.commented = await _done(writer.comment(wanted.comment), applied)
    if applied.pull_request or applied.labels or applied.commented or applied.report:
        return applied
    return Unapplied("github_refused", applied.details)


async def _opened(found: Opened, applied: Applied, row: OutputRow, store: Store) -> None:
    applied.pull_request, applied.url = found.number, found.html_url
    known = {"pull_request": found.number, "url": found.html_url}
    known |= {"commits": applied.commits, "files": applied.files}
    await tables.opened(store, row.grant.job_id, known)


async def _done(doing: Awaitable[None], applied: Applied) -> bool:
    """Do one thing on GitHub; where it refuses that, what was done before stands."""
    try:
        await doing
    except PermanentError as error:
        applied.details.append(error.detail)
        return False
    return True


def _checked(
    url: str, token: str, bundle: bytes, grant: JobGrant, *, pushes: bool
) -> tuple[decide.Work, list[str]]:
    """Return what the commits are, and why the rules do not allow them; push those that may be."""
    rules = grant.rules
    limits = decide.Limits(
        rules.forbidden_paths, rules.max_files, rules.max_bytes, rules.max_commits
    )
    with checked_out(url, token, bundle) as checkout:
        work = checkout.work(rules.max_bytes)
        problems = decide.refusals(work, limits)
        if pushes and not problems:
            checkout.push(grant.branch, grant.issue)
    return work, problems


def _refused_texts(wanted: Outputs, grant: JobGrant) -> list[str]:
    """What is refused before anything of GitHub is asked."""
    rules, problems = grant.rules, []
    if wanted.pull_request and not rules.pull_request:
        problems.append("the route lets it open no pull request")
    if wanted.pull_request and not grant.branch:
        problems.append("there is no repository for a pull request: the task names none")
    if wanted.report and not rules.report:
        problems.append("the route lets it write no report")
    if wanted.comment and not rules.comment:
        problems.append("the route lets it write no comment")
    if (wanted.comment or wanted.labels) and grant.issue is None:
        problems.append("there is no issue to comment on or to label")
    for name in decide.refused_labels(wanted.labels, rules.labels):
        problems.append(f"the route does not let it set the label {name}")
    texts = {"the comment": wanted.comment or "", "the summary": wanted.summary}
    texts["the report"] = wanted.report or ""
    texts["nothing_to_do"] = wanted.nothing_to_do or ""
    if wanted.pull_request:
        texts |= {
            "the title": wanted.pull_request.title,
            "the description": wanted.pull_request.body,
        }
    for where, text in texts.items():
        # A comment within a key would hide it here, and is gone where the text is published.
        problems += secrets_in(f"{text}\n{harmless(text)}", where)
    return decide.shown(problems)
