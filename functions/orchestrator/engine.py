"""Group commit: what arrives while a batch is being written makes up the next one.

An item that comes alone is taken at once. An answer to `submit` means that the item is durable;
the events that it caused are in the outbox by then, and leave right after.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Awaitable, Callable
from datetime import datetime

import asyncpg
import stamina

from functions.events.saga import RunEnded
from functions.kit import wire
from functions.kit.durable.database import Connection, Store
from functions.kit.errors import PermanentError, TemporaryError, shortened
from functions.orchestrator.batch import Batch, Done, Item, Outcome
from functions.orchestrator.decide.model import Run
from functions.orchestrator.runs import Known

logger = logging.getLogger(__name__)

MOST_ITEMS = 256
# So many items are worth a transaction of their own: another lane decides while one commits.
WORTH_A_LANE = 16
# Classes of errors of PostgreSQL. The first are of connections, transactions that cannot write or
# met others, resources, locks, operators; the others are of values: no other day will do.
_NOBODYS_FAULT = ("08", "25", "28", "3D", "40", "53", "55", "57", "58")
_NEVER = ("22", "23", "54")
Send = Callable[[wire.Message], Awaitable[None]]
Waiting = tuple[Item, asyncio.Future[Done]]


class Engine:
    """One process's way to change runs. Make one for each process; close it before its store."""

    def __init__(
        self,
        store: Store,
        send: Send,
        now: Callable[[], datetime],
        *,
        lanes: int = 2,
    ) -> None:
        self._store = store
        self._send = send
        self._now = now
        self._lanes = lanes
        self._queue: deque[Waiting] = deque()
        self._working: set[asyncio.Task[None]] = set()
        self._sending: set[asyncio.Task[None]] = set()
        self._watchers: dict[str, set[asyncio.Future[Run]]] = {}
        self._sent: list[str] = []
        self._writing = 0
        self._closing = False
        self.ended: Counter[str] = Counter()
        self.in_flight: set[str] = set()
        self.known: Known = {}
        self.on_due: Callable[[datetime], None] = lambda at: None

    async def submit(self, item: Item) -> Done:
        """Let an item happen; returns when that is durable, or raises what it failed with."""
        future: asyncio.Future[Done] = asyncio.get_running_loop().create_future()
        self._queue.append((item, future))
        self._wake()
        return await future

    def _wake(self, done: asyncio.Task[None] | None = None) -> None:
        """See that somebody works while there is something to do, also when somebody stops."""
        if done is not None:
            self._working.discard(done)
        if self._queue and len(self._working) < self._lanes:
            task = asyncio.create_task(self._work())
            self._working.add(task)
            task.add_done_callback(self._wake)

    def watch(self, flow_id: str) -> asyncio.Future[Run]:
        """The run as this process sees it end; give the future back to `unwatch`."""
        future: asyncio.Future[Run] = asyncio.get_running_loop().create_future()
        self._watchers.setdefault(flow_id, set()).add(future)
        return future

    def unwatch(self, flow_id: str, future: asyncio.Future[Run]) -> None:
        """Stop watching."""
        future.cancel()
        futures = self._watchers.get(flow_id, set())
        futures.discard(future)
        if not futures:
            self._watchers.pop(flow_id, None)

    def publish(self, message: wire.Message) -> None:
        """Send one event of the outbox; one that cannot leave now is sent again later."""
        if message.id in self.in_flight:
            return
        self.in_flight.add(message.id)
        task = asyncio.create_task(self._publish(message))
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    def take_sent(self) -> list[str]:
        """The events that have left and are still in the outbox; the caller forgets them there."""
        sent, self._sent = self._sent, []
        return sent

    async def close(self) -> None:
        """Finish what has begun; what cannot leave now stays in the outbox."""
        self._closing = True
        for tasks in (self._working, self._sending):
            while tasks:
                await asyncio.gather(*tasks, return_exceptions=True)

    async def _publish(self, message: wire.Message) -> None:
        try:
            try:
                await self._send(message)
            except TemporaryError:
                await self._send_again(message)
            self._sent.append(message.id)
        except Exception as error:
            logger.warning("event %s stays in the outbox: %s", message.id, error)
        finally:
            self.in_flight.discard(message.id)

    async def _send_again(self, message: wire.Message) -> None:
        """A broker that is away for a moment costs a moment, and not until the next sweep."""
        async for attempt in stamina.retry_context(
            on=self._worth_another, attempts=10, timeout=30, wait_initial=0.1, wait_max=3
        ):
            with attempt:
                await self._send(message)

    def _worth_another(self, error: Exception) -> bool:
        return isinstance(error, TemporaryError) and not self._closing

    async def _work(self) -> None:
        connected = False
        try:
            async with self._store.connection() as connection:
                connected = True
                while self._queue:
                    taken = self._taken()
                    self._writing += 1
                    try:
                        await self._batch(connection, taken)
                    finally:
                        self._writing -= 1
        except Exception as error:
            if connected:
                return  # those taken know; who still waits gets another connection
            # The database is away: everybody who waits is told, and comes again.
            while self._queue:
                _fail(self._queue.popleft()[1], error)

    def _taken(self) -> list[Waiting]:
        """What one lane takes now: its share, so that the others have something to do."""
        share = max(WORTH_A_LANE, -(-len(self._queue) // (self._lanes - self._writing)))
        count = min(len(self._queue), share, MOST_ITEMS)
        return [self._queue.popleft() for _ in range(count)]

    async def _batch(self, connection: Connection, taken: list[Waiting]) -> None:
        """Let what was taken happen, and answer it. What spoils it for the others is left alone.

        Raises what is no item's fault; nobody of `taken` waits any more, or is back in the queue.
        """
        sent = self.take_sent()
        try:
            outcome = await self._transact(connection, [item for item, _ in taken], sent)
        except Exception as error:
            self._sent += sent
            if (said := _away(error)) is not None:
                for _, future in taken:
                    _fail(future, said)
                raise
            await self._divide(connection, taken, error)
            return
        except BaseException as error:
            self._sent += sent
            for _, future in taken:
                _fail(future, error)
            raise
        for (_, future), result in zip(taken, outcome.results, strict=True):
            if isinstance(result, Exception):
                _fail(future, result)
            elif not future.done():
                future.set_result(result)
        self._after(outcome)

    async def _divide(self, connection: Connection, taken: list[Waiting], error: Exception) -> None:
        """Find out whose fault an error is."""
        if len(taken) == 1:
            item, future = taken[0]
            logger.error("cannot take %.1000r", item, exc_info=error)
            _fail(future, _refusal(error))
            return
        half = len(taken) // 2
        try:
            await self._batch(connection, taken[:half])
        except BaseException:
            self._queue.extendleft(reversed(taken[half:]))
            raise
        await self._batch(connection, taken[half:])

    async def _transact(
        self, connection: Connection, items: list[Item], sent: list[str]
    ) -> Outcome:
        async with connection.transaction():
            batch = Batch(connection, self.known, self._now())
            return await batch.process(items, sent)

    def _after(self, outcome: Outcome) -> None:
        for message in outcome.messages:
            self.publish(message)
            if message.type == RunEnded.type:
                self.ended[message.extensions["status"]] += 1
        for run in outcome.ended:
            for future in self._watchers.get(run.flow_id, ()):
                if not future.done():
                    future.set_result(run)
        if outcome.due_at is not None:
            self.on_due(outcome.due_at)


def _fail(future: asyncio.Future[Done], error: BaseException) -> None:
    if not future.done():
        future.set_exception(error)


def _away(error: Exception) -> TemporaryError | None:
    """What is said to everybody where the database is the trouble; None where an item may be.

    An InternalClientError is what a connection says that is killed between two messages.

    >>> _away(asyncpg.InternalClientError("another operation is in progress"))
    TemporaryError('database: another operation is in progress')
    """
    if isinstance(error, OSError | asyncpg.InterfaceError | asyncpg.InternalClientError) or (
        isinstance(error, asyncpg.PostgresError) and (error.sqlstate or "")[:2] in _NOBODYS_FAULT
    ):
        return TemporaryError(f"database: {shortened(str(error)) or type(error).__name__}")
    return None


def _refusal(error: Exception) -> Exception:
    """What is said of an item that failed all alone."""
    if isinstance(error, asyncpg.PostgresError):
        said = f"database: {shortened(str(error))}"
        never = (error.sqlstate or "")[:2] in _NEVER
        return PermanentError(said) if never else TemporaryError(said, delay_s=10)
    return error
