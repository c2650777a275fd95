"""Projects, their teams, and when people are away.

Routes and shapes are those of the Digital Scrum Master's project-service.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import FastAPI, Query
from pydantic import BaseModel, Field, StringConstraints, model_validator
from starlette.responses import Response

from functions.dsm.project_service import tables
from functions.kit.errors import PermanentError
from functions.kit.ready import ready_route
from functions.kit.store import Connection
from functions.kit.web import (
    Ctx,
    Id,
    IdempotencyKey,
    Limit,
    Offset,
    Text,
    api,
    created,
    new_app,
    once,
)

# Other ids are made of a project's: it begins with a letter or digit, has room behind it, and no
# slash, which no path can carry.
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


class Employee(BaseModel):
    id: Id
    name: Text
    gender: Text | None = None
    state: Text | None = None
    age: int | None = Field(None, ge=0, le=150)


class Assignment(BaseModel):
    employee_ids: list[Id] = Field(max_length=1000)


class Team(Assignment):
    project_id: Id


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
    def _ends_after_its_start(self) -> Leave:
        if self.end_date < self.start_date:
            raise ValueError("end_date must not be before start_date")
        return self


def build() -> FastAPI:
    app = new_app("project-service")
    app.include_router(ready_route("project-service"))
    _projects(app)
    _people(app)
    _calendar(app)
    return app


def _projects(app: FastAPI) -> None:
    @app.post("/projects")
    async def add(body: Project, ctx: Ctx, idempotency_key: IdempotencyKey = None) -> Response:
        async def work(tx: Connection) -> Any:
            await tables.add_project(tx, body.model_dump())
            return {"message": "Project created successfully", "project_id": body.id}

        request = body.model_dump(mode="json")
        return created(await once(ctx, idempotency_key, "POST /projects", request, work))

    @app.get("/projects")
    async def every(ctx: Ctx, limit: Limit = 10_000, offset: Offset = 0) -> list[dict[str, Any]]:
        async with ctx.store.connection() as connection:
            return await tables.projects(connection, limit, offset)

    @app.get("/projects/{project_id}")
    async def one(project_id: Id, ctx: Ctx) -> dict[str, Any]:
        async with ctx.store.connection() as connection:
            return await tables.project(connection, project_id)

    @app.put("/projects/{project_id}/status")
    async def set_status(project_id: Id, body: Status, ctx: Ctx) -> dict[str, str]:
        async with ctx.store.connection() as connection:
            await tables.set_status(connection, project_id, body.status)
        return {
            "message": "Project status updated",
            "project_id": project_id,
            "status": body.status,
        }

    @app.get("/projects/{project_id}/team-members")
    async def team(project_id: Id, ctx: Ctx) -> dict[str, Any]:
        async with ctx.store.connection() as connection:
            members = await tables.team(connection, project_id)
        return {"project_id": project_id, "team_members": members}

    @app.post("/projects/{project_id}/team-members-assign")
    async def assign(
        project_id: Id, body: Assignment, ctx: Ctx, idempotency_key: IdempotencyKey = None
    ) -> Any:
        return await _assign(ctx, idempotency_key, project_id, body.employee_ids)


def _people(app: FastAPI) -> None:
    @app.post("/employees")
    async def add(body: Employee, ctx: Ctx, idempotency_key: IdempotencyKey = None) -> Response:
        async def work(tx: Connection) -> Any:
            await tables.add_employee(tx, body.model_dump())
            return {"message": "Employee created successfully", "employee_id": body.id}

        request = body.model_dump(mode="json")
        return created(await once(ctx, idempotency_key, "POST /employees", request, work))

    @app.get("/employees")
    async def every(ctx: Ctx, limit: Limit = 10_000, offset: Offset = 0) -> list[dict[str, Any]]:
        async with ctx.store.connection() as connection:
            return await tables.employees(connection, limit, offset)

    @app.get("/employees/{employee_id}")
    async def one(employee_id: Id, ctx: Ctx) -> dict[str, Any]:
        async with ctx.store.connection() as connection:
            return await tables.employee(connection, employee_id)

    @app.get("/employees/{employee_id}/teams")
    async def teams_of(employee_id: Id, ctx: Ctx) -> list[dict[str, Any]]:
        async with ctx.store.connection() as connection:
            return await tables.projects_of(connection, employee_id)

    @app.post("/teams")
    async def add_team(body: Team, ctx: Ctx, idempotency_key: IdempotencyKey = None) -> Response:
        return created(await _assign(ctx, idempotency_key, body.project_id, body.employee_ids))

    @app.get("/teams")
    async def teams(ctx: Ctx, limit: Limit = 10_000, offset: Offset = 0) -> list[dict[str, Any]]:
        async with ctx.store.connection() as connection:
            return await tables.teams(connection, limit, offset)

    @app.get("/teams/{project_id}")
    async def team(project_id: Id, ctx: Ctx) -> dict[str, Any]:
        async with ctx.store.connection() as connection:
            found = await tables.project(connection, project_id)
            members = await tables.team(connection, project_id)
        return {"project_id": project_id, "name": found["name"], "members": len(members)}

    @app.get("/teams/{project_id}/members")
    async def members(project_id: Id, ctx: Ctx) -> list[dict[str, Any]]:
        async with ctx.store.connection() as connection:
            return await tables.team(connection, project_id)


def _calendar(app: FastAPI) -> None:
    @app.get("/calendar/holidays")
    async def holidays(ctx: Ctx) -> list[dict[str, Any]]:
        async with ctx.store.connection() as connection:
            return await tables.holidays(connection)

    @app.put("/calendar/holidays")
    async def put_holidays(body: Holidays, ctx: Ctx) -> dict[str, Any]:
        async with ctx.store.transaction() as tx:
            await tables.put_holidays(tx, [h.model_dump() for h in body.holidays])
        return {"message": f"{len(body.holidays)} holidays are in the calendar"}

    @app.get("/projects/{project_id}/availability/check")
    async def availability(
        project_id: Id,
        start_date: Annotated[date, Query()],
        end_date: Annotated[date, Query()],
        ctx: Ctx,
    ) -> dict[str, Any]:
        if end_date < start_date:
            raise PermanentError("end_date must not be before start_date")
        async with ctx.store.connection() as connection:
            await tables.project(connection, project_id)
            conflicts = await tables.absences(connection, project_id, start_date, end_date)
        return {"status": "conflict" if conflicts else "ok", "conflicts": conflicts}

    @app.get("/projects/{project_id}/calendar/pto")
    async def pto(project_id: Id, ctx: Ctx, employee_id: Id | None = None) -> list[dict[str, Any]]:
        async with ctx.store.connection() as connection:
            return await tables.pto(connection, project_id, employee_id)

    @app.post("/projects/{project_id}/calendar/pto")
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

    @app.delete("/projects/{project_id}/calendar/pto/{pto_id}")
    async def delete_pto(project_id: Id, pto_id: Id, ctx: Ctx) -> dict[str, str]:
        async with ctx.store.connection() as connection:
            await tables.delete_pto(connection, project_id, pto_id)
        return {"message": "PTO deleted"}


async def _assign(
    ctx: Ctx, key: str | None, project_id: str, employee_ids: list[str]
) -> dict[str, Any]:
    async def work(tx: Connection) -> Any:
        added = await tables.assign(tx, project_id, employee_ids)
        return {"message": f"{added} team members assigned to project {project_id}"}

    answer = await once(ctx, key, "POST team-members-assign", [project_id, employee_ids], work)
    assert isinstance(answer, dict)
    return answer


project_service = api("project_service", build)
