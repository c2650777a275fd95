"""How pages are made: templates, headers, the frame around every page, forms and their answers."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, wraps
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, select_autoescape
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from functions.console import formatting
from functions.console.ask import Ask
from functions.console.authentication import Desk, EndedSessions
from functions.console.panels import Draw, Panel, Query, Shown, show, show_one
from functions.kit.context import Context
from functions.kit.errors import FunctionError, NotFound, PermanentError, TemporaryError

logger = logging.getLogger(__name__)

FOLDER = Path(__file__).resolve().parent
# What a page that asks before an action waits for a service, which may start from zero.
ACTION_TIMEOUT_S = 10.0

# In this order: each uses the one before.
SCRIPTS = ("htmx-2.0.11.min.js", "idiomorph-ext-0.7.4.min.js", "console.js")

NAVIGATION = (
    ("/", "Today"),
    ("/sprints", "Sprints"),
    ("/events", "Events"),
    ("/orchestrations", "Orchestrations"),
    ("/jobs", "Jobs"),
    ("/schedules", "Schedules"),
    ("/dead-letters", "Dead letters"),
)

SECURITY = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; "
    "img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    # Not no-referrer: with it a browser sends `Origin: null` with our own forms.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

_templates = Environment(
    loader=FileSystemLoader(FOLDER / "templates"),
    autoescape=select_autoescape(default=True),
    trim_blocks=True,
    lstrip_blocks=True,
)
_templates.filters |= formatting.FILTERS


@cache
def asset(name: str) -> str:
    """An asset's address, which changes with its content: browsers may keep it for ever.

    >>> asset("console.css").startswith("/static/console.css?v=")
    True
    """
    digest = hashlib.sha256((FOLDER / "static" / name).read_bytes()).hexdigest()
    return f"/static/{name}?v={digest[:12]}"


_templates.globals["asset"] = asset


@dataclass(frozen=True)
class View:
    """One request for a page: whom to ask, who looks, what the address says."""

    request: Request
    ask: Ask
    desk: Desk

    @property
    def query(self) -> dict[str, str]:
        """The address's query and path parameters: all that a panel may depend on."""
        given = {k: v for k, v in self.request.query_params.items() if v}
        # The framework's own route, before ours, has the whole path as a parameter.
        named = {k: str(v) for k, v in self.request.path_params.items() if k != "path"}
        return {**given, **named}


Answer = Callable[[View], Awaitable[Response]]


@dataclass(frozen=True)
class Page:
    """A page: where it is, what it is called, and its panels.

    `title` may use the path's parameters, "Sprint {sprint_id}", or be made of the query. `head` is
    a template above the panels: pickers and filters. `exists` raises `NotFound` where the page is
    of nothing.
    """

    path: str
    title: str | Callable[[Ask, Query], str]
    panels: Sequence[Panel]
    lead: str = ""
    head: str = ""
    parent: tuple[str, str] | None = None
    exists: Callable[[Ask, Query], Awaitable[object]] | None = None

    def routes(self) -> list[Route]:
        return [
            endpoint(self.path, self._whole),
            endpoint(self.path.rstrip("/") + "/panels/{panel}", self._part),
        ]

    async def _whole(self, view: View) -> Response:
        query, base = view.query, view.request.url.path
        patience_s = view.ask.settings.console_patience_s
        until = time.monotonic() + patience_s
        exists = asyncio.ensure_future(self._check(view.ask.limited(patience_s), query))
        panels = [p for p in self.panels if p.shows is None or p.shows(view.ask, query)]
        shown = await show(panels, view.ask, query, base, patience_s, drawing(view))
        await asyncio.wait([exists], timeout=max(0.0, until - time.monotonic()))
        if exists.done():
            exists.result()
        exists.cancel()
        return render(
            view,
            "page.html",
            {"page": self, "title": self._title(view.ask, query), "panels": shown, "query": query},
        )

    def _title(self, ask: Ask, query: Query) -> str:
        given = self.title
        return given.format_map(query) if isinstance(given, str) else given(ask, query)

    async def _check(self, ask: Ask, query: Query) -> None:
        """`NotFound` where the page is of nothing; a service that is away says so in a panel."""
        if self.exists is not None:
            with suppress(TemporaryError):
                await self.exists(ask, query)

    async def _part(self, view: View) -> Response:
        query = view.query
        name = query.pop("panel")
        base = view.request.url.path.removesuffix(f"/panels/{name}")
        panel = next((panel for panel in self.panels if panel.name == name), None)
        if panel is None:
            raise NotFound(f"There is no panel {name}.")
        shown = await show_one(panel, view.ask, query, base or "/", drawing(view))
        return render(view, "part.html", {"shown": shown, "query": query}, part=True)


def endpoint(path: str, answer: Answer, methods: Sequence[str] = ("GET",)) -> Route:
    """A route whose answer gets a view, and whose errors are pages, whatever they are."""

    @wraps(answer)
    async def call(request: Request) -> Response:
        ctx: Context = request.scope["context"]
        ask = Ask(ctx, ACTION_TIMEOUT_S)
        view = View(request, ask, Desk(request, ask.settings, ask.ctx.part(EndedSessions)))
        try:
            response = await answer(view)
        except FunctionError as error:
            response = problem(view, error)
        except Exception as error:
            logger.error("page %s", request.url.path, exc_info=error)
            response = problem(view, Broken(f"This page failed ({type(error).__name__})."))
        if request.method == "POST":
            said = {"who": view.desk.who, "path": request.url.path, "status": response.status_code}
            logger.info("action", extra={"fields": said})
        view.desk.leave(response)
        return response

    return Route(path, call, methods=list(methods))


class Broken(PermanentError):
    """Our own fault; the log has the rest."""

    status = 500


def render(
    view: View,
    template: str,
    values: Mapping[str, Any],
    status: int = 200,
    *,
    part: bool = False,
) -> Response:
    """A template as a page, in its frame and with the notice that waits for it, or as a part."""
    html = _templates.get_template(template).render({**frame(view), **values})
    response = HTMLResponse(html, status, headers={"Cache-Control": "no-store"})
    if not part:
        view.desk.heard(response)
    return response


def frame(view: View) -> dict[str, Any]:
    """What every template may use."""
    path = view.request.url.path
    here = next((p for p, _ in NAVIGATION[1:] if path == p or path.startswith(f"{p}/")), "/")
    return {
        "navigation": NAVIGATION,
        "here": here,
        "person": view.desk.person,
        "form_token": view.desk.form_token,
        "notice": view.desk.notice(),
        "scripts": SCRIPTS,
        "now": view.ask.ctx.now(),
        "address": path + (f"?{view.request.url.query}" if view.request.url.query else ""),
    }


def drawing(view: View) -> Draw:
    """How this view's panels are drawn."""
    values = frame(view)

    def draw(shown: Shown, query: Query) -> Markup:
        template = _templates.get_template(shown.template)
        return Markup(template.render({**values, "query": query, "data": shown.data}))

    return draw


def problem(view: View, error: FunctionError) -> Response:
    """An error as a page of its own."""
    status = error.status if isinstance(error, PermanentError) else 503
    titles = {403: "Not allowed", 404: "Not found", 409: "It is not so any more"}
    title = titles.get(status, "Away" if status == 503 else "That did not work")
    values = {"title": title, "words": error.detail, "status": status}
    return render(view, "problem.html", values, status)


def done(view: View, to: str, said: str, tone: str = "good") -> Response:
    """After an action: back to a page that shows the outcome, in the tone that it deserves."""
    response = RedirectResponse(to, 303)
    view.desk.say(response, said, tone)
    return response
