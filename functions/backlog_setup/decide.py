"""Which rows a backlog is made of: pure, from the request and the team."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from functions.events.backlog import BacklogSetupRequested

SEED_PROJECT = "TEST-001"
FALLBACK_TEAM = ("1", "2", "3", "4")

SAMPLE_TASKS = (
    ("TSK-001", "Setup Development Environment", "Prepare tools and accounts for the team"),
    ("TSK-002", "Database Schema Design", "Decide tables, keys and indexes"),
    ("TSK-003", "API Endpoint Implementation", "Implement the project's HTTP endpoints"),
    ("TSK-004", "Frontend Component Development", "Build the components of the user interface"),
    ("TSK-005", "User Authentication", "Let people register, sign in and sign out"),
    ("TSK-006", "Testing and Quality Assurance", "Cover the features with automated tests"),
    ("TSK-007", "Documentation", "Write what users and developers need"),
    ("TSK-008", "Deployment Setup", "Make releases repeatable"),
)
SAMPLE_STORIES = (
    ("STR-001", "As a user, I want to register an account", ("TSK-001", "TSK-005")),
    ("STR-002", "As a user, I want a dashboard of recent activities", ("TSK-003", "TSK-004")),
    ("STR-003", "As a user, I want to create and manage projects", ("TSK-002", "TSK-003")),
    ("STR-004", "As a user, I want to collaborate with team members", ("TSK-004", "TSK-006")),
)


@dataclass(frozen=True)
class TaskRow:
    task_id: str
    title: str
    description: str
    status: str
    assigned_to: str
    progress_percentage: int


@dataclass(frozen=True)
class Backlog:
    """The rows of one project's backlog; links are (story id, task id)."""

    project_id: str
    tasks: tuple[TaskRow, ...]
    stories: tuple[tuple[str, str], ...]
    links: tuple[tuple[str, str], ...]


def plan(request: BacklogSetupRequested, project_id: str, team: Sequence[str]) -> Backlog:
    """The rows to be there: what was asked for, or else the sample; assignees in turn.

    >>> backlog = plan(BacklogSetupRequested(), "TEST-001", ["E1", "E2"])
    >>> len(backlog.tasks), len(backlog.stories), len(backlog.links)
    (8, 4, 8)
    >>> [task.assigned_to for task in backlog.tasks[:3]]
    ['E1', 'E2', 'E1']
    """
    if request.tasks is None:
        return _sample(project_id, team)
    tasks = tuple(
        TaskRow(
            task.id,
            task.title,
            task.description,
            task.status,
            task.assigned_to or team[number % len(team)],
            task.progress_percentage,
        )
        for number, task in enumerate(request.tasks)
    )
    stories = request.stories or []
    return Backlog(
        project_id,
        tasks,
        tuple((story.id, story.description) for story in stories),
        tuple((story.id, task_id) for story in stories for task_id in dict.fromkeys(story.tasks)),
    )


def own_id(project_id: str, sample_id: str) -> str:
    """A sample row's id in a project, so that projects live side by side.

    >>> own_id("TEST-001", "TSK-001"), own_id("GEM-001", "TSK-001")
    ('TSK-001', 'GEM-001-TSK-001')
    """
    return sample_id if project_id == SEED_PROJECT else f"{project_id}-{sample_id}"


def _sample(project_id: str, team: Sequence[str]) -> Backlog:
    return Backlog(
        project_id,
        tuple(
            TaskRow(
                own_id(project_id, task_id),
                *(title, description, "unassigned"),
                assigned_to=team[number % len(team)],
                progress_percentage=0,
            )
            for number, (task_id, title, description) in enumerate(SAMPLE_TASKS)
        ),
        tuple((own_id(project_id, story_id), text) for story_id, text, _ in SAMPLE_STORIES),
        tuple(
            (own_id(project_id, story_id), own_id(project_id, task_id))
            for story_id, _, task_ids in SAMPLE_STORIES
            for task_id in task_ids
        ),
    )
