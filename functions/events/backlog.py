"""Sample backlogs: asked for, and seeded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from functions.events.base import Event, Id, Request, Text, Value


class Item(Value):
    """A part of a backlog document; unknown fields are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", str_strip_whitespace=True)


class BacklogTask(Item):
    """A task of a backlog document. Progress is in percent."""

    id: Id
    title: Text = Field(min_length=1)
    description: Text = ""
    status: Text = Field("unassigned", min_length=1, max_length=50)
    assigned_to: Text | None = Field(None, min_length=1)
    progress_percentage: int = Field(0, ge=0, le=100)


class BacklogStory(Item):
    """A story of a backlog document, and the ids of the tasks that belong to it."""

    id: Id
    description: Text = Field(min_length=1)
    tasks: list[Text] = []


class BacklogSetupRequested(Request):
    """A user requests a backlog: the sample, or the tasks and stories given here.

    What exists is kept, unless `reset` sets titles, texts, statuses and assignees back.
    """

    type: ClassVar[str] = "io.dsm.backlog.setup.requested.v1"

    project_id: Id | None = None
    reset: bool = False
    tasks: list[BacklogTask] | None = Field(None, min_length=1, max_length=10_000)
    stories: list[BacklogStory] | None = Field(None, max_length=10_000)

    @model_validator(mode="after")
    def _holds_together(self) -> Self:
        if problems := list(self._problems()):
            raise ValueError("; ".join(problems))
        return self

    def _problems(self) -> Iterator[str]:
        if self.stories is not None and self.tasks is None:
            yield "stories: give the tasks beside them"
        tasks, stories = self.tasks or [], self.stories or []
        for name, ids in (("tasks", [t.id for t in tasks]), ("stories", [s.id for s in stories])):
            seen: set[str] = set()
            for number, id_ in enumerate(ids):
                if id_ in seen:
                    yield f"{name}.{number}.id: {id_!r} is there twice"
                seen.add(id_)
        known = {task.id for task in tasks}
        for number, story in enumerate(stories):
            for position, task_id in enumerate(story.tasks):
                if task_id not in known:
                    yield f"stories.{number}.tasks.{position}: there is no task {task_id!r}"

    def subject(self) -> str | None:
        return self.project_id


class BacklogSeeded(Event):
    """A project's backlog holds these rows now; `created` counts those that were not there."""

    type: ClassVar[str] = "io.dsm.backlog.seeded.v1"

    project_id: Id
    task_ids: list[str]
    story_ids: list[str]
    tasks_count: int = Field(ge=0)
    stories_count: int = Field(ge=0)
    story_task_mappings_count: int = Field(ge=0)
    created: int = Field(ge=0)
    team: Literal["project-service", "fallback"]
    team_reason: str | None = None

    def subject(self) -> str | None:
        return self.project_id
