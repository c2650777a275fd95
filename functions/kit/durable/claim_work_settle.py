"""Claim, work, settle, relay: how a function with a database handles an event.

*Claim*: no other works on the event (an advisory lock of this process's session).
*Work*: network calls happen here and only here; no transaction is open, no connection is held.
*Settle*: one short transaction holds the answer, the function's own writes, the run and the events
that go out. The inbox row is the fence: who comes second takes the recorded answer.
*Relay*: the events leave after the commit; the answer does not wait for them.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from functions.kit import cloudevents
from functions.kit.durable import cancellations, inbox, outbox
from functions.kit.durable.claims import Claims
from functions.kit.durable.inbox import Answered, Key
from functions.kit.durable.locks import CLAIM
from functions.kit.durable.relay import Relay
from functions.kit.errors import FunctionError

if TYPE_CHECKING:
    from functions.kit.clients.publisher import Publisher
    from functions.kit.durable.database import Connection, Store

logger = logging.getLogger(__name__)

Write = Callable[["Connection"], Awaitable[Any]]


@dataclass(frozen=True)
class Outcome:
    """What work came to: its JSON answer, the events to send, and what to write with them."""

    answer: Any
    events: Sequence[cloudevents.Message] = ()
    writes: Sequence[Write] = ()


Finish = Callable[["Connection"], Awaitable[Outcome]]


class _Settled(Exception):
    """Another has settled the same request; rolls the transaction back."""

    def __init__(self, answered: Answered) -> None:
        self.answered = answered


class Durable:
    """The durable core of one process: its claims and its relay, over one database."""

    def __init__(self, store: Store, publisher: Publisher) -> None:
        self._store = store
        self.claims = Claims(store)
        self.relay = Relay(store, publisher)

    async def once(
        self,
        key: Key,
        kind: str,
        wait_s: float,
        work: Callable[[], Awaitable[Outcome | Finish]],
        digest: str | None = None,
    ) -> Answered:
        """Do `work` and settle what it came to, or return the recorded answer.

        What depends on its own writes `work` leaves to a function of the settling transaction.

        While another request works on the same key, this one waits up to `wait_s` seconds, then
        raises `TemporaryError`. Work that raises leaves nothing behind. `digest` is of what was
        asked for: `PermanentError` where the recorded answer was given to something else.
        """
        name, deadline = (key.function, key.source, key.id), time.monotonic() + wait_s
        async with self.claims.held(CLAIM, *name, deadline=deadline):
            async with self._store.connection() as connection:
                found = await inbox.find(connection, key, digest)
                if found is not None:
                    return found
                await cancellations.check(connection, key.event)
            began = time.perf_counter()
            outcome = await work()
            return await self._settle(key, kind, began, outcome, digest)

    async def _settle(
        self, key: Key, kind: str, began: float, done: Outcome | Finish, digest: str | None
    ) -> Answered:
        try:
            async with self._store.transaction() as tx:
                # Before the fence: whoever comes second is rolled back with all of it.
                outcome = done if isinstance(done, Outcome) else await done(tx)
                await cancellations.check(tx, key.event)
                if not await inbox.add(tx, key, kind, outcome.answer, digest):
                    found = await inbox.find(tx, key, digest)
                    raise _Settled(found or Answered(outcome.answer, repeated=True))
                for write in outcome.writes:
                    await write(tx)
                took_ms = (time.perf_counter() - began) * 1000
                await inbox.record(tx, key, kind, took_ms, now=self._store.now)
                entries = await self.put(tx, key.function, outcome.events)
        except _Settled as settled:
            logger.info("the same request was settled meanwhile: its answer is used")
            return settled.answered
        self.deliver(entries)
        return Answered(outcome.answer, repeated=False)

    async def fail(
        self,
        key: Key,
        kind: str,
        took_ms: float,
        failure: Exception,
        events: Sequence[cloudevents.Message] = (),
    ) -> None:
        """Record a run that failed, and send the facts that are true all the same."""
        try:
            async with self._store.transaction() as tx:
                await inbox.record(tx, key, kind, took_ms, failure, now=self._store.now)
                entries = await self.put(tx, key.function, events)
        except FunctionError as error:
            logger.warning("could not record the failed run: %s", error)
            return
        self.deliver(entries)

    async def put(
        self,
        tx: Connection,
        function: str,
        messages: Sequence[cloudevents.Message],
        *,
        is_call: bool = False,
        ordered: bool = True,
    ) -> list[outbox.Entry]:
        """Store events, or calls, as the last statement of a transaction; `deliver` them after its
        commit."""
        lease = self.relay.room_for(messages)
        return await outbox.put(
            tx, function, messages, lease=lease, is_call=is_call, ordered=ordered
        )

    def deliver(self, entries: Sequence[outbox.Entry]) -> None:
        """Send what a transaction has committed."""
        if entries:
            self.relay.start()
            self.relay.deliver(entries)

    async def close(self) -> None:
        await self.relay.close()
        await self.claims.close()
