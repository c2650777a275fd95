"""Employees, and the teams that each is on."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field
from starlette.responses import Response

from functions.dsm.project_service import tables
from functions.dsm.project_service.tables import EMPLOYEES, Row
from functions.kit.store import Connection
from functions.kit.web import Ctx, Db, Id, IdempotencyKey, Limit, Offset, Text, created, once

router = APIRouter()


class Employee(BaseModel):
    id: Id
    name: Text
    gender: Text | None = None
    state: Text | None = None
    age: int | None = Field(None, ge=0, le=150)


@router.post("/employees")
async def add(body: Employee, ctx: Ctx, idempotency_key: IdempotencyKey = None) -> Response:
    async def work(tx: Connection) -> Any:
        await EMPLOYEES.add(tx, body.model_dump())
        return {"message": "Employee created successfully", "employee_id": body.id}

    request = body.model_dump(mode="json")
    return created(await once(ctx, idempotency_key, "POST /employees", request, work))


@router.get("/employees")
async def every(db: Db, limit: Limit = 10_000, offset: Offset = 0) -> list[Row]:
    return await EMPLOYEES.page(db, limit, offset)


@router.get("/employees/{employee_id}")
async def one(employee_id: Id, db: Db) -> Row:
    return await EMPLOYEES.get(db, employee_id)


@router.get("/employees/{employee_id}/teams")
async def teams_of(employee_id: Id, db: Db) -> list[Row]:
    return await tables.projects_of(db, employee_id)
