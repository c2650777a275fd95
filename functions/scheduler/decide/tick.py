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


class Cause(StrEnum):
    """Why a tick is in its state, in one word: what metrics count by; `reason` has the rest."""

    NONE = ""
    BEFORE_START = "before-start"
    AFTER_END = "after-end"
    PAUSED = "paused"
    NO_CALENDAR = "no-calendar"
    HOLIDAY = "holiday"
    MOVED = "moved"
    LATE = "late"
    OVERLAP = "overlap"
    WAITING = "waiting"
    CANCELLED = "cancelled"
    REMOVED = "removed"
    RUN_FAILED = "run-failed"
    NO_ANSWER = "no-answer"
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
    cause: Cause = Cause.NONE

    @property
    def name(self) -> str:
        """The nominal time as identities and reasons name it.

        >>> at = datetime(2026, 11, 27, 14, tzinfo=UTC)
        >>> Tick(at, at, State.DUE, Origin.CLOCK).name
        '2026-11-27T14:00:00Z'
        """
        return self.nominal.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def shown(at: datetime) -> str:
    """An instant as reasons name it.

    >>> shown(datetime(2026, 11, 27, 14, tzinfo=UTC))
    '2026-11-27 14:00:00Z'
    """
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%SZ}"
