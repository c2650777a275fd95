"""The sprints under way with the counts of their tasks, and the forecast of each."""

from __future__ import annotations

import asyncio

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


async def forecasts(ask: Ask) -> dict[str, Forecast]:
    """The forecast of each active sprint, by its id.

    One that looks late by its completed tasks is judged by those that are begun as well.
    """
    return await ask.once("forecasts", lambda: _forecasts(ask))


async def _forecasts(ask: Ask) -> dict[str, Forecast]:
    found_active, off = await asyncio.gather(active_sprints(ask), days_off(ask))
    active = found_active or []  # without that route each sprint's page has its forecast
    today = ask.ctx.now().date()

    def seen(one: SprintCounts, done: float) -> Forecast:
        return forecast(one.start_date, one.end_date, done, one.total_tasks, today, off)

    found = {one.sprint_id: seen(one, one.completed_tasks) for one in active}
    candidates = [one for one in active if found[one.sprint_id].is_late][:MAX_CANDIDATES]
    done = await asyncio.gather(*(_done(ask, one) for one in candidates))
    again = {one.sprint_id: seen(one, d) for one, d in zip(candidates, done, strict=True)}
    return found | again


async def _done(ask: Ask, one: SprintCounts) -> float:
    """The tasks that are done, those that are begun by their share; whole ones without history."""
    at = f"/v1/analytics{path('sprint', one.sprint_id)}/burndown"
    try:
        days = (await ask.service(ask.services.chronicle).read(at))["days"]
    except FunctionError:
        return one.completed_tasks
    return one.total_tasks - days[-1]["remaining"] if days else one.completed_tasks
