"""Which nominal times of a range a backfill runs, and why it leaves the others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from functions.scheduler.decide.nominal import Version, times
from functions.scheduler.decide.tick import State, Tick


class Which(StrEnum):
    """What a backfill runs. `all`: whatever has not had its effect, also before the ledger."""

    MISSED = "missed"
    FAILED = "failed"
    ALL = "all"


@dataclass(frozen=True)
class Item:
    """A nominal time of the range: is it run, and why, or why not."""

    nominal: datetime
    runs: bool
    reason: str


def plan(
    versions: Sequence[Version],
    rows: Mapping[datetime, Tick],
    since: datetime,
    before: datetime,
    which: Which,
) -> list[Item]:
    """Each nominal time in [since, before) that there is, in order.

    A time that is done, or on its way, is left alone: its effect is there, or comes.
    """
    known = {*rows, *_nominal(versions, since, before)}
    return [_item(at, rows.get(at), which) for at in sorted(known) if since <= at < before]


def _nominal(versions: Sequence[Version], since: datetime, before: datetime) -> Iterator[datetime]:
    """By the version that was valid; what came before the first one, by that."""
    starts = [datetime.min.replace(tzinfo=since.tzinfo), *(v.valid_from for v in versions[1:])]
    ends = [*starts[1:], before]
    for version, start, end in zip(versions, starts, ends, strict=True):
        first = max(since, start)
        for at in times(version, first - timedelta(microseconds=1), min(end, before)):
            if at < min(end, before):
                yield at


def _item(at: datetime, row: Tick | None, which: Which) -> Item:
    if row is None:
        if which is Which.ALL:
            return Item(at, True, "the ledger has no row of it")
        return Item(at, False, "the ledger has no row of it; only `all` runs it")
    described = f"{row.state}: {row.reason}" if row.reason else str(row.state)
    if row.state in (State.DONE, State.DUE, State.SENT, State.RUNNING):
        return Item(at, False, described)
    wanted = which is Which.ALL or row.state.value == which.value
    return Item(at, wanted, described)
