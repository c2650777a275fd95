"""A schedule's tick, as a PingSource sends it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

from functions.events.base import Attribute, Event, at_most


class ScheduleDue(Event):
    """A schedule is due. Its identity is the schedule and the minute, never the random id."""

    type: ClassVar[str] = "dev.knative.sources.ping"

    schedule: Annotated[str, Attribute()]
    time: Annotated[datetime, Attribute()]
    project_id: str | None = None
    sprint_id: str | None = None

    @property
    def minute(self) -> datetime:
        """The minute that was due: a tick is sent up to a few seconds late."""
        return self.time.replace(second=0, microsecond=0)

    def subject(self) -> str | None:
        return self.sprint_id or self.project_id

    def identity(self) -> str | None:
        named = f"{self.project_id or ''}/{self.sprint_id or ''}"
        about = "" if named == "/" else f"/{at_most(named, 128)}"
        return f"{at_most(self.schedule, 64)}@{self.minute.isoformat()}{about}"
