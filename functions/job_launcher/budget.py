"""Budgets: what the Jobs of a group may use in a day, and what they have used. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

Unit = Literal["usd", "tokens", "minutes"]
UNITS: tuple[Unit, ...] = ("usd", "tokens", "minutes")
WARNS_AT = 0.8


@dataclass(frozen=True)
class Limits:
    """`group` is a group's name, or the beginning of names where it ends with `*`; each group has
    these limits for itself, by unit, for a day in `time_zone`."""

    group: str
    time_zone: str
    limits: Mapping[Unit, float]

    def covers(self, group: str) -> bool:
        """Are these the limits of a group? A Job without a group has none."""
        if not group:
            return False
        prefix = self.group.removesuffix("*")
        return group == self.group or (prefix != self.group and group.startswith(prefix))

    def day(self, at: datetime) -> tuple[datetime, datetime]:
        """Return the begin and the end of the day that a time is in.

        >>> at = datetime.fromisoformat("2026-03-29T12:00Z")
        >>> [f"{one:%d %H:%M%z}" for one in Limits("shop", "Europe/Zurich", {}).day(at)]
        ['29 00:00+0100', '30 00:00+0200']
        """
        zone = ZoneInfo(self.time_zone)
        begin = at.astimezone(zone).replace(hour=0, minute=0, second=0, microsecond=0, fold=0)
        return begin, begin + timedelta(days=1)


@dataclass(frozen=True)
class GroupBudget:
    """A group's day: its limits, and what its Jobs have used so far, by unit."""

    group: str
    limits: Limits
    used: Mapping[Unit, float]
    ends_at: datetime

    def ratio(self, unit: Unit) -> float:
        return self.used.get(unit, 0.0) / self.limits.limits[unit]

    def reached(self, ratio: float) -> list[Unit]:
        """Return the units of which so much is used."""
        return [unit for unit in UNITS if unit in self.limits.limits and self.ratio(unit) >= ratio]

    def reason(self) -> str:
        """Return why no Job of the group starts; empty where one may.

        >>> from datetime import UTC
        >>> at = datetime(2026, 3, 3, tzinfo=UTC)
        >>> GroupBudget("shop", Limits("shop", "UTC", {"usd": 20}), {"usd": 20.5}, at).reason()
        'the budget of group shop is used up: $20.50 of $20.00; it starts at 2026-03-03 00:00 UTC'
        """
        spent = [self.amounts(unit) for unit in self.reached(1.0)]
        if not spent:
            return ""
        until = f"{self.ends_at:%Y-%m-%d %H:%M %Z}"
        return (
            f"the budget of group {self.group} is used up: {', '.join(spent)}; it starts at {until}"
        )

    def amounts(self, unit: Unit) -> str:
        used, limit = (
            amount(unit, value) for value in (self.used.get(unit, 0.0), self.limits.limits[unit])
        )
        return f"{used} of {limit}"

    def environment(self) -> dict[str, str]:
        """Return what a Job may use at its start, for its agent's own limits."""
        limits = self.limits.limits
        left = {unit: max(0.0, limits[unit] - self.used.get(unit, 0.0)) for unit in limits}
        return {
            f"BUDGET_{unit.upper()}": f"{rest:.2f}" if unit == "usd" else str(int(rest))
            for unit, rest in left.items()
        }


def amount(unit: Unit, value: float) -> str:
    """Return an amount with its unit.

    >>> amount("usd", 0.5), amount("tokens", 51200), amount("minutes", 7.6)
    ('$0.50', '51,200 tokens', '8 minutes')
    """
    return f"${value:.2f}" if unit == "usd" else f"{value:,.0f} {unit}"


def limits_of(group: str, budgets: Sequence[Limits]) -> Limits | None:
    """Return the first budget that is the group's."""
    return next((one for one in budgets if one.covers(group)), None)
