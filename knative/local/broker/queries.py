"""What can be read of a broker."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from knative.local.broker.reader import Reader
from knative.local.broker.records import EventRecord, Wanted

T = TypeVar("T")


class Queries:
    """Each sees all that the broker has done before."""

    async def _fresh(self, query: Callable[..., T], *arguments: object) -> T:
        raise NotImplementedError

    async def events(
        self, type: str | None = None, since: int | None = None, limit: int = 100
    ) -> list[EventRecord]:
        """Events with deliveries and attempts, oldest first: after `since`, or the latest."""
        found = await self.search(Wanted(type=type, after=since, limit=limit))
        return found if since is not None else found[::-1]

    async def search(self, wanted: Wanted) -> list[EventRecord]:
        """Events with deliveries and attempts, newest first unless `after` is given."""
        return await self._fresh(Reader.search, wanted)

    async def ids(self, beginning: str) -> list[str]:
        """Up to five ids of events that begin so."""
        return await self._fresh(Reader.ids, beginning)

    async def caused_by(self, record: EventRecord) -> EventRecord | None:
        """The event that this one was made for, where it says so or is an answer."""
        return await self._fresh(Reader.caused_by, record)

    async def caused(self, record: EventRecord) -> list[EventRecord]:
        """The events that were made for this one, oldest first."""
        return await self._fresh(Reader.caused, record)

    async def values(self) -> dict[str, list[str]]:
        """What there is to search for, by filter."""
        return await self._fresh(Reader.values)

    async def dead_letters(self, limit: int = 100) -> list[EventRecord]:
        """The latest events with a delivery that was dead-lettered or failed."""
        return await self._fresh(Reader.lost, limit)

    async def counts(self) -> dict[str, int]:
        """Deliveries by state, and "events"."""
        return await self._fresh(Reader.counts)
