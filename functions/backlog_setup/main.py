"""Make a ready backlog for a project, as often as you like.

in      BacklogSetupRequested; plain JSON or YAML of an ad-hoc request
out     BacklogSeeded
asks    project-service, for the team
writes  backlog-service's tables, in the transaction of its answer and its event; another request
        finds the rows and says so, with `created` 0
fails   TemporaryError while the database is away or its tables are missing
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal

from pydantic import Field

from functions.backlog_setup import tables
from functions.backlog_setup.decide import FALLBACK_TEAM, Backlog, plan
from functions.dsm_client import dsm
from functions.events.backlog import BacklogSeeded, BacklogSetupRequested
from functions.kit.context import Context
from functions.kit.contract import Settling, function
from functions.kit.durable import Connection
from functions.kit.errors import FunctionError
from functions.kit.settings import Settings

logger = logging.getLogger(__name__)


class BacklogSetupSettings(Settings):
    """What backlog-setup reads beside the database's settings."""

    project_id: str = Field("TEST-001", description="the project when a request names none")
    sprint_id: str = Field("SPRINT-001", description="kept for the old manifest; not used")


@dataclass(frozen=True)
class Team:
    """Who gets the tasks, where the names come from, and why from there."""

    ids: tuple[str, ...]
    source: Literal["project-service", "fallback"]
    reason: str | None = None


@function(emits=[BacklogSeeded], inbox=True)
async def backlog_setup(event: BacklogSetupRequested, ctx: Context) -> Settling:
    project_id = event.project_id or ctx.settings(BacklogSetupSettings).project_id
    _log("Starting backlog setup job...", project_id=project_id)
    async with ctx.store.connection() as connection:
        await tables.verify(connection)
    _log("Backlog database connection successful.")
    team = await _team(ctx, project_id)
    backlog = plan(event, project_id, team.ids)

    async def settle(tx: Connection) -> BacklogSeeded:
        return _seeded(backlog, team, await tables.seed(tx, backlog, reset=event.reset))

    return settle


def _seeded(backlog: Backlog, team: Team, created: int) -> BacklogSeeded:
    tasks, stories, links = len(backlog.tasks), len(backlog.stories), len(backlog.links)
    _log(f"Created {tasks} tasks, {stories} stories, and {links} story-task mappings")
    _log(
        f"Backlog setup completed successfully. Created {tasks} backlog items "
        f"for project {backlog.project_id}",
        new=created,
    )
    return BacklogSeeded(
        project_id=backlog.project_id,
        task_ids=[task.task_id for task in backlog.tasks],
        story_ids=[story_id for story_id, _ in backlog.stories],
        tasks_count=tasks,
        stories_count=stories,
        story_task_mappings_count=links,
        created=created,
        team=team.source,
        team_reason=team.reason,
    )


async def _team(ctx: Context, project_id: str) -> Team:
    """The project's members; the documented ids where there are none to be had."""
    try:
        members = await dsm(ctx).projects.team(project_id)
    except FunctionError as error:
        reason = error.detail
    else:
        if members:
            _log("Retrieved team members for project", count=len(members), project_id=project_id)
            return Team(tuple(member.id for member in members), "project-service")
        reason = f"project {project_id} has no team members"
    logger.warning("Using the default team", extra={"fields": {"reason": reason}})
    return Team(FALLBACK_TEAM, "fallback", reason)


def _log(message: str, **fields: object) -> None:
    logger.info(message, extra={"fields": fields})
