"""Sending what the ledger holds: at least once, in the background, with the id that it came with.

A process leases the rows that it sends, and holds them as long as it lives, so two processes never
send one at once; the rows of one that dies are due again when the lease ends, and the next sends
them: with the same id and source, by which every inbox knows them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from functions.kit import cloudevents
from functions.kit.clients.broker import Publisher
from functions.kit.durable.database import Store
from functions.kit.errors import FunctionError, PermanentError, TemporaryError, shortened
from functions.webhook_receiver import tables

logger = logging.getLogger(__name__)

AT_ONCE = 16
MOST_BYTES = 8 * 1024 * 1024
LONGEST_PAUSE_S = 60.0
LONGEST_WAY_S = 1.0
LEASE_S = 15.0


@dataclass
class _Flying:
    """What is on its way to the broker."""

    sends: dict[asyncio.Task[None], tables.Claimed] = field(default_factory=dict)

    @property
    def size(self) -> int:
        return sum(len(row.data) for row in self.sends.values())


class Relay:
    """One process's relay; it runs from the first `wake` on."""

    def __init__(
        self,
        store: Store,
        publisher: Publisher,
        overrides: Mapping[str, str],
        crowded: Callable[[], bool],
    ) -> None:
        self._store = store
        self._publisher = publisher
        self._overrides = overrides
        self._crowded = crowded
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._draining: set[asyncio.Future[float | None]] = set()
        self._turn = asyncio.Lock()
        self._closing = False

    def wake(self) -> None:
        """There may be something to send."""
        self._woken.set()
        if self._task is None and not self._closing:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop once what flies is marked: killing it would send it twice."""
        self._closing = True
        self._woken.set()
        if self._task is not None:
            await self._task
        await asyncio.gather(*self._draining, return_exceptions=True)

    async def drain(self, patience_s: float = float("inf")) -> float | None:
        """Send what is due; returns the seconds until more is, or None if nothing waits.

        What arrives meanwhile is taken along; one that the broker is slow with holds up no other.
        Takes no more once nothing but failures came back, or patience runs out.
        """
        deadline = time.monotonic() + patience_s
        async with self._turn:
            flying = _Flying()
            keeping = asyncio.create_task(self._keep(flying))
            try:
                going_on = True
                while True:
                    if going_on and not self._closing and time.monotonic() < deadline:
                        await self._take(flying)
                    if not flying.sends:
                        break
                    done = await self._landed(flying)
                    if done:
                        going_on = await self._mark(done)
                        await self._give_way()
            finally:
                keeping.cancel()
            async with self._store.connection() as connection:
                return await tables.seconds_to_next(connection)

    async def _take(self, flying: _Flying) -> None:
        """Let as many more fly as there are places for."""
        self._woken.clear()
        room, room_bytes = AT_ONCE - len(flying.sends), MOST_BYTES - flying.size
        if room <= 0 or room_bytes <= 0:
            return
        async with self._store.transaction() as tx:
            rows = await tables.claim(tx, room, room_bytes, LEASE_S, alone=not flying.sends)
        for row in rows:
            flying.sends[asyncio.create_task(self._send(row))] = row

    async def _landed(self, flying: _Flying) -> list[tuple[tables.Claimed, BaseException | None]]:
        """Wait until some are answered, or more has come for a free place."""
        more = asyncio.create_task(self._woken.wait())
        await asyncio.wait([*flying.sends, more], return_when=asyncio.FIRST_COMPLETED)
        more.cancel()
        done = [send for send in flying.sends if send.done()]
        return [(flying.sends.pop(send), send.exception()) for send in done]

    async def _keep(self, flying: _Flying) -> None:
        """Hold what flies for ourselves as long as we live: who dies lets go of it soon."""
        while True:
            await asyncio.sleep(LEASE_S / 3)
            try:
                async with self._store.connection() as connection:
                    numbers = [row.number for row in flying.sends.values()]
                    await tables.hold(connection, numbers, LEASE_S)
            except FunctionError as error:
                logger.warning("cannot hold deliveries: %s", error)

    async def progress(self, patience_s: float) -> None:
        """Send what is due, for at most so long; what is in hand then goes on by itself."""
        draining = asyncio.ensure_future(self.drain(patience_s))
        self._draining.add(draining)
        draining.add_done_callback(self._draining.discard)
        done, _ = await asyncio.wait([draining], timeout=patience_s)
        for task in done:
            task.result()

    @property
    def ticking(self) -> bool:
        """Does a call of `progress` still send?"""
        return bool(self._draining)

    async def _run(self) -> None:
        while not self._closing:
            self._woken.clear()
            try:
                pause_s = await self.drain()
            except FunctionError as error:
                logger.warning("cannot relay deliveries: %s", error)
                pause_s = 5.0
            except Exception as error:
                logger.error("cannot relay deliveries", exc_info=error)
                pause_s = LONGEST_PAUSE_S
            if pause_s is not None:
                pause_s = min(max(pause_s, 0.05), LONGEST_PAUSE_S)
            try:
                async with asyncio.timeout(pause_s):
                    await self._woken.wait()
            except TimeoutError:
                pass

    async def _give_way(self) -> None:
        """Acknowledging comes first, yet a crowd that stays does not stop us."""
        deadline = time.monotonic() + LONGEST_WAY_S
        # An event in place of looking would cost each delivery more than this costs us.
        while self._crowded() and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    async def _mark(self, done: Sequence[tuple[tables.Claimed, BaseException | None]]) -> bool:
        """Note how sends ended; False when not one of them went out."""
        sent = [row.number for row, error in done if error is None]
        async with self._store.transaction() as tx:
            for row, error in done:
                if error is None:
                    continue
                lost = isinstance(error, PermanentError)
                again_in_s = None if lost else min(2.0 ** min(row.attempts, 9), LONGEST_PAUSE_S)
                detail = shortened(f"{type(error).__name__}: {error}")
                level = logging.WARNING if isinstance(error, TemporaryError) else logging.ERROR
                logger.log(level, "delivery %s is not published: %s", row.number, detail)
                await tables.mark_unsent(tx, row.number, detail, again_in_s=again_in_s)
            if sent:
                await tables.mark_published(tx, sent)
        return bool(sent)

    async def _send(self, row: tables.Claimed) -> None:
        await self._publisher.publish([message(row.attributes, row.data, self._overrides)])


def stored(message: cloudevents.Message) -> dict[str, str]:
    """A message's attributes as the ledger keeps them."""
    named = {
        "id": message.id,
        "source": message.source,
        "type": message.type,
        "subject": message.subject,
        "time": message.time,
        "datacontenttype": message.datacontenttype,
    }
    return {name: value for name, value in named.items() if value} | dict(message.extensions)


def message(
    attributes: Mapping[str, str], data: bytes, overrides: Mapping[str, str]
) -> cloudevents.Message:
    """The message of a row of the ledger."""
    core = ("id", "source", "type", "subject", "time", "datacontenttype")
    extensions = {name: value for name, value in attributes.items() if name not in core}
    return cloudevents.Message(
        id=attributes["id"],
        source=attributes["source"],
        type=attributes["type"],
        data=data,
        subject=attributes.get("subject"),
        time=attributes.get("time"),
        datacontenttype=attributes.get("datacontenttype"),
        extensions={**extensions, **overrides},
    )
