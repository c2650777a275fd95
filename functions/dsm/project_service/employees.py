"""Employees, and the teams that each is on."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import AliasChoices, BaseModel, Field
from starlette.responses import Response

from functions.dsm.project_service import adding, tables
from functions.dsm.project_service.tables import EMPLOYEES, Row
from functions.kit.contract import Ctx, Db, Id, IdempotencyKey, Limit, Offset, Text

router = APIRouter()


class Employee(BaseModel):
    """`employee_id` and `employee_name` are the names that its first callers know."""

    id: Id = Field(validation_alias=AliasChoices("id", "employee_id"))
    name: Text = Field(validation_alias=AliasChoices("name", "employee_name"))
    gender: Text | None = None
    state: Text | None = None
    age: int | None = Field(None, ge=0, le=150)


@router.post("/employees")
async def add(body: Employee, ctx: Ctx, idempotency_key: IdempotencyKey = None) -> Response:
    return await adding.add(ctx, idempotency_key, EMPLOYEES, body, {"employee_name": body.name})


@router.get("/employees")
async def every(db: Db, limit: Limit = 10_000, offset: Offset = 0) -> list[Row]:
    return await EMPLOYEES.page(db, limit, offset)


@router.get("/employees/{employee_id}")
async def one(employee_id: Id, db: Db) -> Row:
    employee = await EMPLOYEES.get(db, employee_id)
    projects = [team["project_id"] for team in await tables.projects_of(db, employee_id)]
    return {
        **employee,
        "project_assign": bool(projects),
        "active": True,
        "assigned_projects": projects,
    }


@router.get("/employees/{employee_id}/teams")
async def teams_of(employee_id: Id, db: Db) -> list[Row]:
    return await tables.projects_of(db, employee_id)
