"""A schedule is due: a PingSource's tick, or what the scheduler's ledger makes of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar

from pydantic import AfterValidator, AwareDatetime

from functions.events.base import Attribute, Event, joined, no_dot_segment, shorten

_About = Annotated[str, AfterValidator(no_dot_segment)]


class ScheduleDue(Event):
    """A schedule is due. Its identity is the schedule and the nominal time, never the random id.

    A function that takes it takes `TickDue`, too: both say the same under the same identity.
    """

    type: ClassVar[str] = "dev.knative.sources.ping"

    schedule: Annotated[str, Attribute()]
    time: Annotated[AwareDatetime, Attribute()]
    nominal_time: Annotated[AwareDatetime | None, Attribute()] = None
    due_by: Annotated[datetime | None, Attribute()] = None
    requested_by: Annotated[str | None, Attribute()] = None
    project_id: _About | None = None
    sprint_id: _About | None = None

    @classmethod
    def covers(cls, type_: str) -> bool:
        return type_ in (cls.type, TickDue.type)

    @property
    def nominal(self) -> datetime:
        """The time that the run is for, however late it comes.

        A raw tick is sent up to a few seconds late, so its minute counts.
        """
        return self.nominal_time or self.time.replace(second=0, microsecond=0)

    def subject(self) -> str | None:
        return self.sprint_id or self.project_id

    def identity(self) -> str | None:
        named = joined("/", self.project_id or "", self.sprint_id or "")
        about = "" if named == "/" else f"/{shorten(named, 128)}"
        return f"{shorten(self.schedule, 64)}@{self.nominal.isoformat()}{about}"


class TickDue(ScheduleDue):
    """A nominal time of a schedule is to run now: each once, late rather than never.

    `nominal_time` is the time that it is for, `due_by` until when the schedule's policy lets it
    run, `requested_by` who asked for it where a user did.
    """

    type: ClassVar[str] = "io.dsm.schedule.due.v1"

    @classmethod
    def covers(cls, type_: str) -> bool:
        return type_ == cls.type


class ScheduleRecovered(Event):
    """A schedule that its failures had paused works again: it was resumed, and a run was good.

    `nominal_time` is the time that the run was for, `failing_since` when the schedule was paused.
    """

    type: ClassVar[str] = "io.dsm.schedule.recovered.v1"

    schedule: Annotated[str, Attribute()]
    nominal_time: Annotated[datetime, Attribute()]
    failing_since: datetime

    def subject(self) -> str | None:
        return self.schedule
