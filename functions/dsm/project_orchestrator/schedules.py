"""The daily schedule of a sprint: a PingSource of its own, made and deleted with it."""

from __future__ import annotations

import logging

from pydantic import Field

from functions.dsm.project_orchestrator import decide
from functions.kit.context import Context
from functions.kit.errors import Conflict, FunctionError, NotFound
from functions.kit.settings import Settings

logger = logging.getLogger(__name__)

API, PLURAL = "sources.knative.dev/v1", "pingsources"


class ScheduleSettings(Settings):
    """Where the sprints' schedules send their ticks."""

    broker_name: str = Field("default", description="the Broker to which schedules send a new day")


async def names(ctx: Context, project_id: str) -> list[str] | None:
    """The schedules that a project has; None when Kubernetes cannot say."""
    try:
        return await _own(ctx, project_id)
    except FunctionError as error:
        logger.warning("cannot look for the schedules of %s: %s", project_id, error)
        return None


async def _own(ctx: Context, project_id: str) -> list[str]:
    found = await ctx.cluster.list(API, PLURAL, f"{decide.PROJECT}={decide.label(project_id)}")
    return sorted(
        item["metadata"]["name"]
        for item in found
        if item["metadata"].get("annotations", {}).get(decide.PROJECT) == project_id
    )


async def create(ctx: Context, project_id: str, sprint_id: str, schedule: str) -> str | None:
    """Make a sprint's schedule, if it is not there; why not, if it could not be made."""
    broker = ctx.settings(ScheduleSettings).broker_name
    manifest = decide.schedule_manifest(project_id, sprint_id, schedule, broker)
    try:
        await ctx.cluster.create(PLURAL, manifest)
    except Conflict:
        return await _taken(ctx, project_id, manifest["metadata"]["name"])
    except FunctionError as error:
        return error.detail
    return None


async def _taken(ctx: Context, project_id: str, name: str) -> str | None:
    """Why a name that is in use is not the project's; None where it is."""
    try:
        if name in await _own(ctx, project_id):
            return None
    except FunctionError as error:
        return error.detail
    return (
        f"the PingSource {name} is not annotated {decide.PROJECT}: {project_id}: close the sprint "
        "of the project that it names, or delete it, and orchestrate again"
    )


async def delete(ctx: Context, project_id: str, name: str) -> str | None:
    """Delete a schedule, if the project has it; why not, if that failed."""
    try:
        if name in await _own(ctx, project_id):
            await ctx.cluster.delete(API, PLURAL, name)
    except NotFound:
        return None
    except FunctionError as error:
        return error.detail
    return None
