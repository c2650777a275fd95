"""The relay: sends committed events, in order per partition key, many keys at once.

A process sends what it has committed right after its commit, from memory. Every process also looks
for rows without a lease: of a process that died, of one that gave back what it could not
send before its end, and of attempts that failed. So a row is sent at the latest `LEASE_S` plus
`SWEEP_S` seconds after its holder has gone, as long as one process of the database is awake.

A function may commit calls of services as well (`makes`): they are made as events are sent, by any
process of that function.

An event may be sent twice (a process dies between the broker's answer and the row's deletion); it
has the same source and id both times.
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import suppress
from contextvars import Context as ContextVars
from typing import TYPE_CHECKING, Any

from functions.kit.durable import outbox
from functions.kit.durable.backoff import backoff_s
from functions.kit.durable.delivery import Call, Delivery, Sender
from functions.kit.durable.outbox import LEASE_S, MAX_BYTES, Entry
from functions.kit.durable.turns import Turns
from functions.kit.errors import FunctionError, shortened

if TYPE_CHECKING:
    from functions.kit.cloudevents import Message
    from functions.kit.durable.database import Store

logger = logging.getLogger(__name__)

SWEEP_S = 15.0  # longest pause between two looks at the table
MIN_PAUSE_S = 0.05
POLL_S = 0.25  # between two looks for what another process sends
MIN_BACKOFF_S = 0.2
GATHER_S = 0.02  # rows that hold up no other are deleted together
MANY_CHAINS = 8  # so are all, while so many keys are being sent: each deletion is a commit
MAX_BACKOFF_S = 30.0
MAX_IN_FLIGHT = 512  # rows leased by one process
LEASE_ROWS, LEASE_BYTES = 64, 1024 * 1024  # read back at once: reading holds up the event loop
MAX_AT_ONCE = 128  # sends
MAX_UNDER_LOAD = 4  # the same while there is more urgent work


class Relay:
    """Sends the events of one process's database to its sink, and makes a function's calls."""

    def __init__(self, store: Store, publisher: Sender) -> None:
        self._store = store
        self._delivery = Delivery(store, publisher)
        self._in_flight: dict[int, Entry] = {}
        self._sent: list[int] = []
        self._tasks: set[asyncio.Task[None]] = set()
        self._loops: list[asyncio.Task[None]] = []
        self._wake = asyncio.Event()
        self._moved = asyncio.Event()  # set when rows were sent, or an attempt has failed
        self._pause_s = MIN_PAUSE_S
        self._behind: set[str] = set()  # partition keys of rows that wait for an earlier one
        self._is_full = False  # do rows wait until others have left?
        self._holds_up = False  # may a sent row have others behind it?
        self._deleting: asyncio.Task[None] | None = None
        self._closing = False
        self._turns = Turns(MAX_AT_ONCE, MAX_UNDER_LOAD)

    def yield_to(self, is_under_load: Callable[[], bool]) -> None:
        """Send few at once while the process has more urgent work to do."""
        self._turns.is_under_load = is_under_load

    def makes(self, function: str, calls: Mapping[str, Call]) -> None:
        """Make the calls of `function`, by their type; what one raises is treated as a sink's."""
        self._delivery.makes(function, calls)

    def room_for(self, messages: Sequence[Message]) -> int:
        """How many of them, from the first on, this process can send right after the commit; the
        others wait in the table for their turn."""
        if self._closing:
            return 0
        rows, size = self._room()
        for place, message in enumerate(messages[:rows]):
            size -= len(message.data)
            if size < 0:
                return place
        return min(len(messages), max(0, rows))

    def _room(self) -> tuple[int, int]:
        """How many rows more, and of how many bytes, this process may lease."""
        used = sum(len(entry.message.data) for entry in self._in_flight.values())
        return MAX_IN_FLIGHT - len(self._in_flight), MAX_BYTES - used

    def start(self) -> None:
        """Look for rows to send from now on."""
        if not self._loops and not self._closing:
            self._loops = [self._spawn(self._keep_sweeping()), self._spawn(self._prolong())]

    def deliver(self, entries: Sequence[Entry]) -> None:
        """Send committed rows: those that this process has leased now, others in their turn."""
        chains: dict[str | int, list[Entry]] = {}
        waiting = [entry for entry in entries if not entry.leased]
        for entry in entries:
            if entry.leased:
                self._in_flight[entry.number] = entry
                chains.setdefault(entry.partition_key or entry.number, []).append(entry)
        for chain in chains.values():
            task = self._spawn(self._send_in_order(chain))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        if waiting:
            self._behind |= {entry.partition_key for entry in waiting if entry.partition_key}
            self._look_if_free(entry.partition_key for entry in waiting)

    async def idle(self) -> None:
        """Return when every row that this process has leased was sent or has failed."""
        while self._tasks or (self._deleting and not self._deleting.done()):
            await asyncio.wait({*self._tasks, *([self._deleting] if self._deleting else [])})

    async def until_sent(self, key: str, timeout_s: float, receiver: str) -> str | None:
        """Return None once `receiver` has got all calls of a partition key, or else why not.

        What waits for its next attempt, or is with another process, is made now: a receiver knows
        a call that comes twice by its id.
        """
        deadline = time.monotonic() + timeout_s
        first = await outbox.first_of(self._store, key)
        if first and first.number not in self._in_flight:
            await outbox.release(self._store, [first.number])
            self._look_soon()
        failed = {first.number: first.attempts} if first else {}
        while first is not None:
            if first.attempts > failed.get(first.number, 0):
                return first.detail
            remaining_s = deadline - time.monotonic()
            if remaining_s <= 0:
                return f"{receiver}: no answer within {timeout_s:g} s"
            with suppress(TimeoutError):
                async with asyncio.timeout(min(remaining_s, POLL_S)):
                    await self._moved.wait()
            self._moved.clear()
            first = await outbox.first_of(self._store, key)
        return None

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
        left = list(self._in_flight)  # what is cancelled is in flight no more
        for task in self._tasks:
            task.cancel()
        if left:
            try:
                await outbox.release(self._store, left)
            except FunctionError as error:
                logger.warning("leased events wait for their lease to end: %s", error)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        # A context of its own: the task that committed the rows may be in a transaction or a trace.
        return asyncio.create_task(work, context=ContextVars())

    def _look_if_free(self, keys: Iterable[str | None]) -> None:
        """Look for rows of these keys, unless each waits for one that we are sending."""
        ours = {entry.partition_key for entry in self._in_flight.values()} - {None}
        if set(keys) - ours:
            self._look_soon()

    def _look_soon(self) -> None:
        self._pause_s = MIN_PAUSE_S
        self._wake.set()

    async def sweep(self) -> int:
        """Lease the rows without a lease, and send them; return how many."""
        room, room_bytes = self._room()
        if room <= 0 or room_bytes <= 0:
            self._is_full = True
            return 0
        behind, self._behind = self._behind, set()
        limits = min(room, LEASE_ROWS), min(room_bytes, LEASE_BYTES)
        found = await outbox.lease(self._store, *limits, self._delivery.caller)
        self.deliver(found)
        if found:
            self._pause_s = MIN_PAUSE_S
        if self._in_flight:
            self._behind |= behind
        return len(found)

    async def _keep_sweeping(self) -> None:
        while True:
            self._wake.clear()
            self._turns.give()  # the load may have ended while all that are sending hang
            try:
                await self.sweep()
            except Exception as error:  # as of a migration that is behind: it may be there soon
                _warn("cannot look for events to send", error)
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
                except Exception as error:
                    _warn("cannot keep the lease on events", error)

    async def _send_in_order(self, chain: list[Entry]) -> None:
        """Send the rows of one partition key; what follows a failed one waits for it."""
        for place, entry in enumerate(chain):
            try:
                async with self._turns:
                    is_sent = await self._delivery.send(entry)
            except Exception as error:
                if not isinstance(error, FunctionError):
                    logger.error("cannot send event %s", entry.message.id, exc_info=error)
                await self._failed(entry, str(error), [e.number for e in chain[place + 1 :]])
                return
            except BaseException:  # cancelled: the rest is in flight no more
                for unsent in chain[place:]:
                    self._in_flight.pop(unsent.number, None)
                raise
            if not is_sent:
                self._in_flight.pop(entry.number, None)
                self._moved.set()
                continue
            self._sent.append(entry.number)
            self._holds_up = self._holds_up or entry.partition_key is not None
            if self._deleting is None or self._deleting.done():
                self._deleting = self._spawn(self._delete())

    async def _failed(self, entry: Entry, detail: str, following: list[int]) -> None:
        pause_s = backoff_s(entry.attempts, MIN_BACKOFF_S, MAX_BACKOFF_S)
        logger.warning("event %s is sent again in %g s: %s", entry.message.id, pause_s, detail)
        try:
            await outbox.postpone(self._store, entry.number, shortened(detail), pause_s)
            if following:
                await outbox.release(self._store, following)
        except FunctionError as unsaid:
            logger.warning("failed events wait for their lease to end: %s", unsaid)
        for number in (entry.number, *following):
            self._in_flight.pop(number, None)
        self._moved.set()
        self._look_soon()

    async def _delete(self) -> None:
        """Delete sent rows: those that were sent meanwhile share a statement."""
        while self._sent:
            is_urgent = self._closing or (self._holds_up and len(self._tasks) < MANY_CHAINS)
            if not is_urgent:
                await asyncio.sleep(GATHER_S)
            numbers, self._sent, self._holds_up = self._sent, [], False
            try:
                await outbox.delete(self._store, numbers)
            except Exception as error:
                _warn("sent events may be sent again", error)
            for number in numbers:
                self._in_flight.pop(number, None)
            self._moved.set()
            if self._is_full:
                self._is_full = False
                self._look_soon()
            self._look_if_free(self._behind)


def _warn(what: str, error: Exception) -> None:
    """What the next round may mend; an error that is none of ours has its traceback."""
    known = isinstance(error, FunctionError)
    logger.warning("%s: %s", what, error, exc_info=None if known else error)
