"""Projects, their teams, and when employees are away.

Routes and shapes are those of the Digital Scrum Master's project-service.
"""

from __future__ import annotations

from fastapi import FastAPI

from functions.dsm.project_service import calendar, employees, projects
from functions.kit.contract import api, new_app_with_fastapi_errors
from functions.kit.process import ready_route


def build() -> FastAPI:
    app = new_app_with_fastapi_errors("project-service")
    parts = (projects.router, employees.router, calendar.router)
    for router in (ready_route("project-service"), *parts):
        app.include_router(router)
    return app


project_service = api("project_service", build)
