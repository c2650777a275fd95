"""What the scheduler reads."""

from __future__ import annotations

from pydantic import Field

from functions.kit.settings import Settings


class SchedulerSettings(Settings):
    """How the scheduler keeps its ledger."""

    calendars_folder: str = Field(
        "", description="folder of the calendars, YAML or ICS: a ConfigMap; none: no calendars"
    )
    tick_retention_days: int = Field(
        400, ge=1, description="days for which the ledger keeps what became of a nominal time"
    )
