"""Each page of the console is among those that a browser looks at."""

from __future__ import annotations

from starlette.routing import Match, Route

from functions.console.main import SECTIONS
from tests.browser.pages import PAGES

# Pages that no browser test opens by their address, each with the reason.
OTHERS = {
    "/navigation": "a part of every page",
    "/events/chain": "leads to /events/trace",
    "/sign-in/start": "leads to the issuer",
    "/sign-in/callback": "the issuer leads here: test_issuer_in_browser.py",
    "/jobs/{id}/retry": "confirm.html, as cancel is",
    "/jobs/{id}/approve": "confirm.html, as cancel is",
    "/jobs/{id}/reject": "confirm.html, as cancel is",
    "/dead-letters/dismiss": "confirm.html, as redrive is",
    "/dead-letters/{number}/delete": "confirm.html, as dismiss is",
    "/schedules/{name}/backfills/{number}/{action}": "confirm.html, as pause of a schedule is",
}


def test_each_page_is_looked_at_in_a_browser() -> None:
    routes = [route for section in SECTIONS for route in section.routes()]
    pages = [r for r in routes if "GET" in (r.methods or ()) and "/panels/" not in r.path]
    seen = {_route(pages, address.partition("?")[0]) for address in PAGES.values()}
    assert {route.path for route in pages} - seen == OTHERS.keys()


def _route(routes: list[Route], path: str) -> str:
    scope = {"type": "http", "method": "GET", "path": path, "headers": []}
    return next((r.path for r in routes if r.matches(scope)[0] is Match.FULL), "")
