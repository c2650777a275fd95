"""The delivery of one row of the outbox: an event to the sink, or a call to its service.

A call that must not be lost is committed like an event, and made by the relay.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol
from uuid import uuid4

from functions.kit import cloudevents
from functions.kit.clients.publisher import Refused
from functions.kit.durable import outbox
from functions.kit.durable.outbox import Entry
from functions.kit.errors import PermanentError, shortened
from functions.kit.telemetry import correlation, trace

if TYPE_CHECKING:
    from functions.kit.durable.database import Store

logger = logging.getLogger(__name__)

Call = Callable[[cloudevents.Message], Awaitable[None]]


class Sender(Protocol):
    """The way to the sink; `functions.kit.clients.publisher.Publisher` is one."""

    async def publish(self, messages: Sequence[cloudevents.Message]) -> None:
        """Send; raise `Refused`, or a `FunctionError` after which it is sent again."""

    async def dead_letter(self, message: cloudevents.Message, status: int, cause: str) -> None:
        """Send what the sink refused to the dead letters, with the text of its answer."""


class Delivery:
    """How one process delivers rows. `caller`: the function whose calls it makes."""

    def __init__(self, store: Store, publisher: Sender) -> None:
        self._store = store
        self._publisher = publisher
        self._calls: Mapping[str, Call] = {}
        self.caller: str | None = None

    def makes(self, function: str, calls: Mapping[str, Call]) -> None:
        """Make the calls of `function`, by their type."""
        self.caller, self._calls = function, calls

    async def send(self, entry: Entry) -> bool:
        """Send one row: True if the sink has it, False if the dead letters have it."""
        if entry.is_call:
            return await self._call(entry)
        status, cause = entry.refusal, entry.cause
        if status is None:
            try:
                await self._publisher.publish([entry.message])
                return True
            except Refused as error:
                logger.error("event %s is a dead letter: %s", entry.message.id, error.detail)
                status, cause = error.answered, error.cause
                await outbox.refuse(self._store, entry.number, status, cause)
        await self._publisher.dead_letter(entry.message, status, cause)
        await outbox.dead_letter(self._store, entry.number)
        return False

    async def _call(self, entry: Entry) -> bool:
        """Make one call: True if it was answered, False if it was refused for good."""
        message = entry.message
        try:
            with trace.processing(message), correlation.correlated(message.extensions):
                await self._calls[message.type](message)
        except PermanentError as error:
            logger.error("gave up %s %s: %s", message.type, message.id, error.detail)
            await outbox.give_up(self._store, entry.number, error.status, shortened(error.detail))
            return False
        return True


def call_of(
    function: str,
    kind: str,
    key: str,
    body: Mapping[str, Any],
    *,
    subject: str | None = None,
    id: str | None = None,
) -> cloudevents.Message:
    """A call with the trace and the causation of now; those of one `key` are made in order.

    Its `id` is the Idempotency-Key. `Relay.makes` says how calls of a `kind` are made.
    """
    return cloudevents.Message(
        id=id or str(uuid4()),
        source=f"/functions/{function.replace('_', '-')}",
        type=kind,
        data=json.dumps(body, ensure_ascii=False).encode(),
        subject=subject,
        datacontenttype="application/json",
        extensions={**correlation.extensions(), "partitionkey": key},
    )
