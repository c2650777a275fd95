"""What a user does on an issue or pull request to the Jobs there.

/agent stop, retry, why, status         in a comment, from users with write or more
/agent approve, reject [reason]         the same
the buttons of a check run              the same, to the Job of the check run alone
closing it, removing a route's label    cancels what is open, and rejects what waits

Whoever can close it or remove a label may stop its Jobs: that starts nothing. A comment that is
older than a Job, or than what waits for approval, does nothing to it: its writer saw none of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, get_args

from functions.events.agent import AgentAnswered, AgentRefused
from functions.events.approval import Decision, Stage, describe
from functions.events.base import AnyEvent, Event
from functions.events.webhook import PERMISSIONS
from functions.job_launcher import listing, queue, tables
from functions.job_launcher.commands import approvals, cancellations, job_commands, retries
from functions.job_launcher.decide.job_status import ENDED
from functions.job_launcher.routes.match import RouteChoice, has_label
from functions.job_launcher.routes.route_file import Route
from functions.job_launcher.tables import JobRow
from functions.job_launcher.view import read_queue, reason_of
from functions.kit.context import Context
from functions.kit.durable import Connection
from functions.kit.errors import shortened

COMMANDS = ("stop", "retry", "why", "status", "approve", "reject")
CLOSED = ("com.github.issue.closed", "com.github.pull_request.closed")
UNLABELLED = ("com.github.issue.unlabeled", "com.github.pull_request.unlabeled")
PRESSED = "com.github.check_run.requested_action"
RERUN = "com.github.check_run.rerequested"
MIN_PERMISSION = "write"
# The name that stands for the route where none has worked there.
NO_ROUTE = "commands"
NO_JOB = "no agent has worked here"
NOTHING_WAITS = "nothing waits for approval here"


@dataclass(frozen=True)
class IssueCommand:
    """`word` is a command, `closed` or `unlabelled`; `comment` the id of the comment, `reason`
    the rest of its first line. `job` is of a check run's button, with an `issue` of 0; `stage` what
    an approval's button was about."""

    word: str
    repository: str
    issue: int
    login: str
    comment: int | None = None
    label: str = ""
    reason: str = ""
    job: str = ""
    stage: str = ""


