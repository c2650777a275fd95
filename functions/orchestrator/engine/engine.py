"""The engine: applies the inputs of runs in group commits, and sends their events.

An answer to `submit` means that the item is durable; the events that it caused are in the outbox by
then, and leave right after.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from functions.events.saga import RunEnded
from functions.kit.durable import Connection, Entry, GroupCommit, Relay, Store, Written, outbox
from functions.orchestrator.decide.model import Run
from functions.orchestrator.engine.batch import Batch, Done, Item, Outcome
from functions.orchestrator.engine.deduplication import FUNCTION
from functions.orchestrator.engine.run_store import Known


class Engine:
    """One process's way to change runs. Make one for each process; close it before its store."""

    def __init__(
        self,
        store: Store,
        relay: Relay,
        now: Callable[[], datetime],
        *,
        concurrency: int = 2,
    ) -> None:
        self._relay = relay
        self._now = now
        self._commits: GroupCommit[Item, Done] = GroupCommit(
            store.transaction, self._write, concurrency=concurrency
        )
        self._watchers: dict[str, set[asyncio.Future[Run]]] = {}
        self.ended: Counter[str] = Counter()
        self.known: Known = {}
        self.on_due: Callable[[datetime], None] = lambda at: None

    async def submit(self, item: Item) -> Done:
        """Let an item happen; returns when that is durable, or raises what it failed with."""
        return await self._commits.submit(item)

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

    async def close(self) -> None:
        """Finish what has begun."""
        await self._commits.close()

    async def _write(self, tx: Connection, items: Sequence[Item]) -> Written[Done]:
        outcome = await Batch(tx, self.known, self._now()).process(items)
        # Unordered: a command goes when its run allows it, whatever else of the run is on its way.
        room = self._relay.room_for(outcome.messages)
        entries = await outbox.put(tx, FUNCTION, outcome.messages, lease=room, ordered=False)
        return Written(outcome.results, partial(self._committed, outcome, entries))

    def _committed(self, outcome: Outcome, entries: Sequence[Entry]) -> None:
        self._relay.deliver(entries)
        for message in outcome.messages:
            if message.type == RunEnded.type:
                self.ended[message.extensions["status"]] += 1
        for run in outcome.ended:
            for future in self._watchers.get(run.flow_id, ()):
                if not future.done():
                    future.set_result(run)
        if outcome.due_at is not None:
            self.on_due(outcome.due_at)
