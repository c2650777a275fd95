"""Messages to others, sent until they arrive: to services by calls, to the broker by events, which
go to the outbox that all functions share.

A write puts its messages into its own transaction and sends them afterwards, under keys that stay
the same. A message that failed is sent by the repeat of that request, by the next write to the
project, or by the sweep of `unsent`, whichever comes first.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

from functions.dsm.sprint_service import tables
from functions.dsm.sprint_service.tables import Message
from functions.dsm_client import dsm
from functions.events.base import Event
from functions.kit import cloudevents
from functions.kit.clients import path
from functions.kit.context import Context
from functions.kit.durable import Connection, Entry
from functions.kit.errors import FunctionError, PermanentError, TemporaryError
from functions.kit.telemetry import correlation, trace

logger = logging.getLogger(__name__)

NOTES_S = 1.5  # below the timeouts of our callers, and of theirs
NOTES_LATER_S = 30.0  # a chronicle may have to start from zero
SOURCE = "/functions/sprint-service"


def placements(updated_at: datetime, tasks: list[dict[str, Any]]) -> Message:
    """The backlog is to know where these tasks stand: a call that must succeed."""
    fields = ("task_id", "status", "progress_percentage", "sprint_id", "assigned_to")
    placed = [{name: task[name] for name in fields} for task in tasks]
    body = {"updated_at": updated_at.isoformat(), "tasks": placed}
    return Message(str(uuid4()), "placements", body)


def note(kind: str, body: Mapping[str, Any]) -> Message:
    """The chronicle is to have a note; while it is away, that is a warning."""
    return Message(str(uuid4()), kind, body)


def events(facts: Sequence[Event], at: datetime, request: str) -> list[cloudevents.Message]:
    """The broker is to have events: facts since `at`, with the trace and the causation of now.

    `request` is their correlation where the caller has named none.
    """
    carried = {"correlationid": request, **correlation.extensions()}
    return trace.created([_made(fact, at, carried) for fact in facts])


def _made(fact: Event, at: datetime, carried: Mapping[str, str]) -> cloudevents.Message:
    subject = fact.subject()
    return cloudevents.Message(
        id=str(uuid4()),
        source=SOURCE,
        type=fact.type,
        data=json.dumps(fact.model_dump(mode="json"), ensure_ascii=False).encode(),
        subject=subject,
        time=cloudevents.format_time(at),
        datacontenttype="application/json",
        extensions={**({"partitionkey": subject} if subject else {}), **carried},
    )


class Outgoing:
    """The messages of one request: kept in its transaction, its events sent after the commit."""

    def __init__(self, ctx: Context, request: str) -> None:
        self.request = request
        self._durable = ctx.resources.durable
        self._function = ctx.function
        self._entries: list[Entry] = []

    async def keep(
        self,
        tx: Connection,
        project_id: str,
        sprint_id: str,
        calls: Sequence[Message],
        facts: Sequence[cloudevents.Message],
    ) -> None:
        """Keep calls of services and events, in order; the last statements of a transaction."""
        await tables.put_out(tx, self.request, project_id, sprint_id, calls)
        self._entries += await self._durable.put(tx, self._function, facts)

    def send(self) -> None:
        """Send the events; the transaction is committed."""
        self._durable.deliver(self._entries)


async def place(ctx: Context, project_id: str) -> list[str]:
    """Send the backlog the state of a project's tasks, in order; returns warnings.

    `TemporaryError` while backlog-service is away: repeat the request.
    """
    warnings: list[str] = []
    async with ctx.store.connection() as connection:
        calls = await tables.placements_out(connection, project_id)
    # Two who send the same at once are one to the backlog: it knows each call by its key.
    for call in calls:
        at = path("backlogs", project_id, "placements")
        try:
            await dsm(ctx).backlogs.post(at, dict, key=call["id"], body=call["body"])
        except PermanentError as error:
            logger.error("gave up: %s", error)
            warnings.append(error.detail)
        async with ctx.store.connection() as connection:
            await tables.delete(connection, [call["number"]])
    return warnings


async def write_notes(
    ctx: Context, project_id: str | None, *, old_s: float = 0, timeout_s: float = NOTES_S
) -> list[str]:
    """Write outstanding notes, of a project or of all; returns warnings.

    A chronicle that hangs costs the caller no more than `timeout_s`.
    """
    warnings: list[str] = []
    deadline, after = time.monotonic() + timeout_s, 0
    while (remaining_s := deadline - time.monotonic()) > 0:
        async with ctx.store.connection() as connection:
            note = await tables.note_out(connection, project_id, after, old_s)
        if note is None:
            break
        after, answer = note["number"], None
        try:
            # As of the placements: the chronicle knows a note by its key.
            answer = await dsm(ctx).chronicle.note(
                note["kind"], note["body"], key=note["id"], timeout_s=remaining_s
            )
        except PermanentError as error:
            logger.error("gave up: %s", error)
            warnings.append(error.detail)
        except TemporaryError as error:
            logger.warning("left for later: %s", error)
            warnings.append(f"{error.detail}; it is sent later")
            continue
        async with ctx.store.transaction() as tx:
            if answer is not None and note["kind"] == "sprint_retrospective":
                filed = str(answer["retrospective_id"])
                await tables.set_retrospective(tx, note["sprint_id"], filed)
            await tables.delete(tx, [note["number"]])
    return warnings


async def write_later(ctx: Context, project_id: str) -> None:
    """Write a project's notes behind an answer, for which they came too late."""
    try:
        await write_notes(ctx, project_id, timeout_s=NOTES_LATER_S)
    except FunctionError as error:
        logger.warning("left for later: %s", error)
