"""Pages and their routes: panels in a frame, and answers whose errors are pages."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import wraps
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from functions.console.ask import Ask
from functions.console.authentication.authentication import Authentication
from functions.console.authentication.request_origin import Refused
from functions.console.csv_table import as_csv
from functions.console.panels import Panel, Query, Shown, show, show_one
from functions.console.rendering import View, drawing, problem, render, streamed
from functions.kit.context import Context
from functions.kit.errors import (
    BadAnswer,
    FunctionError,
    NotFound,
    PermanentError,
    TemporaryError,
)

logger = logging.getLogger(__name__)

# What a page that asks before an action waits for a service, which may start from zero.
ACTION_TIMEOUT_S = 10.0

# What the frame of a page waits for the counts of its navigation; its panels load meanwhile.
COUNTS_TIMEOUT_S = 0.05

# Where a page says which of its parts have changed.
CHANGED = "/panels/changed"

Answer = Callable[[View], Awaitable[Response]]


@dataclass(frozen=True)
class Page:
    """A page: where it is, what it is called, and its panels.

    `title` may use the path's parameters, "Sprint {sprint_id}", or be made of the query. `head` is
    a template above the panels: pickers and filters. `exists` raises `NotFound` where the page is
    of nothing; a text that it returns is the name of that, beside the id in the title.
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
            endpoint(self.path.rstrip("/") + CHANGED, self._changed),
            endpoint(self.path.rstrip("/") + "/panels/{panel}.csv", self._csv),
            endpoint(self.path.rstrip("/") + "/panels/{panel}", self._part),
        ]

    async def _whole(self, view: View) -> Response:
        query, base = view.query, view.path
        timeout_s = view.ask.settings.console_page_timeout_s
        name = await self._name(view.ask.limited(timeout_s), query)
        panels = [p for p in self.panels if p.shows is None or p.shows(view.ask, query)]
        shown = show(panels, view.ask, query, base, timeout_s, drawing(view))
        values = {
            "page": self,
            "title": self._title(view.ask, query),
            "name": name,
            "query": query,
            "changed": changed_at(view),
        }
        return await streamed(view, "page.html", values, shown, self._counts(view))

    async def _counts(self, view: View) -> Mapping[str, object]:
        """What the navigation counts; nothing where that takes long: the browser asks again."""
        task = asyncio.ensure_future(view.request.app.state.counts(view))
        await asyncio.wait([task], timeout=COUNTS_TIMEOUT_S)
        return task.result() if task.done() else {}

    def _title(self, ask: Ask, query: Query) -> str:
        given = self.title
        return given.format_map(query) if isinstance(given, str) else given(ask, query)

    async def _name(self, ask: Ask, query: Query) -> str:
        """The name beside the title; none where its service is away or cannot be understood.

        A panel that needs it says so.
        """
        found: object = ""
        if self.exists is not None:
            with suppress(TemporaryError, BadAnswer):
                found = await self.exists(ask, query)
        return found if isinstance(found, str) else ""

    async def _changed(self, view: View) -> Response:
        """Those of the parts that `X-Panels: NAME=DIGEST ...` names that show something else now.

        204 where all show the same. One request asks for all that an open page shows.
        """
        shown = view.shown
        query, base = view.query, view.path.removesuffix(CHANGED) or "/"
        panels = [panel for panel in self.panels if panel.name in shown]
        navigation, *parts = await asyncio.gather(
            view.request.app.state.navigation(view, base),
            *(show_one(panel, view.ask, query, base, drawing(view)) for panel in panels),
        )
        changed = [part for part in parts if part.digest != shown[part.panel.name]]
        if not changed and "navigation" not in shown:
            navigation = ""  # what is on the page counts what its lists show
        if not changed and not navigation:
            return Response(status_code=204)
        values = {"parts": changed, "query": query, "navigation_part": navigation}
        return render(view, "parts.html", values, part=True)

    async def _part(self, view: View) -> Response:
        if "if-none-match" in view.request.headers:
            return whole_page_anew()
        shown, query = await self._one(view, "")
        return render(view, "parts.html", {"parts": [shown], "query": query}, part=True)

    async def _csv(self, view: View) -> Response:
        """The tables of a panel; 503 with the reason where it could not be loaded."""
        shown, _ = await self._one(view, ".csv")
        if shown.state != "ready":
            raise TemporaryError(shown.message)
        place = view.request.url.path.removesuffix(f"panels/{shown.panel.name}.csv")
        name = re.sub(r"[^A-Za-z0-9._]+", "-", place + shown.panel.name).strip("-")
        headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
        return Response(as_csv(shown.html), media_type="text/csv", headers=headers)

    async def _one(self, view: View, ending: str) -> tuple[Shown, Query]:
        query = view.query
        name = query.pop("panel")
        base = view.path.removesuffix(f"/panels/{name}{ending}")
        panel = next((panel for panel in self.panels if panel.name == name), None)
        if panel is None:
            raise NotFound(f"There is no panel {name}.")
        return await show_one(panel, view.ask, query, base or "/", drawing(view)), query


