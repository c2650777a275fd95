"""Templates as answers: the frame around every page, security headers, notices, streamed pages."""

from __future__ import annotations

import asyncio
import hashlib
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, FileSystemLoader, pass_context, select_autoescape
from jinja2.runtime import Context
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response, StreamingResponse

from functions.console import formatting
from functions.console.ask import Ask
from functions.console.authentication.authentication import Authentication
from functions.console.csv_table import as_csv
from functions.console.panels import Draw, Query, Shown
from functions.console.time_zone import zone_of
from functions.kit.errors import FunctionError, PermanentError

FOLDER = Path(__file__).resolve().parent

# In this order: each uses the one before.
SCRIPTS = (
    "htmx-2.0.11.min.js",
    "idiomorph-ext-0.7.4.min.js",
    "plots.js",
    "console.js",
    "refresh.js",
)

NAVIGATION = (
    ("/", "Today"),
    ("/sprints", "Sprints"),
    ("/functions", "Functions"),
    ("/events", "Events"),
    ("/orchestrations", "Orchestrations"),
    ("/jobs", "Jobs"),
    ("/agents", "Agents"),
    ("/schedules", "Schedules"),
    ("/dead-letters", "Dead letters"),
    ("/actions", "Actions"),
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
_templates.filters |= {**formatting.FILTERS, "as_csv": as_csv}


def _in_page_zone(format_: Callable[[object, str], str]) -> Callable[..., str]:
    """A filter that shows an instant in the zone of its page."""

    @pass_context
    def filter_(context: Context, value: object) -> str:
        return format_(value, context["zone"])

    return filter_


_templates.filters |= {
    f.__name__: _in_page_zone(f)
    for f in (formatting.clock, formatting.clock_ms, formatting.moment, formatting.moment_ms)
}


# Where the panels of a page come.
PANELS = "<!-- panels -->"


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
    authentication: Authentication

    @property
    def path(self) -> str:
        """The address's path, quoted: an id in it may hold anything."""
        return quote(self.request.scope["path"])

    @property
    def shown(self) -> dict[str, str]:
        """The digest of what an open page shows, by the name of each part that it asks for."""
        pairs = self.request.headers.get("x-panels", "").split()
        return {name: digest for name, _, digest in (pair.partition("=") for pair in pairs)}

    @property
    def query(self) -> dict[str, str]:
        """The address's query and path parameters: all that a panel may depend on."""
        given = {k: v for k, v in self.request.query_params.items() if v}
        # The framework's own route, before ours, has the whole path as a parameter.
        named = {k: str(v) for k, v in self.request.path_params.items() if k != "path"}
        return {**given, **named}


def drawn(view: View, template: str, values: Mapping[str, Any]) -> Markup:
    """A template with these values and those of the frame."""
    return Markup(_templates.get_template(template).render({**frame(view), **values}))


def render(
    view: View,
    template: str,
    values: Mapping[str, Any],
    status: int = 200,
    *,
    part: bool = False,
) -> Response:
    """A template as a page, in its frame and with the notice that waits for it, or as a part."""
    headers = {"Cache-Control": "no-store"}
    response = HTMLResponse(drawn(view, template, values), status, headers=headers)
    if not part:
        view.authentication.clear_notice(response)
    return response


async def streamed(
    view: View,
    page: str,
    values: Mapping[str, Any],
    panels: AsyncGenerator[Shown, None],
    counts: Awaitable[Mapping[str, object]],
) -> Response:
    """A page whose frame leaves with its `counts` and whose panels follow in their order.

    A panel comes after those above it, so nothing that is seen moves. What still loads when a
    browser goes away, or an error ends it all, is given up.
    """
    first = asyncio.ensure_future(anext(panels, None))  # they load meanwhile

    async def give_up() -> None:
        first.cancel()
        await asyncio.gather(first, return_exceptions=True)
        await panels.aclose()

    try:
        context = {**frame(view), **values, **await counts}
        before, after = _templates.get_template(page).render(context).split(PANELS)
    except BaseException:
        await give_up()
        raise
    panel = _templates.get_template("panel.html")

    async def parts() -> AsyncIterator[str]:
        try:
            yield before
            shown = await first
            while shown is not None:
                yield panel.render({**context, "shown": shown})
                shown = await anext(panels, None)
            yield after
        finally:
            await give_up()

    headers = {"Cache-Control": "no-store"}
    content: AsyncIterator[str | bytes] = parts()
    if "gzip" in view.request.headers.get("accept-encoding", ""):
        # The middleware would keep the frame until it has enough to compress.
        headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
        content = _zipped(parts())
    response = StreamingResponse(content, media_type="text/html", headers=headers)
    view.authentication.clear_notice(response)
    return response


async def _zipped(parts: AsyncIterator[str]) -> AsyncIterator[bytes]:
    """Each part as it is there, compressed."""
    pack = zlib.compressobj(wbits=31)  # 31: with the header of gzip
    async for part in parts:
        yield pack.compress(part.encode()) + pack.flush(zlib.Z_SYNC_FLUSH)
    yield pack.flush()


def frame(view: View) -> dict[str, Any]:
    """What every template may use."""
    path = view.path
    section = path.replace("/projects/", "/sprints/", 1)  # a project's page is one of Sprints
    # A page of no section, as the search, marks none; parts of Today have no path of their own.
    other = "/" if section.startswith("/panels/") else section
    here = next((p for p, _ in NAVIGATION[1:] if f"{section}/".startswith(f"{p}/")), other)
    return {
        "navigation": NAVIGATION,
        "here": here,
        "user": view.authentication.user,
        "form_token": view.authentication.form_token,
        "notice": view.authentication.notice(),
        "scripts": SCRIPTS,
        "now": view.ask.ctx.now(),
        "zone": zone_of(view.request),
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
    titles = {403: "Not allowed", 404: "Not found", 409: "Conflict"}
    title = titles.get(status, "Unavailable" if status == 503 else "That did not work")
    values = {"title": title, "message": error.detail, "status": status}
    return render(view, "problem.html", values, status)


def done(view: View, to: str, message: str, tone: str = "good") -> Response:
    """After an action: back to a page that shows the outcome, in the tone that it deserves."""
    response = RedirectResponse(to, 303)
    view.authentication.set_notice(response, message, tone)
    return response
