"""Telling others what has happened here, however often it takes.

A write puts what others are to be told into its own transaction, and tells them afterwards, under
keys that stay the same. What could not be told is told by the repeat of that request, or by the
next write to the project, before anything new.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from functions.dsm.sprint_service import tables
from functions.events.base import Event
from functions.kit import wire
from functions.kit.context import Context
from functions.kit.errors import FunctionError, PermanentError, TemporaryError
from functions.kit.services import path
from functions.kit.store import Connection

logger = logging.getLogger(__name__)

Message = tuple[str, Mapping[str, Any]]


def placements(updated_at: datetime, tasks: list[dict[str, Any]]) -> Message:
    """The backlog is to know where these tasks stand: a call that must succeed."""
    fields = ("task_id", "status", "progress_percentage", "sprint_id", "assigned_to")
    placed = [{name: task[name] for name in fields} for task in tasks]
    return "placements", {"updated_at": updated_at.isoformat(), "tasks": placed}


def note(kind: str, body: Mapping[str, Any]) -> Message:
    """The chronicle is to have a note; while it is away, that is a warning."""
    return kind, body


def event(fact: Event, at: datetime) -> Message:
    """The broker is to have an event: a fact since `at`."""
    return "event", {
        "type": fact.type,
        "subject": fact.subject(),
        "time": wire.format_time(at),
        "data": fact.model_dump(mode="json"),
    }


async def make_calls(ctx: Context, project_id: str) -> list[str]:
    """Make a project's outstanding calls in order; returns warnings.

    `TemporaryError` while backlog-service is away: repeat the request.
    """
    warnings: list[str] = []
    async with ctx.store.transaction() as tx:
        for call in await tables.calls_out(tx, project_id):
            try:
                await _make(ctx, tx, project_id, call)
            except PermanentError as error:
                logger.error("gave up: %s", error)
                warnings.append(error.detail)
            except TemporaryError as error:
                if call["kind"] == "placements":
                    raise
                logger.warning("left for later: %s", error)
                warnings.append(f"{error.detail}; it is told later")
                continue
            await tables.told(tx, [call["number"]])
    return warnings


async def _make(ctx: Context, tx: Connection, project_id: str, call: dict[str, Any]) -> None:
    body, key = call["body"], call["id"]
    if call["kind"] == "placements":
        at = path("backlogs", project_id, "placements")
        await ctx.services.backlogs.post(at, dict, key=key, body=body)
        return
    at = path("v1", "notes", call["kind"])
    answer: dict[str, Any] = await ctx.services.chronicle.post(at, dict, key=key, body=body)
    if call["kind"] == "sprint_retrospective":
        await tables.set_retrospective(tx, call["sprint_id"], str(answer["retrospective_id"]))


async def publish(ctx: Context, request: str) -> None:
    """Publish a request's events; what cannot be published now stays for later."""
    try:
        async with ctx.store.connection() as connection:
            rows = await tables.events_out(connection, request)
        if not rows:
            return
        await ctx.publisher.publish([_message(row) for row in rows])
        async with ctx.store.connection() as connection:
            await tables.told(connection, [row["number"] for row in rows])
    except FunctionError as error:
        logger.warning("events are left for later: %s", error)


def _message(row: Mapping[str, Any]) -> wire.Message:
    body = row["body"]
    return wire.Message(
        id=row["id"],
        source="/functions/sprint-service",
        type=body["type"],
        data=json.dumps(body["data"], ensure_ascii=False).encode(),
        subject=body["subject"],
        time=body["time"],
        datacontenttype="application/json",
        extensions={"partitionkey": body["subject"], "correlationid": row["id"]},
    )
