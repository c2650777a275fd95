"""Holidays, leave, and whether a project's team is there on given days."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Self

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field, model_validator
from starlette.responses import Response

from functions.dsm.project_service import tables
from functions.dsm.project_service.tables import PROJECTS, Row
from functions.kit.contract import Ctx, Db, Id, IdempotencyKey, Text, created, once
from functions.kit.durable import Connection
from functions.kit.errors import PermanentError

router = APIRouter()


class Holiday(BaseModel):
    holiday_date: date
    holiday_name: Text
    type: Text = "federal"


class Holidays(BaseModel):
    holidays: list[Holiday] = Field(max_length=1000)


class Leave(BaseModel):
    start_date: date
    end_date: date
    reason: Text | None = None

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> Self:
        if self.end_date < self.start_date:
            raise ValueError("end_date must not be before start_date")
        return self


@router.get("/calendar/holidays")
async def holidays(db: Db) -> list[Row]:
    return await tables.holidays(db)


@router.put("/calendar/holidays")
async def put_holidays(body: Holidays, ctx: Ctx) -> dict[str, str]:
    async with ctx.store.transaction() as tx:
        await tables.put_holidays(tx, [h.model_dump() for h in body.holidays])
    return {"message": f"{len(body.holidays)} holidays are in the calendar"}


@router.get("/projects/{project_id}/availability/check")
async def availability(
    project_id: Id,
    start_date: Annotated[date, Query()],
    end_date: Annotated[date, Query()],
    db: Db,
) -> Row:
    if end_date < start_date:
        raise PermanentError("end_date must not be before start_date")
    await PROJECTS.get(db, project_id)
    conflicts = await tables.absences(db, project_id, start_date, end_date)
    return {"status": "conflict" if conflicts else "ok", "conflicts": conflicts}


@router.get("/projects/{project_id}/calendar/pto")
async def pto(project_id: Id, db: Db, employee_id: Id | None = None) -> list[Row]:
    return await tables.pto(db, project_id, employee_id)


@router.post("/projects/{project_id}/calendar/pto")
async def add_pto(
    project_id: Id,
    employee_id: Annotated[Id, Query()],
    body: Leave,
    ctx: Ctx,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    async def work(tx: Connection) -> Any:
        pto_id = await tables.add_pto(tx, project_id, employee_id, body.model_dump())
        return {"message": "PTO recorded successfully", "pto_id": pto_id}

    request = [project_id, employee_id, body.model_dump(mode="json")]
    return created(await once(ctx, idempotency_key, "POST pto", request, work))


@router.delete("/projects/{project_id}/calendar/pto/{pto_id}")
async def delete_pto(project_id: Id, pto_id: Id, db: Db) -> dict[str, str]:
    await tables.delete_pto(db, project_id, pto_id)
    return {"message": "PTO deleted"}
