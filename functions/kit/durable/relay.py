"""The relay: sends committed events, in order per partition key, many keys at once.

A process sends what it has committed right after its commit, from memory. Every process also looks
for rows that nobody has leased: of a process that died, of one that gave back what it could not
send before its end, and of attempts that failed. So a row is sent at the latest `LEASE_S` plus
`SWEEP_S` seconds after whoever held it has gone, as long as one process of the database is awake.

An event may be sent twice (a process dies between the broker's answer and the row's deletion); it
has the same source and id both times.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Coroutine, Iterable, Sequence
from contextvars import Context as ContextVars
from typing import TYPE_CHECKING, Any, Protocol

from functions.kit.clients.broker import Refused
from functions.kit.durable import outbox
from functions.kit.durable.outbox import LEASE_S, Entry
from functions.kit.errors import FunctionError, shortened

if TYPE_CHECKING:
    from functions.kit import cloudevents
    from functions.kit.durable.database import Store

logger = logging.getLogger(__name__)

SWEEP_S = 15.0  # longest pause between two looks at the table
MIN_PAUSE_S = 0.05
MIN_BACKOFF_S = 0.2
GATHER_S = 0.02  # rows that hold up no other are deleted together
MAX_BACKOFF_S = 30.0
MAX_IN_FLIGHT = 512  # rows leased by one process


class Sender(Protocol):
    """The way to the sink; `functions.kit.clients.broker.Publisher` is one."""

    async def publish(self, messages: Sequence[cloudevents.Message]) -> None:
        """Send; raise `Refused`, or a `FunctionError` after which it is sent again."""

    async def bury(self, message: cloudevents.Message, status: int) -> None:
        """Send what the sink refused to the dead letters."""


class Relay:
    """Sends the events of one process's database to its sink."""

    def __init__(self, store: Store, publisher: Sender) -> None:
        self._store = store
        self._publisher = publisher
        self._in_flight: set[int] = set()
        self._sent: list[int] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._pause_s = MIN_PAUSE_S
        self._others_wait = False  # behind a row of their partition key
        self._holds_up = False  # may a sent row have others behind it?
        self._deleting: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def accepts(self) -> bool:
        """Can this process send what it commits right away? Otherwise the rows wait their turn."""
        return not self._closing and len(self._in_flight) < MAX_IN_FLIGHT

    def start(self) -> None:
        """Look for rows to send from now on."""
        if not self._loops and not self._closing:
            self._loops = [self._spawn(self._keep_sweeping()), self._spawn(self._prolong())]

    def deliver(self, entries: Iterable[Entry], *, waiting: bool = False) -> None:
        """Send rows that this process has leased. `waiting`: there are others, not yet leased."""
        chains: dict[str | int, list[Entry]] = {}
        for entry in entries:
            self._in_flight.add(entry.number)
            chains.setdefault(entry.partition_key or entry.number, []).append(entry)
        for chain in chains.values():
            task = self._spawn(self._send_in_order(chain))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if waiting:
            self._others_wait = True
            self._look_soon()

    async def idle(self) -> None:
        """Return when every row that this process has leased was sent or has failed."""
        while self._tasks or (self._deleting and not self._deleting.done()):
            await asyncio.wait({*self._tasks, *([self._deleting] if self._deleting else [])})

    async def close(self, drain_s: float = 10.0) -> None:
        """Send what is left for at most so long, then give the rest back."""
        self._closing = True
        for loop in self._loops:
            loop.cancel()
        try:
            async with asyncio.timeout(drain_s):
                await self.idle()
        except TimeoutError:
            logger.warning("%d events are left to other processes", len(self._in_flight))
        for task in self._tasks:
            task.cancel()
        if self._in_flight:
            try:
                await outbox.release(self._store, self._in_flight)
            except FunctionError as error:
                logger.warning("leased events wait for their lease to end: %s", error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        # A context of its own: whoever committed the rows may be inside a transaction or a trace.
        return asyncio.create_task(work, context=ContextVars())

    def _look_soon(self) -> None:
        self._pause_s = MIN_PAUSE_S
        self._wake.set()

    async def sweep(self) -> int:
        """Take over rows that nobody has leased, and send them; return how many."""
        room = MAX_IN_FLIGHT - len(self._in_flight)
        found = await outbox.lease(self._store, room) if room > 0 else []
        self.deliver(found)
        if found:
            self._pause_s = MIN_PAUSE_S
        elif not self._in_flight:
            self._others_wait = False
        return len(found)

    async def _keep_sweeping(self) -> None:
        while True:
            self._wake.clear()
            try:
                await self.sweep()
            except FunctionError as error:
                logger.warning("cannot look for events to send: %s", error)
            try:
                async with asyncio.timeout(self._pause_s * random.uniform(0.8, 1.0)):
                    await self._wake.wait()
            except TimeoutError:
                self._pause_s = min(self._pause_s * 2, SWEEP_S)

    async def _prolong(self) -> None:
        while True:
            await asyncio.sleep(LEASE_S / 3)
            if self._in_flight:
                try:
                    await outbox.prolong(self._store, list(self._in_flight))
                except FunctionError as error:
                    logger.warning("cannot keep the lease on events: %s", error)

    async def _send_in_order(self, chain: list[Entry]) -> None:
        """Send the rows of one partition key; what follows a failed one waits for it."""
        for place, entry in enumerate(chain):
            try:
                await self._send(entry)
            except Exception as error:
                if not isinstance(error, FunctionError):
                    logger.error("cannot send event %s", entry.message.id, exc_info=error)
                await self._failed(entry, str(error), [e.number for e in chain[place + 1 :]])
                return
            self._sent.append(entry.number)
            self._holds_up = self._holds_up or entry.partition_key is not None
            if self._deleting is None or self._deleting.done():
                self._deleting = self._spawn(self._delete())

    async def _send(self, entry: Entry) -> None:
        if entry.refusal is None:
            try:
                await self._publisher.publish([entry.message])
            except Refused as error:
                logger.error("event %s is a dead letter: %s", entry.message.id, error.detail)
                await outbox.refuse(self._store, entry.number, error.answered)
                await self._publisher.bury(entry.message, error.answered)
        else:
            await self._publisher.bury(entry.message, entry.refusal)

    async def _failed(self, entry: Entry, detail: str, following: list[int]) -> None:
        backoff_s = min(MIN_BACKOFF_S * 2.0 ** min(entry.attempts, 9), MAX_BACKOFF_S)
        logger.warning("event %s is sent again in %g s: %s", entry.message.id, backoff_s, detail)
        try:
            await outbox.postpone(self._store, entry.number, shortened(detail), backoff_s)
            if following:
                await outbox.release(self._store, following)
        except FunctionError as unsaid:
            logger.warning("failed events wait for their lease to end: %s", unsaid)
        self._in_flight -= {entry.number, *following}
        self._look_soon()

    async def _delete(self) -> None:
        """Delete sent rows: those that were sent meanwhile share a statement."""
        while self._sent:
            if not (self._holds_up or self._closing):
                await asyncio.sleep(GATHER_S)
            numbers, self._sent, self._holds_up = self._sent, [], False
            try:
                await outbox.delete(self._store, numbers)
            except FunctionError as error:
                logger.warning("sent events may be sent again: %s", error)
            self._in_flight.difference_update(numbers)
            if self._others_wait:
                self._look_soon()
