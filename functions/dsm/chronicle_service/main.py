"""What has happened: daily reports, planning and retrospective notes, and decisions.

Routes and shapes are those of the Digital Scrum Master's chronicle-service. There is exactly one
daily report for a sprint and day.
"""

from __future__ import annotations

from datetime import date
from typing import Any

from fastapi import FastAPI
from starlette.responses import Response

from functions.dsm.chronicle_service import decide, tables
from functions.dsm.chronicle_service.models import (
    DailyReport,
    DecisionAudit,
    Planning,
    Retrospective,
)
from functions.kit.contract import (
    Ctx,
    Id,
    IdempotencyKey,
    Limit,
    Offset,
    api,
    created,
    new_app_with_fastapi_errors,
    once,
)
from functions.kit.durable import Connection
from functions.kit.errors import NotFound
from functions.kit.process import ready_route


def build() -> FastAPI:
    app = new_app_with_fastapi_errors("chronicle-service")
    app.include_router(ready_route("chronicle-service"))
    _daily_reports(app)
    _retrospectives(app)
    _notes(app)

    @app.get("/v1/health")
    async def health() -> dict[str, str]:
        return {"status": "ok"}

    return app


def _daily_reports(app: FastAPI) -> None:
    @app.post("/v1/notes/daily_scrum_report")
    async def file(body: DailyReport, ctx: Ctx, idempotency_key: IdempotencyKey = None) -> Response:
        day = body.report_date or ctx.now().date()
        report = body.model_dump(mode="json", exclude_none=True)
        content = {
            "project_id": body.project_id,
            "sprint_id": body.sprint_id,
            "report_date": day,
            "summary": body.summary,
            "summary_metrics": report.get("summary_metrics"),
            "reports": report["reports"],
            "additional_data": {
                "progress": decide.progress_of(report["reports"]),
                "orchestration_decision_details": report.get("orchestration_decision_details"),
            },
        }

        async def work(tx: Connection) -> Any:
            note_id = await tables.add_report(tx, content)
            return {"message": "Daily scrum report recorded successfully", "note_id": note_id}

        # A repeat may describe the same day otherwise: the first filing is what counts.
        request = [body.project_id, body.sprint_id, day.isoformat()]
        return created(await once(ctx, idempotency_key, "POST daily_scrum_report", request, work))

    @app.get("/v1/notes/daily_scrum_report")
    async def report(
        ctx: Ctx,
        sprint_id: Id | None = None,
        project_id: Id | None = None,
        daily_scrum_date: date | None = None,
    ) -> dict[str, Any]:
        async with ctx.store.connection() as connection:
            notes = await tables.reports(connection, sprint_id, project_id, daily_scrum_date)
        if not notes:
            raise NotFound("No daily scrum reports found for the given criteria.")
        return decide.aggregated(notes, ctx.now())

    @app.get("/v1/notes/daily_scrum_report/notes")
    async def notes(
        ctx: Ctx,
        sprint_id: Id | None = None,
        project_id: Id | None = None,
        daily_scrum_date: date | None = None,
        limit: Limit = 10_000,
        offset: Offset = 0,
    ) -> list[dict[str, Any]]:
        """The notes as they were filed: one for each sprint and day, newest day first."""
        wanted = (sprint_id, project_id, daily_scrum_date, limit, offset)
        async with ctx.store.connection() as connection:
            return await tables.reports(connection, *wanted)

    @app.get("/v1/analytics/sprint/{sprint_id}/burndown")
    async def burndown(sprint_id: Id, ctx: Ctx) -> dict[str, Any]:
        async with ctx.store.connection() as connection:
            return decide.burndown(
                sprint_id, await tables.reports(connection, sprint_id, None, None)
            )


def _retrospectives(app: FastAPI) -> None:
    @app.post("/v1/notes/sprint_retrospective")
    async def add(
        body: Retrospective, ctx: Ctx, idempotency_key: IdempotencyKey = None
    ) -> Response:
        content = body.model_dump(mode="json")

        async def work(tx: Connection) -> Any:
            number = await tables.add_retrospective(tx, content)
            return {
                "message": "Sprint retrospective recorded successfully",
                "retrospective_id": number,
            }

        return created(await once(ctx, idempotency_key, "POST sprint_retrospective", content, work))

    @app.get("/v1/notes/sprint_retrospective")
    async def retrospectives(
        ctx: Ctx, sprint_id: Id | None = None, project_id: Id | None = None
    ) -> list[dict[str, Any]]:
        async with ctx.store.connection() as connection:
            found = await tables.retrospectives(connection, sprint_id, project_id)
        if not found:
            raise NotFound("No sprint retrospectives found for the given criteria.")
        return found


def _notes(app: FastAPI) -> None:
    @app.post("/v1/notes/sprint_planning")
    async def plan(body: Planning, ctx: Ctx, idempotency_key: IdempotencyKey = None) -> Response:
        content = body.model_dump(mode="json")
        text = f"Goal: {body.sprint_goal}\nPlanned Tasks: {', '.join(body.planned_tasks)}"
        return await _note(ctx, idempotency_key, "sprint_planning", content, text)

    @app.get("/v1/notes/sprint_planning")
    async def plans(
        ctx: Ctx, sprint_id: Id | None = None, project_id: Id | None = None
    ) -> list[dict[str, Any]]:
        async with ctx.store.connection() as connection:
            return await tables.notes(connection, "sprint_planning", sprint_id, project_id)

    @app.post("/v1/notes/decision_audit")
    async def audit(
        body: DecisionAudit, ctx: Ctx, idempotency_key: IdempotencyKey = None
    ) -> Response:
        content = body.model_dump(mode="json")
        return await _note(ctx, idempotency_key, "decision_audit", content, body.combined_reasoning)

    @app.get("/v1/notes/decision_audit")
    async def audits(
        ctx: Ctx, sprint_id: Id | None = None, project_id: Id | None = None
    ) -> list[dict[str, Any]]:
        async with ctx.store.connection() as connection:
            found = await tables.notes(connection, "decision_audit", sprint_id, project_id)
        return [{**note["additional_data"], "created_at": note["created_at"]} for note in found]


async def _note(
    ctx: Ctx, key: str | None, kind: str, content: dict[str, Any], text: str
) -> Response:
    async def work(tx: Connection) -> Any:
        note_id = await tables.add_note(
            tx, kind, content["project_id"], content.get("sprint_id"), text, content
        )
        return {"message": f"{kind.replace('_', ' ').capitalize()} recorded successfully"} | {
            "note_id": note_id
        }

    return created(await once(ctx, key, f"POST {kind}", content, work))


chronicle_service = api("chronicle_service", build)
