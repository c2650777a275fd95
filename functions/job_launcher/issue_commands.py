"""What a user does on an issue or pull request to the Jobs there.

/agent stop, retry, why, status         in a comment, from users with write or more
/agent approve, reject [reason]         the same
the buttons of a check run              the same
closing it, removing a route's label    cancels what is open, and rejects what waits

Whoever can close it or remove a label may stop its Jobs: that starts nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from functions.events.agent import AgentAnswered, AgentRefused
from functions.events.approval import Decision, describe
from functions.events.base import AnyEvent, Event
from functions.events.webhook import PERMISSIONS
from functions.job_launcher import approvals, cancellations, commands, queue, retries, tables
from functions.job_launcher.decide import ENDED
from functions.job_launcher.match import RouteChoice
from functions.job_launcher.route_file import Route
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
    the rest of its first line. `job` is of a check run's button, with an `issue` of 0."""

    word: str
    repository: str
    issue: int
    login: str
    comment: int | None = None
    label: str = ""
    reason: str = ""
    job: str = ""


def command_in(choice: RouteChoice) -> IssueCommand | None:
    """Return what an event means for the Jobs of its issue; None of any other, and of a bot's."""
    fields, data = choice.fields, choice.data
    if (choice.route is not None and choice.route.job is not None) or fields.bot is not False:
        return None
    if fields.type in (PRESSED, RERUN):
        return _pressed(fields.type, data)
    if fields.type in CLOSED:
        word = "closed"
    elif fields.type in UNLABELLED:
        word = "unlabelled"
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
        if command.job:
            return await _of_button(connection, command) is not None
        rows = await tables.jobs_of_issue(connection, command.repository, command.issue)
    return any(_is_open(row) for row in rows)


async def run(
    command: IssueCommand,
    choice: RouteChoice,
    routes: Sequence[Route],
    event: AnyEvent,
    ctx: Context,
    tx: Connection,
) -> list[Event]:
    """Do it; return the events of Jobs, and the answer to a comment or a button."""
    if command.job:
        found = await _of_button(tx, command)
        if found is None:
            return []
        command = found
    rows = await tables.jobs_of_issue(tx, command.repository, command.issue)
    if command.word == "retry":
        await queue.lock(tx, ctx.remaining_s / 2)  # before a task's, as everywhere
    await cancellations.lock_tasks(tx, [row.request.task_id for row in rows], ctx.remaining_s / 2)
    # As they are now that no other changes them.
    rows = await tables.jobs_of_issue(tx, command.repository, command.issue)
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
        "issue": command.issue,
        "login": command.login,
        "asked": f"{'button' if command.job else '/agent'} {command.word}",
        "comment": command.comment,
    }
    actor, at = choice.fields.actor, commands.event_time(event, ctx.now())
    if actor not in PERMISSIONS or PERMISSIONS.index(actor) < PERMISSIONS.index(MIN_PERMISSION):
        problem = f": {choice.fields.actor_problem}" if choice.fields.actor_problem else ""
        reason = f"actor is {actor or 'unknown'}, not {MIN_PERMISSION} or more{problem}"
        return [AgentRefused(**answered, reason=reason, refused_at=at)]
    events: list[Event] = []
    match command.word:
        case "stop" if still_open:
            events = await _stop(still_open, f"stopped by {command.login}", command.login, ctx, tx)
            answer = f"stops {', '.join(row.id for row in still_open)}"
        case "stop":
            answer = "nothing runs here"
        case "retry" if still_open:
            answer = f"{still_open[0].id} has not ended"
        case "approve" | "reject":
            events, answer = await _decide(command, rows, ctx, tx)
        case "retry" if rows:
            request = retries.again(rows[0], event)
            events = await commands.add([request], event, ctx, tx)
            answer = f"{request.job_id} follows {rows[0].id}"
        case _:
            answer = await _state(rows, ctx, tx)
    return [*events, AgentAnswered(**answered, answer=answer, answered_at=at)]


async def _stop(
    rows: Sequence[JobRow], reason: str, by: str, ctx: Context, tx: Connection
) -> list[Event]:
    events: list[Event] = []
    for row in rows:
        if row.approval == "outputs":
            events += await approvals.decide(ctx, tx, row, "rejected", by, reason)
        events += await commands.stop(ctx, tx, row, reason)
    return events


def _pressed(type: str, data: Mapping[str, Any]) -> IssueCommand | None:
    """Return the command of a check run's button; None of what is none of ours."""
    try:
        word = "retry" if type == RERUN else data["requested_action"]["identifier"]
        job = data["check_run"]["external_id"]
        repository, login = data["repository"]["full_name"], data["sender"]["login"]
    except (KeyError, TypeError):
        return None
    if word not in COMMANDS or not isinstance(job, str) or not job:
        return None
    return IssueCommand(word, str(repository), 0, str(login)[:100], job=job)


async def _of_button(connection: Connection, command: IssueCommand) -> IssueCommand | None:
    """Return the command with the pull request of its Job; None without one there."""
    row = await tables.get(connection, command.job)
    if row is None or row.request.issue is None or row.request.github != command.repository:
        return None
    return replace(command, issue=row.request.issue)


def _is_open(row: JobRow) -> bool:
    """Is there anything of it to stop: the Job, or its outputs that wait?"""
    return row.state not in ENDED or row.approval is not None


async def _decide(
    command: IssueCommand, rows: Sequence[JobRow], ctx: Context, tx: Connection
) -> tuple[list[Event], str]:
    """Approve or reject the newest that waits; return the events and the answer."""
    row = next((one for one in rows if one.approval is not None), None)
    if row is None:
        return [], NOTHING_WAITS
    decision: Decision = "approved" if command.word == "approve" else "rejected"
    reason = command.reason
    events = await approvals.decide(ctx, tx, row, decision, command.login, reason)
    what = f"the start of {row.id}" if row.approval == "start" else f"what {row.id} has made"
    return events, f"{what} is {describe(decision, command.login, reason)}"


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
    """Did the label start the Job? Labels do not differ by case."""
    wanted = next((one.match.label for one in routes if one.name == row.request.route), None)
    return label.casefold() in [one.casefold() for one in wanted or ()]
