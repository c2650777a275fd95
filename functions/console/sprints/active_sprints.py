"""The sprints under way with the counts of their tasks, and the forecast of each."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from functions.console.ask import Ask
from functions.console.sprints.forecast import Forecast, forecast
from functions.console.sprints.working_days import days_off
from functions.events.sprint import SprintCounts
from functions.kit.clients import path
from functions.kit.errors import FunctionError

# At most so many sprints are looked at more closely.
MAX_CANDIDATES = 20


async def active_sprints(ask: Ask) -> list[SprintCounts] | None:
    """Each project's sprint in progress; None where sprint-service has no such route."""
    sprints = ask.services.sprints
    counted = await ask.within(sprints.name, "overview", sprints.overview)
    if counted is None:
        return None
    return [one for one in counted if isinstance(one, SprintCounts) and one.status == "in_progress"]


@dataclass(frozen=True)
class Outlook:
    """An active sprint, how many of its tasks are done, begun ones by their share, and when all
    are."""

    counts: SprintCounts
    done: float
    forecast: Forecast

    @property
    def percent(self) -> int:
        """Mean progress of its tasks, rounded down: 100 only where all are done."""
        return int(100 * self.done / self.counts.total_tasks) if self.counts.total_tasks else 0


async def outlooks(ask: Ask) -> dict[str, Outlook]:
    """The outlook of each active sprint, by its id.

    Begun tasks count by their share in at most MAX_CANDIDATES, those that look late first.
    """
    return await ask.once("outlooks", lambda: _outlooks(ask))


async def _outlooks(ask: Ask) -> dict[str, Outlook]:
    found_active, off = await asyncio.gather(active_sprints(ask), days_off(ask))
    active = found_active or []  # without that route each sprint's page has its forecast
    today = ask.ctx.now().date()

    def seen(one: SprintCounts, done: float) -> Outlook:
        at = forecast(one.start_date, one.end_date, done, one.total_tasks, today, off)
        return Outlook(one, done, at)

    found = {one.sprint_id: seen(one, one.completed_tasks) for one in active}
    active.sort(key=lambda one: not found[one.sprint_id].forecast.is_late)
    some = active[:MAX_CANDIDATES]
    done = await asyncio.gather(*(_done(ask, one) for one in some))
    return found | {one.sprint_id: seen(one, d) for one, d in zip(some, done, strict=True)}


async def _done(ask: Ask, one: SprintCounts) -> float:
    """The tasks that are done, those that are begun by their share; whole ones without history."""
    at = f"/v1/analytics{path('sprint', one.sprint_id)}/burndown"
    try:
        days = (await ask.service(ask.services.chronicle).read(at))["days"]
    except FunctionError:
        return one.completed_tasks
    known = [day["remaining"] for day in days if day["remaining"] is not None]
    return round(one.total_tasks - known[-1], 6) if known else one.completed_tasks
