"""Budgets: what the Jobs of a group may use in a day, and what is left of it. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

Unit = Literal["usd", "tokens", "minutes"]
UNITS: tuple[Unit, ...] = ("usd", "tokens", "minutes")
WARNS_AT = 0.8
# What a Job needs at least: with less left, a budget is used up.
MIN_LEFT: Mapping[Unit, float] = {"usd": 0.01, "tokens": 1, "minutes": 1}
# An agent reports once a minute, and ends itself after the call that exceeds its limit.
ALLOWANCE = 1.1
# What counts of a Job, of its grant: its agent may report anything, and others of its group wait.
MAX_COUNTED = 1.25


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
    """A group's day: its limits, what its Jobs have used so far, and what those that run may still
    use (`reserved`), by unit."""

    group: str
    limits: Limits
    used: Mapping[Unit, float]
    ends_at: datetime
    reserved: Mapping[Unit, float] = field(default_factory=dict)

    def ratio(self, unit: Unit) -> float:
        return self.used.get(unit, 0.0) / self.limits.limits[unit]

    def reached(self, ratio: float) -> list[Unit]:
        """Return the units of which so much is used."""
        return [unit for unit in UNITS if unit in self.limits.limits and self.ratio(unit) >= ratio]

    def is_used_up(self) -> bool:
        return bool(self._spent(self.used))

    def reason(self) -> str:
        """Return why no Job of the group starts; empty where one may.

        >>> from datetime import UTC
        >>> at = datetime(2026, 3, 3, tzinfo=UTC)
        >>> GroupBudget("shop", Limits("shop", "UTC", {"usd": 20}), {"usd": 20.5}, at).reason()
        'the budget of group shop is used up: $20.50 of $20.00; it starts at 2026-03-03 00:00 UTC'
        """
        if spent := self._spent(self.used):
            amounts = ", ".join(self.amounts(unit) for unit in spent)
            until = f"{self.ends_at:%Y-%m-%d %H:%M %Z}"
            return f"the budget of group {self.group} is used up: {amounts}; it starts at {until}"
        if self._spent(self._claimed()):
            return (
                f"jobs that run may use what is left of the budget of group {self.group}; it "
                "starts when one of them has ended, and has left enough"
            )
        return ""

    def grant(self, places: int) -> dict[Unit, float]:
        """Return what the next Job may use where so many Jobs may start now: an equal share of what
        is left, but what a Job needs at least.

        >>> from datetime import UTC
        >>> limits = Limits("shop", "UTC", {"usd": 20})
        >>> day = GroupBudget("shop", limits, {"usd": 8}, datetime(2026, 3, 3, tzinfo=UTC))
        >>> first = day.grant(2)
        >>> first, day.reserving(first).grant(1)
        ({'usd': 6.0}, {'usd': 6.0})
        """
        claimed = self._claimed()
        return {
            unit: max((limit - claimed[unit]) / places, MIN_LEFT[unit])
            for unit, limit in self.limits.limits.items()
        }

    def reserving(self, granted: Mapping[Unit, float]) -> GroupBudget:
        """Return the budget after the start of a Job that may use so much."""
        reserved = {unit: self.reserved.get(unit, 0.0) + granted[unit] for unit in granted}
        return replace(self, reserved=reserved)

    def _claimed(self) -> dict[Unit, float]:
        return {
            unit: self.used.get(unit, 0.0) + self.reserved.get(unit, 0.0)
            for unit in self.limits.limits
        }

    def _spent(self, amounts: Mapping[Unit, float]) -> list[Unit]:
        """Return the units of which less is left than a Job needs."""
        limits = self.limits.limits
        return [
            unit
            for unit in UNITS
            if unit in limits and limits[unit] - amounts.get(unit, 0.0) < MIN_LEFT[unit]
        ]

    def amounts(self, unit: Unit) -> str:
        used, limit = (
            amount(unit, value) for value in (self.used.get(unit, 0.0), self.limits.limits[unit])
        )
        return f"{used} of {limit}"


def environment(granted: Mapping[Unit, float]) -> dict[str, str]:
    """Return what a Job may use, for its agent's own limits.

    >>> environment({"usd": 4.379, "minutes": 12.5})
    {'BUDGET_USD': '4.37', 'BUDGET_MINUTES': '12'}
    """
    return {
        f"BUDGET_{unit.upper()}": f"{int(may * 100) / 100:.2f}" if unit == "usd" else f"{may:.0f}"
        for unit, may in granted.items()
    }


def overspent(granted: Mapping[Unit, float], used: Mapping[Unit, float]) -> str:
    """Return what a Job has used beyond what it was granted and `ALLOWANCE`; empty if nothing.

    Minutes are among it too: each time a queue resumes a Job its deadline begins anew.

    >>> overspent({"usd": 5.0}, {"usd": 5.4}), overspent({"usd": 5.0}, {"usd": 5.6})
    ('', 'it has used $5.60, and might use $5.00')
    """
    over = [
        f"{amount(unit, used.get(unit, 0.0))}, and might use {amount(unit, may)}"
        for unit, may in granted.items()
        if used.get(unit, 0.0) > may * ALLOWANCE
    ]
    return f"it has used {'; '.join(over)}" if over else ""


def amount(unit: Unit, value: float) -> str:
    """Return an amount with its unit.

    >>> amount("usd", 0.5), amount("tokens", 51200), amount("minutes", 7.6)
    ('$0.50', '51,200 tokens', '8 minutes')
    """
    return f"${value:.2f}" if unit == "usd" else f"{value:,.0f} {unit}"


def limits_of(group: str, budgets: Sequence[Limits]) -> Limits | None:
    """Return the first budget that is the group's."""
    return next((one for one in budgets if one.covers(group)), None)
