"""Group commit: what arrives while one transaction is written goes into the next one.

Alone, a write that a caller waits for is made at once. One without a caller (the outcome of
a delivery) lingers a moment for company, which spares a lone event its second sync of the disk.
Used from the event loop; the writing happens in one thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from knative.local.broker.store import Batch

logger = logging.getLogger(__name__)

# Called on the event loop when a batch is durable (None), or could not be written.
Then = Callable[[Exception | None], None]

LINGER_S = 0.005


class Journal:
    """Collects rows in a batch and commits them through `commit`, one batch at a time."""

    def __init__(self, commit: Callable[[Batch], None]) -> None:
        self._commit = commit
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="broker-journal")
        self._batch = Batch()
        self._then: list[Then] = []
        self._writing = False  # a batch is being written, or is about to be
        self._lingering: asyncio.TimerHandle | None = None

    def open_batch(self, then: Then | None = None) -> Batch:
        """The batch to add rows to, now; `then` is called once they are durable."""
        if then is not None:
            self._then.append(then)
        if not self._writing:
            if then is not None:
                # Not at once: what else this round of the loop brings goes into the same batch.
                self._writing = True
                if self._lingering is not None:
                    self._lingering.cancel()
                asyncio.get_running_loop().call_soon(self._write)
            elif self._lingering is None:
                self._linger()
        return self._batch

    @property
    def idle(self) -> bool:
        """True when all that was added is durable."""
        return not self._writing and self._lingering is None

    async def flush(self) -> None:
        """Wait until all that was added is durable. Raises what the writing raised."""
        if self.idle:
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def settle(error: Exception | None) -> None:
            if done.done():
                return
            if error:
                done.set_exception(error)
            else:
                done.set_result(None)

        self.open_batch(settle)
        await done

    async def run(self, work: Callable[..., int], *arguments: object) -> int:
        """What `work` returns, done between two batches."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def close(self) -> None:
        """Store what was added and end the thread, so that who owns the file may close it.

        What `run` was given goes on in the thread though its caller was cancelled, and SQLite ends
        the process when a connection is closed under a statement.
        """
        try:
            await self.flush()
        finally:
            await asyncio.to_thread(self._thread.shutdown)

    def _linger(self) -> None:
        self._lingering = asyncio.get_running_loop().call_later(LINGER_S, self._write)

    def _write(self) -> None:
        self._writing, self._lingering = True, None
        batch, then = self._batch, self._then
        self._batch, self._then = Batch(), []
        loop = asyncio.get_running_loop()

        def work() -> None:
            failed: Exception | None = None
            try:
                self._commit(batch)
            except Exception as error:
                logger.exception("a batch could not be stored")
                failed = error
            loop.call_soon_threadsafe(self._written, then, failed)

        self._thread.submit(work)

    def _written(self, then: list[Then], error: Exception | None) -> None:
        for call in then:
            call(error)
        if self._then:
            self._write()
        else:
            self._writing = False
            if self._batch:
                self._linger()
