"""The sprints under way with the counts of their tasks, and the forecast of each."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date

from functions.console.ask import Ask
from functions.console.forecast import Forecast, forecast
from functions.events.sprint import SprintCounts


async def active_sprints(ask: Ask) -> list[SprintCounts]:
    """None where sprint-service has no such route: each sprint's page has its forecast."""
    sprints = ask.services.sprints
    counted = await ask.within(sprints.name, "overview", sprints.overview)
    return [
        one
        for one in counted or ()
        if isinstance(one, SprintCounts) and one.status == "in_progress"
    ]


def forecast_of(
    sprint: SprintCounts, today: date, off: Callable[[date], str], done: float | None = None
) -> Forecast:
    """The forecast by what is done of its tasks; None: by those that are completed."""
    done = sprint.completed_tasks if done is None else done
    return forecast(sprint.start_date, sprint.end_date, done, sprint.total_tasks, today, off)
