"""Telling others what has happened here, however often it takes.

A write puts what others are to be told into its own transaction, and tells them afterwards, under
keys that stay the same. What could not be told is told by the repeat of that request, by the next
write to the project, or by the leftovers' round, whichever comes first.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from uuid import uuid4

from functions.dsm.sprint_service import tables
from functions.dsm.sprint_service.tables import Message
from functions.events.base import Event
from functions.kit import cause, trace, wire
from functions.kit.context import Context
from functions.kit.errors import FunctionError, PermanentError, TemporaryError
from functions.kit.services import path

logger = logging.getLogger(__name__)

NOTES_S = 1.5  # below the patience of whoever calls us, and of who calls them
NOTES_LATER_S = 30.0  # a chronicle may have to start from zero
AT_ONCE = 16

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


def events(facts: Sequence[Event], at: datetime, request: str) -> list[Message]:
    """The broker is to have events: facts since `at`, with the trace and the cause of now.

    `request` is what they have in common where whoever asked has named no cause.
    """
    carried = {"correlationid": request, **cause.handed_on()}
    made = trace.created([_made(fact, at, carried) for fact in facts])
    return [
        Message(
            one.id,
            "event",
            {
                "type": one.type,
                "subject": one.subject,
                "time": one.time,
                "data": fact.model_dump(mode="json"),
            },
            one.extensions,
        )
        for one, fact in zip(made, facts, strict=True)
    ]


def _made(fact: Event, at: datetime, carried: Mapping[str, str]) -> wire.Message:
    subject = fact.subject()
    extensions = {**({"partitionkey": subject} if subject else {}), **carried}
    time = wire.format_time(at)
    id_ = str(uuid4())
    return wire.Message(id_, SOURCE, fact.type, b"", subject, time, extensions=extensions)


async def place(ctx: Context, project_id: str) -> list[str]:
    """Tell the backlog where a project's tasks stand, in order; returns warnings.

    `TemporaryError` while backlog-service is away: repeat the request.
    """
    warnings: list[str] = []
    async with ctx.store.connection() as connection:
        calls = await tables.placements_out(connection, project_id)
    # Two who tell the same at once are one to the backlog: it knows each call by its key.
    for call in calls:
        at = path("backlogs", project_id, "placements")
        try:
            await ctx.services.backlogs.post(at, dict, key=call["id"], body=call["body"])
        except PermanentError as error:
            logger.error("gave up: %s", error)
            warnings.append(error.detail)
        async with ctx.store.connection() as connection:
            await tables.told(connection, [call["number"]])
    return warnings


async def write_notes(
    ctx: Context, project_id: str | None, *, old_s: float = 0, within_s: float = NOTES_S
) -> list[str]:
    """Write outstanding notes, of a project or of all; returns warnings.

    It waits for nobody: a chronicle that hangs costs the caller no more than `within_s`.
    """
    warnings: list[str] = []
    deadline, after = time.monotonic() + within_s, 0
    while (left_s := deadline - time.monotonic()) > 0:
        async with ctx.store.connection() as connection:
            note = await tables.note_out(connection, project_id, after, old_s)
        if note is None:
            break
        after, answer = note["number"], None
        try:
            # As of the placements: the chronicle knows a note by its key.
            answer = await ctx.services.chronicle.note(
                note["kind"], note["body"], key=note["id"], within_s=left_s
            )
        except PermanentError as error:
            logger.error("gave up: %s", error)
            warnings.append(error.detail)
        except TemporaryError as error:
            logger.warning("left for later: %s", error)
            warnings.append(f"{error.detail}; it is told later")
            continue
        async with ctx.store.transaction() as tx:
            if answer is not None and note["kind"] == "sprint_retrospective":
                filed = str(answer["retrospective_id"])
                await tables.set_retrospective(tx, note["sprint_id"], filed)
            await tables.told(tx, [note["number"]])
    return warnings


async def publish(ctx: Context, request: str | None, *, old_s: float = 0) -> None:
    """Publish the events of a request, or of all; what cannot be published stays for later.

    Each is marked by itself: one that the sink refuses keeps no other back.
    """
    after = 0
    while True:
        async with ctx.store.connection() as connection:
            rows = await tables.events_out(connection, request, after, old_s, AT_ONCE)
        if not rows:
            return
        after = rows[-1]["number"]
        outcomes = await asyncio.gather(
            *(ctx.publisher.publish([_message(row)]) for row in rows), return_exceptions=True
        )
        told, refused = [], []
        for row, outcome in zip(rows, outcomes, strict=True):
            if outcome is None:
                told.append(row["number"])
            elif isinstance(outcome, PermanentError):
                logger.error("event %s is not sent again: %s", row["id"], outcome)
                refused.append(row["number"])
            elif isinstance(outcome, TemporaryError):
                logger.warning("event %s is left for later: %s", row["id"], outcome)
            else:
                raise outcome
        async with ctx.store.connection() as connection:
            await tables.told(connection, told)
            await tables.refused(connection, refused)
        if not told and not refused:
            return  # the sink is away


async def tell_behind(ctx: Context, request: str, unwritten: str | None) -> None:
    """Publish a request's events behind its answer, where nobody hears of an error any more.

    `unwritten`: the project with notes that did not get into the chronicle in time.
    """
    try:
        await publish(ctx, request)
        if unwritten is not None:
            await write_notes(ctx, unwritten, within_s=NOTES_LATER_S)
    except FunctionError as error:
        logger.warning("left for later: %s", error)


def _message(row: Mapping[str, Any]) -> wire.Message:
    body = row["body"]
    # A row of a version that kept no extensions has none.
    without = {"partitionkey": body["subject"], "correlationid": row["id"]}
    return wire.Message(
        id=row["id"],
        source=SOURCE,
        type=body["type"],
        data=json.dumps(body["data"], ensure_ascii=False).encode(),
        subject=body["subject"],
        time=body["time"],
        datacontenttype="application/json",
        extensions=row["extensions"] or without,
    )
