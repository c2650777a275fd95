"""The nominal times of a schedule: what its expression means, and what the clock's changes do."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from functools import lru_cache

from functions.cron import Cron
from functions.schedule_policy import Fold, Gap, Policy

_DAY = timedelta(days=1)


@dataclass(frozen=True)
class Version:
    """A schedule from a moment on: a change does not rewrite the past.

    `data` and `extensions` are those of its events.
    """

    valid_from: datetime
    expression: str
    zone: str = ""
    policy: Policy = field(default_factory=Policy)
    data: str = "{}"
    extensions: Mapping[str, str] = field(default_factory=dict)


def version_at(versions: Sequence[Version], at: datetime) -> Version:
    """The version that was valid at a time; before the first of them, that one."""
    return next((v for v in reversed(versions) if v.valid_from <= at), versions[0])


def cron_of(version: Version) -> Cron:
    return _read(version.expression, version.zone)


# Each minute the same expressions are read again.
_read = lru_cache(maxsize=4096)(Cron)


def times(version: Version, after: datetime, until: datetime) -> Iterator[datetime]:
    """Each nominal time in (after, until], in UTC and in order.

    >>> summer = Version(datetime(2026, 1, 1, tzinfo=UTC), "30 2 * * *", "Europe/Berlin")
    >>> day = datetime(2026, 3, 28, 12, tzinfo=UTC)
    >>> [f"{at:%d %H:%M}" for at in times(summer, day, day + 2 * _DAY)]  # no 2:30 on the 29th
    ['30 00:30']
    """
    cron = cron_of(version)
    plain = _due(cron, after, until)
    if version.policy.fold is Fold.FIRST:
        plain = (at for at in plain if not at.astimezone(cron.zone).fold)
    if version.policy.gap is Gap.SKIP:
        yield from plain
    else:
        yield from sorted({*plain, *_after_gaps(version, cron.zone, after, until)})


def jittered(schedule: str, nominal: datetime, jitter: timedelta) -> datetime:
    """When a nominal time is due: up to `jitter` seconds later, always by the same amount."""
    span = int(jitter.total_seconds())
    digest = hashlib.sha256(f"{schedule}@{nominal.isoformat()}".encode()).digest()
    return nominal + timedelta(seconds=int.from_bytes(digest[:8]) % (span + 1))


def _due(cron: Cron, after: datetime, until: datetime) -> Iterator[datetime]:
    at = cron.after(after)
    while at is not None and at <= until:
        yield at
        at = cron.after(at)


def _after_gaps(
    version: Version, zone: tzinfo, after: datetime, until: datetime
) -> Iterator[datetime]:
    """The end of each gap of the clock into which a wall time of the expression falls."""
    expression = version.expression.partition(" ")[2] if "TZ=" in version.expression else ""
    walls = Cron(expression or version.expression)  # on a wall without changes
    first, last = (at.astimezone(zone).replace(tzinfo=UTC) for at in (after - _DAY, until + _DAY))
    for wall in _due(walls, first, last):
        before = wall.replace(tzinfo=zone, fold=0).astimezone(UTC)
        later = wall.replace(tzinfo=zone, fold=1).astimezone(UTC)
        if later < before:  # PEP 495: so it is for a time that the clock skips
            end = _change(zone, later, before)
            if after < end <= until:
                yield end


def _change(zone: tzinfo, low: datetime, high: datetime) -> datetime:
    """The first instant of the new offset, between two instants around one change."""
    new = high.astimezone(zone).utcoffset()
    while high - low > timedelta(seconds=1):
        middle = low + (high - low) / 2
        if middle.astimezone(zone).utcoffset() == new:
            high = middle
        else:
            low = middle
    return high.replace(microsecond=0)