def command_in(choice: RouteChoice) -> IssueCommand | None:
    """Return what an event means for the Jobs of its issue; None of any other.

    A bot commands nothing, but what it closes is closed.
    """
    fields, data = choice.fields, choice.data
    if choice.route is not None and choice.route.job is not None:
        return None
    if fields.type in CLOSED:
        word = "closed"
    elif fields.type in UNLABELLED:
        word = "unlabelled"
    elif fields.bot is not False:
        return None
    elif fields.type in (PRESSED, RERUN):
        return _pressed(fields.type, data)
    elif fields.command in COMMANDS and fields.action == "created":
        word = fields.command
    else:
        return None
    try:
        about = data.get("issue") or data["pull_request"]
        return IssueCommand(
            word,
            str(data["repository"]["full_name"]),
            int(about["number"]),
            str(data["sender"]["login"])[:100],
            (data.get("comment") or {}).get("id"),
            ", ".join(fields.labels),
            _reason_in(data),
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


async def has_effect(command: IssueCommand, ctx: Context) -> bool:
    """Is there anything to do? A closed issue has no open Job as a rule."""
    if command.word in COMMANDS and not command.job:
        return True
    async with ctx.store.connection() as connection:
        rows = await _jobs_of(connection, command)
    return bool(rows) if command.job else any(_is_open(row) for row in rows)


async def run(
    command: IssueCommand,
    choice: RouteChoice,
    routes: Sequence[Route],
    event: AnyEvent,
    ctx: Context,
    tx: Connection,
) -> list[Event]:
    """Do it; return the events of Jobs, and the answer to a comment or a button."""
    rows = await _jobs_of(tx, command)
    if command.word == "retry":
        await queue.lock(tx, ctx.remaining_s / 2)  # before a task's, as everywhere
    await cancellations.lock_tasks(tx, [row.request.task_id for row in rows], ctx.remaining_s / 2)
    # As they are now that no other changes them.
    rows = await _jobs_of(tx, command)
    if command.job and not rows:
        return []
    still_open = [row for row in rows if _is_open(row)]
    if command.word == "closed":
        return await _stop(still_open, f"closed by {command.login}", command.login, ctx, tx)
    if command.word == "unlabelled":
        started = [row for row in still_open if _is_label_of(routes, row, command.label)]
        reason = f"{command.login} removed the label {command.label}"
        return await _stop(started, reason, command.login, ctx, tx)
    answered = {
        "route": rows[0].request.route if rows else NO_ROUTE,
        "repository": command.repository,
        "issue": rows[0].request.issue if command.job else command.issue,
        "login": command.login,
        "asked": f"{'button' if command.job else '/agent'} {command.word}",
        "comment": command.comment,
    }
    actor, at = choice.fields.actor, job_commands.event_time(event, ctx.now())
    if actor not in PERMISSIONS or PERMISSIONS.index(actor) < PERMISSIONS.index(MIN_PERMISSION):
        if not rows:
            return []  # a stranger's words let us write nothing where we have not
        problem = f": {choice.fields.actor_problem}" if choice.fields.actor_problem else ""
        reason = f"actor is {actor or 'unknown'}, not {MIN_PERMISSION} or more{problem}"
        return [AgentRefused(**answered, reason=reason, refused_at=at)]
    seen = [row for row in rows if command.job or not _is_older(at, row.requested_at)]
    events: list[Event] = []
    match command.word:
        case "status" | "why":
            answer = await _state(rows, ctx, tx)
        case "approve" | "reject":
            events, answer = await _decide(command, rows, at, ctx, tx)
        case "stop":
            meant = [row for row in still_open if row in seen]
            events = await _stop(meant, f"stopped by {command.login}", command.login, ctx, tx)
            names = ", ".join(row.id for row in meant or still_open)
            answer = f"stops {names}" if meant else _later(names) if names else "nothing runs here"
        case _ if rows and rows[0] not in seen:
            answer = _later(rows[0].id)
        case _:
            events, answer = await _retry(command, rows, event, ctx, tx)
    return [*events, AgentAnswered(**answered, answer=answer, answered_at=at)]


async def _stop(
    rows: Sequence[JobRow], reason: str, by: str, ctx: Context, tx: Connection
) -> list[Event]:
    events: list[Event] = []
    for row in rows:
        if row.approval == "outputs":
            events += await approvals.decide(ctx, tx, row, "rejected", by, reason)
        events += await job_commands.stop(ctx, tx, row, reason)
    return events


def _pressed(type: str, data: Mapping[str, Any]) -> IssueCommand | None:
    """Return the command of a check run's button; None of what is none of ours."""
    try:
        word = "retry" if type == RERUN else data["requested_action"]["identifier"]
        job = data["check_run"]["external_id"]
        repository, login = data["repository"]["full_name"], data["sender"]["login"]
    except (KeyError, TypeError):
        return None
    word, _, stage = str(word).partition("-")
    if word not in COMMANDS or not isinstance(job, str) or not job:
        return None
    return IssueCommand(word, str(repository), 0, str(login)[:100], job=job, stage=stage)


async def _jobs_of(connection: Connection, command: IssueCommand) -> list[JobRow]:
    """Return the Jobs that a command is about, newest first: of a button its own alone."""
    if not command.job:
        return await tables.jobs_of_issue(connection, command.repository, command.issue)
    row = await tables.get(connection, command.job)
    if row is None or row.request.issue is None or row.request.github != command.repository:
        return []
    return [row]


def _is_open(row: JobRow) -> bool:
    """Is there anything of it to stop: the Job, or its outputs that wait?"""
    return row.state not in ENDED or row.approval is not None


async def _retry(
    command: IssueCommand,
    rows: Sequence[JobRow],
    event: AnyEvent,
    ctx: Context,
    tx: Connection,
) -> tuple[list[Event], str]:
    """Queue the newest Job once more, while none of the issue, or of a button's task, is open."""
    if not rows:
        return [], NO_JOB
    around = rows
    if command.job:
        around = await listing.page(tx, {"task": rows[0].request.task_id}, None, 50)
    if unended := next((row for row in around if _is_open(row)), None):
        return [], f"{unended.id} has not ended"
    request = retries.again(rows[0], event)
    events = await job_commands.add([request], event, ctx, tx)
    return events, f"{request.job_id} follows {rows[0].id}"


async def _decide(
    command: IssueCommand, rows: Sequence[JobRow], at: datetime, ctx: Context, tx: Connection
) -> tuple[list[Event], str]:
    """Approve or reject the newest that waits; return the events and the answer."""
    stages = get_args(Stage) if not command.stage else (command.stage,)
    waiting = [row for row in rows if row.approval in stages]
    row = next(
        (one for one in waiting if command.job or not _is_older(at, _waits_since(one))), None
    )
    if row is None:
        late = f"nothing is done: {waiting[0].id} began to wait after this" if waiting else ""
        return [], late or NOTHING_WAITS
    decision: Decision = "approved" if command.word == "approve" else "rejected"
    reason = command.reason
    events = await approvals.decide(ctx, tx, row, decision, command.login, reason)
    what = f"the start of {row.id}" if row.approval == "start" else f"what {row.id} has made"
    return events, f"{what} is {describe(decision, command.login, reason)}"


def _waits_since(row: JobRow) -> datetime:
    approval = row.request.approval
    if approval is None or row.approval_until is None:
        return row.queued_at
    return row.approval_until - timedelta(seconds=approval.timeout_s)


def _later(names: str) -> str:
    return f"nothing is done: {names} was asked for after this"


def _is_older(at: datetime, since: datetime) -> bool:
    """Is it from an earlier second? GitHub's times have whole ones."""
    return at < since.replace(microsecond=0)


def _reason_in(data: Mapping[str, Any]) -> str:
    """Return what follows the command in its line."""
    line = str((data.get("comment") or {}).get("body") or "").partition("\n")[0]
    return shortened(" ".join(line.split()[2:]))


async def _state(rows: Sequence[JobRow], ctx: Context, tx: Connection) -> str:
    if not rows:
        return NO_JOB
    reason = reason_of(rows[0], await read_queue(ctx, tx))
    return f"{rows[0].id} is {rows[0].state}" + (f": {reason}" if reason else "")


def _is_label_of(routes: Sequence[Route], row: JobRow, label: str) -> bool:
    """Did the label start the Job?"""
    wanted = next((one.match.label for one in routes if one.name == row.request.route), None)
    return has_label(wanted or (), label)
