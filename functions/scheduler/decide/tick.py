"""One nominal time of a schedule, and what became of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum


class State(StrEnum):
    """`due` waits for its moment or its turn; the last four are ends."""

    DUE = "due"
    SENT = "sent"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    SKIPPED = "skipped"
    MISSED = "missed"


class Origin(StrEnum):
    """By what a time runs."""

    CLOCK = "clock"
    CATCH_UP = "catch-up"
    BACKFILL = "backfill"
    USER = "user"


UNFINISHED = frozenset({State.SENT, State.RUNNING})


@dataclass(frozen=True)
class Tick:
    """A row of the ledger. `due` is the nominal time with its jitter, or the day it moved to."""

    nominal: datetime
    due: datetime
    state: State
    origin: Origin
    reason: str = ""

    @property
    def name(self) -> str:
        """The nominal time as identities and reasons name it.

        >>> at = datetime(2026, 11, 27, 14, tzinfo=UTC)
        >>> Tick(at, at, State.DUE, Origin.CLOCK).name
        '2026-11-27T14:00:00Z'
        """
        return self.nominal.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