def whole_page_anew() -> Response:
    """The answer to a part of a page that the release before this one made.

    Its parts ask for themselves, and its scripts do not know how those of today are refreshed: it
    would stand still from the first answer on. To be removed in 0.3.0.
    """
    return Response(status_code=204, headers={"HX-Refresh": "true"})


def changed_at(view: View) -> str:
    """Where this page says which of its parts have changed."""
    query = f"?{view.request.url.query}" if view.request.url.query else ""
    return view.path.rstrip("/") + CHANGED + query


def endpoint(
    path: str, answer: Answer, methods: Sequence[str] = ("GET",), *, is_open: bool = False
) -> Route:
    """A route whose answer gets a view, and whose errors are pages, whatever they are.

    Only viewers and operators get it, unless it `is_open`.
    """

    @wraps(answer)
    async def call(request: Request) -> Response:
        ctx: Context = request.scope["context"]
        ask = Ask(ctx, ACTION_TIMEOUT_S)
        view = View(request, ask, await Authentication.of(request, ctx))
        try:
            response = _sign_in_first(view) if not is_open else None
            if response is None:
                response = await answer(view)
        except FunctionError as error:
            response = problem(view, error)
        except Exception as error:
            logger.error("page %s", request.url.path, exc_info=error)
            response = problem(view, Broken(f"This page failed ({type(error).__name__})."))
        if request.method == "POST":
            fields = {
                "who": view.authentication.who,
                "path": request.url.path,
                "status": response.status_code,
                **({"reason": reason} if (reason := view.authentication.reason) else {}),
            }
            logger.info("action", extra={"fields": fields})
        view.authentication.leave(response)
        return response

    return Route(path, call, methods=list(methods))


def _sign_in_first(view: View) -> Response | None:
    """The answer to who may not look, else None."""
    user, request = view.authentication.user, view.request
    if user.may_look:
        return None
    if user.signed_in:
        raise Refused(f"{user.name} is neither a viewer nor an operator of this console.")
    if request.method != "GET" or not user.may_sign_in:
        raise Refused("Sign in to look at this console.")
    if "hx-request" in request.headers:  # a panel: the whole page has to sign in
        return Response(status_code=401, headers={"HX-Refresh": "true"})
    query = f"?{request.url.query}" if request.url.query else ""
    return RedirectResponse(f"/sign-in?{urlencode({'next': view.path + query})}", 303)


def moved(old: str, new: str) -> Route:
    """An address of an earlier release: 308 to the one that took its place, with its query."""

    async def answer(view: View) -> Response:
        query = view.request.url.query
        return RedirectResponse(f"{new}?{query}" if query else new, 308)

    return endpoint(old, answer)


class Broken(PermanentError):
    """Our own fault; the log has the rest."""

    status = 500
