"""One place to see what happens, and to press what can be pressed.

asks    the read routes of every function and service, the Kubernetes API for schedules, and who
        keeps the events (EVENTS_URL)
holds   which sessions have ended, where it has a database; a browser's session is a signed cookie
fails   a panel names the service that is unavailable, and why; the rest of the page is there
"""

from __future__ import annotations

from fastapi import FastAPI
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from functions.console import (
    agents,
    dead_letters,
    event_pages,
    jobs,
    orchestrations,
    redriven,
    schedule_page,
    schedules,
    search,
    service_health,
    sign_in,
)
from functions.console.actions import (
    action_log,
    another_run,
    bulk,
    dead_letter_actions,
    orchestration_actions,
    schedule_actions,
)
from functions.console.ask import Ask
from functions.console.authentication.authentication import Authentication
from functions.console.authentication.ended_sessions import retention
from functions.console.rendering import FOLDER, SECURITY, View, problem
from functions.console.settings import ConsoleSettings, check_settings
from functions.console.sprints import projects, sprint_page, sprints
from functions.console.today import attention, today_page
from functions.kit.context import Context
from functions.kit.contract import api, new_app
from functions.kit.contract.users import UserSettings
from functions.kit.errors import NotFound, PermanentError

SECTIONS = (
    today_page,
    action_log,
    search,
    attention,
    sprints,
    sprint_page,
    projects,
    service_health,
    event_pages,
    orchestrations,
    another_run,  # before the page of an action, which its path would fit
    orchestration_actions,
    jobs,
    agents,
    schedules,
    schedule_page,
    schedule_actions,
    redriven,  # these two before the page of a number, which their paths would fit
    dead_letter_actions,
    dead_letters,
    bulk,
    sign_in,
)


def build() -> FastAPI:
    app = new_app("console", openapi_url=None, docs_url=None, redoc_url=None)
    for section in SECTIONS:
        app.router.routes.extend(section.routes())
    # Of every page, whatever its section.
    app.state.counts = attention.counts
    app.state.navigation = attention.changed_navigation
    app.mount("/static", Assets(directory=FOLDER / "static"))
    app.add_middleware(GZipMiddleware, minimum_size=1000)
    app.add_middleware(SecurityHeaders)
    app.add_exception_handler(HTTPException, _no_such_page)
    return app


class Assets(StaticFiles):
    """Files that a browser keeps where their address names their content."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        response = await super().get_response(path, scope)
        if scope["query_string"].startswith(b"v=") and response.status_code in (200, 304):
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response


class SecurityHeaders:
    """Adds the headers that every answer has."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(SECURITY)
            await send(message)

        await self._app(scope, receive, sending)


async def _no_such_page(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    ask = Ask(request.scope["context"])
    view = View(request, ask, await Authentication.of(request, ask.ctx))
    if error.status_code == 404:
        return problem(view, NotFound(f"There is no page at {request.url.path}."))
    return problem(view, PermanentError(str(error.detail)))


async def start(ctx: Context) -> None:
    """Report a wrong setting at the start, not on a page; load what signs users in."""
    users = ctx.settings(UserSettings)
    check_settings(ctx.settings(ConsoleSettings), users)
    if users.user_issuer_url:
        import oauthlib.oauth2  # noqa: F401 - a tenth of a second, in which no page is answered


console = api(
    "console",
    build,
    start=start,
    checks_origin=True,
    proven=["/"],
    retention=retention,
    needs_database=False,  # without one its pages say what is away
)
