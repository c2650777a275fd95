"""Projects, their teams, and when people are away.

Routes and shapes are those of the Digital Scrum Master's project-service.
"""

from __future__ import annotations

from fastapi import FastAPI

from functions.dsm.project_service import calendar, people, projects
from functions.kit.contract.fastapi_app import new_app_with_fastapi_errors
from functions.kit.contract.http_api import api
from functions.kit.process.ready import ready_route


def build() -> FastAPI:
    app = new_app_with_fastapi_errors("project-service")
    for router in (ready_route("project-service"), projects.router, people.router, calendar.router):
        app.include_router(router)
    return app


project_service = api("project_service", build)
