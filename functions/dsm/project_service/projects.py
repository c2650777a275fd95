"""Projects, and which employees are on the team of each."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, Field, StringConstraints
from starlette.responses import Response

from functions.dsm.project_service import adding, tables
from functions.dsm.project_service.tables import PROJECTS, Row
from functions.kit.contract import Ctx, Db, Id, IdempotencyKey, Limit, Offset, Text, created, once
from functions.kit.durable import Connection

router = APIRouter()

# Other ids are made of a project's: it begins alphanumeric, has room behind it, and no slash,
# which no path can carry.
ProjectId = Annotated[
    str, StringConstraints(max_length=200, pattern=r"^[\p{L}\p{N}][^\x00-\x1f\x7f/]*$")
]


class Project(BaseModel):
    id: ProjectId
    name: Text
    description: Text
    status: Id


class Status(BaseModel):
    status: Id


class Assignment(BaseModel):
    employee_ids: list[Id] = Field(max_length=1000)


class Team(Assignment):
    project_id: Id


@router.post("/projects")
async def add(body: Project, ctx: Ctx, idempotency_key: IdempotencyKey = None) -> Response:
    return await adding.add(ctx, idempotency_key, PROJECTS, body)


@router.get("/projects")
async def every(db: Db, limit: Limit = 10_000, offset: Offset = 0) -> list[Row]:
    return await PROJECTS.page(db, limit, offset)


@router.get("/projects/{project_id}")
async def one(project_id: Id, db: Db) -> Row:
    return await PROJECTS.get(db, project_id)


@router.put("/projects/{project_id}/status")
async def set_status(project_id: Id, body: Status, db: Db) -> dict[str, str]:
    await tables.set_status(db, project_id, body.status)
    return {"message": "Project status updated", "project_id": project_id, "status": body.status}


@router.get("/projects/{project_id}/team-members")
async def team(project_id: Id, db: Db) -> Row:
    return {"project_id": project_id, "team_members": await tables.team(db, project_id)}


@router.post("/projects/{project_id}/team-members-assign")
async def assign(
    project_id: Id, body: Assignment, ctx: Ctx, idempotency_key: IdempotencyKey = None
) -> Any:
    return await _assign(ctx, idempotency_key, project_id, body.employee_ids)


@router.post("/teams")
async def add_team(body: Team, ctx: Ctx, idempotency_key: IdempotencyKey = None) -> Response:
    return created(await _assign(ctx, idempotency_key, body.project_id, body.employee_ids))


@router.get("/teams")
async def teams(db: Db, limit: Limit = 10_000, offset: Offset = 0) -> list[Row]:
    return await tables.teams(db, limit, offset)


@router.get("/teams/{project_id}")
async def team_of(project_id: Id, db: Db) -> Row:
    project = await PROJECTS.get(db, project_id)
    members = await tables.team(db, project_id)
    return {"project_id": project_id, "name": project["name"], "members": len(members)}


@router.get("/teams/{project_id}/members")
async def members(project_id: Id, db: Db) -> list[Row]:
    return await tables.team(db, project_id)


async def _assign(ctx: Ctx, key: str | None, project_id: str, employee_ids: list[str]) -> Any:
    async def work(tx: Connection) -> Any:
        added = await tables.assign(tx, project_id, employee_ids)
        return {"message": f"{added} team members assigned to project {project_id}"}

    return await once(ctx, key, "POST team-members-assign", [project_id, employee_ids], work)
