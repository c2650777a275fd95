"""The changes of a kind as a client sees them through its selectors, one JSON line each."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence

from knative.local.kube import status
from knative.local.kube.selectors import Match
from knative.local.kube.store import Change, Object, Store

_BUFFER = 10_000


class Watch:
    """Subscribed from the moment it is made, so nothing is missed between a list and the stream."""

    def __init__(
        self,
        store: Store,
        kind: str,
        namespace: str | None,
        match: Match,
        since: int | None,
    ) -> None:
        self._kind, self._namespace, self._match = kind, namespace, match
        self._changes: asyncio.Queue[Change | None] = asyncio.Queue()
        self._first: Sequence[tuple[str, Object]] = ()
        self._expired: status.ApiError | None = None
        self._unlisten = store.listen(self._hear)
        if since is None or since == 0:
            found = store.select(kind, namespace)
            self._first = [("ADDED", body) for body in found if match(body)]
        elif since < store.oldest:
            self._expired = status.expired(since, store.oldest)
        else:
            for change in store.history:
                if change.version > since:
                    self._hear(change)

    def close(self) -> None:
        """Stop listening and end the stream."""
        self._unlisten()
        self._unlisten = _nothing
        self._changes.put_nowait(None)

    async def lines(self) -> AsyncIterator[bytes]:
        """`{"type": ..., "object": ...}` per change; an ERROR (410) if history is too short."""
        if self._expired is not None:
            yield _line("ERROR", self._expired.body())
            return
        for kind, body in self._first:
            yield _line(kind, body)
        while (change := await self._changes.get()) is not None:
            seen = self._seen(change)
            if seen is not None:
                yield _line(seen, change.object)
            if self._changes.qsize() > _BUFFER:
                # The client reads slower than the world changes: it must list again.
                yield _line("ERROR", status.expired(change.version, change.version).body())
                return

    def _hear(self, change: Change) -> None:
        if change.key.kind == self._kind and self._namespace in (None, change.key.namespace):
            self._changes.put_nowait(change)

    def _seen(self, change: Change) -> str | None:
        """What this change is to someone who sees only what matches."""
        matched = change.previous is not None and self._match(change.previous)
        if change.type == "DELETED":
            return "DELETED" if matched else None
        if self._match(change.object):
            return "MODIFIED" if matched else "ADDED"
        return "DELETED" if matched else None


def _nothing() -> None:
    return None


def _line(kind: str, body: Object) -> bytes:
    return json.dumps({"type": kind, "object": body}, separators=(",", ":")).encode() + b"\n"
