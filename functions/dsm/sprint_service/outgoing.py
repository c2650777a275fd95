"""What others are to know of a write: the backlog and the chronicle by calls, the broker by events.

A write commits them with itself; the kit's relay makes the calls and sends the events, under ids
that stay the same, until each has arrived or is refused for good.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any
from uuid import uuid4

from functions.dsm.sprint_service import tables
from functions.dsm_client import dsm
from functions.events.base import Event
from functions.kit import cloudevents
from functions.kit.clients import path
from functions.kit.context import Context, Resources
from functions.kit.durable import Connection, Entry, Relay, call_of, outbox
from functions.kit.errors import TemporaryError
from functions.kit.telemetry import correlation, trace

FUNCTION = "sprint_service"
SOURCE = "/functions/sprint-service"
PLACEMENTS = "placements"
PLANNING, RETROSPECTIVE = "sprint_planning", "sprint_retrospective"

PLACED_S = 20.0  # a request waits so long for the backlog to have what was written before
NOTED_S = 1.5  # and for the chronicle; below the timeouts of our callers, and of theirs
NOTE_S = 30.0  # a chronicle may have to start from zero


def placements(project_id: str, at: datetime, tasks: list[dict[str, Any]]) -> cloudevents.Message:
    """The call that tells the backlog where these tasks stand, in order for each project."""
    fields = ("task_id", "status", "progress_percentage", "sprint_id", "assigned_to")
    placed = [{name: task[name] for name in fields} for task in tasks]
    body = {"updated_at": at.isoformat(), "tasks": placed}
    return call_of(FUNCTION, PLACEMENTS, _placements_of(project_id), body, subject=project_id)


def note(kind: str, sprint_id: str, body: Mapping[str, Any]) -> cloudevents.Message:
    """The call that writes a note into the chronicle, in order for each sprint."""
    return call_of(FUNCTION, kind, _notes_of(sprint_id), body, subject=sprint_id)


def _placements_of(project_id: str) -> str:
    return f"placements of {project_id}"


def _notes_of(sprint_id: str) -> str:
    return f"notes of {sprint_id}"


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
    """The calls and events of one request: kept in its transaction, sent after the commit."""

    def __init__(self, ctx: Context, request: str) -> None:
        self.request = request
        self.virtual_now = ctx.store.now
        self._ctx = ctx
        self._durable = ctx.resources.durable
        relay(ctx)
        self._entries: list[Entry] = []

    async def keep(
        self,
        tx: Connection,
        calls: Sequence[cloudevents.Message],
        facts: Sequence[cloudevents.Message],
    ) -> None:
        """Keep calls of services and events, in order; the last statements of a transaction."""
        self._entries += await self._durable.put(tx, FUNCTION, calls, is_call=True)
        self._entries += await self._durable.put(tx, FUNCTION, facts)

    def send(self) -> None:
        """Send all; the transaction is committed."""
        self._durable.deliver(self._entries)

    async def arrived(self, project_id: str, sprint_id: str) -> list[str]:
        """Wait for the calls of a project and a sprint; returns warnings.

        `TemporaryError` while backlog-service is away: repeat the request.
        """
        await placed(self._ctx, project_id)
        chronicle = dsm(self._ctx).chronicle.name
        late = await relay(self._ctx).until_sent(_notes_of(sprint_id), NOTED_S, chronicle)
        calls = [entry.number for entry in self._entries if entry.is_call]
        refused = await outbox.refusals(self._ctx.store, calls)
        return [*refused, *([f"{late}; it is sent later"] if late else [])]


async def placed(ctx: Context, project_id: str) -> None:
    """Return once the backlog has what was written of a project, else `TemporaryError`."""
    key, backlogs = _placements_of(project_id), dsm(ctx).backlogs.name
    if late := await relay(ctx).until_sent(key, PLACED_S, backlogs):
        raise TemporaryError(late)


def relay(ctx: Context) -> Relay:
    """The relay of the process, which makes our calls."""
    return ctx.part(_Calls).relay


class _Calls:
    """How each call is made."""

    def __init__(self, resources: Resources) -> None:
        ctx = Context(resources, FUNCTION)
        self.relay = resources.durable.relay
        note = partial(_write_note, ctx)
        calls = {PLACEMENTS: partial(_place, ctx), PLANNING: note, RETROSPECTIVE: note}
        self.relay.makes(FUNCTION, calls)


async def _place(ctx: Context, call: cloudevents.Message) -> None:
    at = path("backlogs", str(call.subject), "placements")
    await dsm(ctx).backlogs.post(at, dict, key=call.id, body=json.loads(call.data))


async def _write_note(ctx: Context, call: cloudevents.Message) -> None:
    answer = await dsm(ctx).chronicle.note(
        call.type, json.loads(call.data), key=call.id, timeout_s=NOTE_S
    )
    if call.type == RETROSPECTIVE:
        async with ctx.store.connection() as connection:
            filed = str(answer["retrospective_id"])
            await tables.set_retrospective(connection, str(call.subject), filed)
