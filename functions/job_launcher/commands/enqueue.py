"""Queue the Jobs that an event's route makes: the first with the event, the others in parts.

One notification may name thousands of tasks. The event's own transaction takes the first `MAX_PART`
and commits a call for the others, which the relay makes until it is done. A Job's name is derived
from event and task, so a call that is repeated adds no Job twice. It names the route and the list
of tasks that the first part was taken of: where the routes have changed since, it is given up, as
what remains of one list is not what remains of another.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections.abc import Callable
from dataclasses import replace

from functions.events.base import AnyEvent, Event
from functions.job_launcher import facts
from functions.job_launcher.commands import job_commands
from functions.job_launcher.commands.refusals import refusal_of
from functions.job_launcher.decide.job_request import JobRequest
from functions.job_launcher.routes.match import RouteChoice
from functions.job_launcher.routes.source import routes_of
from functions.kit import cloudevents
from functions.kit.clients.off_loop import off_loop
from functions.kit.context import Context, Resources
from functions.kit.durable import Connection
from functions.kit.errors import PermanentError, TemporaryError

logger = logging.getLogger(__name__)

FUNCTION = "job_launcher"
REMAINING = "remaining-tasks"
MAX_PART = 100  # requests of one transaction, and rendered at a time


async def enqueue(
    choice: RouteChoice, event: AnyEvent, ctx: Context, tx: Connection
) -> list[Event]:
    """Insert the requests that the event's route makes; return their events."""
    if refusal := refusal_of(choice, job_commands.event_time(event, ctx.now())):
        logger.warning("refused: %s", refusal.reason, extra={"fields": {"route": refusal.route}})
        return [refusal]
    renderings = await job_commands.renderings(choice, event, ctx)
    first = await job_commands.rendered(renderings[:MAX_PART], event)
    events = await job_commands.add(first, event, ctx, tx)
    if len(renderings) > MAX_PART:
        await ctx.part(RemainingTasks).put(choice, event, ctx, tx)
    return events


class RemainingTasks:
    """The tasks of an event beyond its first part; a part of the process's resources."""

    def __init__(self, resources: Resources) -> None:
        self.on_added: Callable[[Context], None] = lambda ctx: None
        self._ctx = Context(resources, FUNCTION, resources.now)
        resources.durable.relay.makes(FUNCTION, {REMAINING: self._take})

    async def put(self, choice: RouteChoice, event: AnyEvent, ctx: Context, tx: Connection) -> None:
        """Commit the call with the event."""
        call = cloudevents.Message(
            event.ce_attributes["id"],
            "/functions/job-launcher",
            REMAINING,
            event.data,
            datacontenttype="application/json",
            extensions={
                "event": json.dumps(event.ce_attributes),
                "route": _name(choice),
                "tasks": await off_loop(len(event.data), _digest, choice),
            },
        )
        durable = ctx.resources.durable
        entries = await durable.put(tx, ctx.function, [call], is_call=True)
        ctx.on_commit(lambda: durable.deliver(entries))

    async def _take(self, call: cloudevents.Message) -> None:
        event = AnyEvent(ce_attributes=json.loads(call.extensions["event"]), data=call.data)
        choice = await job_commands.choose_route(self._ctx.part(routes_of).routes(), event)
        tasks = await off_loop(len(event.data), _digest, choice)
        # A call of the version before names neither.
        if call.extensions.get("tasks", tasks) != tasks:
            raise PermanentError(
                f"the tasks of event {call.id} after the first {MAX_PART} have no Jobs: they were "
                f"of route {call.extensions['route']}, and now route {_name(choice)} makes another "
                "list of them; send the event again under another id"
            )
        renderings = await job_commands.renderings(choice, event, self._ctx)
        refused: list[PermanentError] = []
        failures: list[Exception] = []
        for first in range(MAX_PART, len(renderings), MAX_PART):
            part = renderings[first : first + MAX_PART]
            for request in await job_commands.rendered(part, event):
                try:
                    await self._add(request, event)
                except PermanentError as error:  # it costs no other
                    logger.error("no job %s: %s", request.job_id, error.detail)
                    refused.append(error)
                except Exception as error:
                    failures.append(error)
            self.on_added(self._ctx)
        if failures:
            raise TemporaryError(f"{len(failures)} tasks failed, the first: {failures[0]}")
        if refused:
            raise PermanentError(f"{len(refused)} tasks have no Job, the first: {refused[0]}")

    async def _add(self, request: JobRequest, event: AnyEvent) -> None:
        until = time.monotonic() + self._ctx.resources.process.timeout_seconds
        ctx = replace(self._ctx, until=until)
        async with facts.settled(ctx, request) as settlement:
            settlement.facts += await job_commands.add([request], event, ctx, settlement.tx)


def _name(choice: RouteChoice) -> str:
    return choice.route.name if choice.route else "none"


def _digest(choice: RouteChoice) -> str:
    """Return what differs where the tasks of an event do, or their order."""
    job = choice.route.job if choice.route else None
    items = [match.item for match in choice.matches]
    found = json.dumps([_name(choice), job.task_id if job else "", items], sort_keys=True)
    return hashlib.sha256(found.encode(errors="surrogatepass")).hexdigest()
