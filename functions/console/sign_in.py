"""What a browser keeps: who has signed in, and the time zone of its pages."""

from __future__ import annotations

import secrets

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from functions.console import time_zone
from functions.console.authentication import Session, SignInAttempts
from functions.console.pages import endpoint
from functions.console.rendering import View, done, render
from functions.console.request_origin import Refused
from functions.console.time_zone import is_zone
from functions.kit.errors import PermanentError, shortened


async def ask_token(view: View) -> Response:
    """`GET /sign-in?next=/somewhere`."""
    values = {"title": "Sign in", "next": _local(view.query.get("next", "/")), "wrong": ""}
    return render(view, "sign_in.html", values)


async def sign_in(view: View) -> Response:
    """A new session for who knows the token; the old id is not kept."""
    form = await view.authentication.form()
    name = shortened(form.get("name", ""), 60)
    to = _local(form.get("next", "/"))
    view.authentication.who = name or "anonymous"
    attempts = view.ask.ctx.part(SignInAttempts)
    if wait_s := attempts.wait_s:
        wrong = f"Too many failed attempts: try again in {wait_s:.0f} s."
        values = {"title": "Sign in", "next": to, "wrong": wrong}
        response = render(view, "sign_in.html", values, 429)
        response.headers["Retry-After"] = str(max(1, round(wait_s)))
        return response
    if not name or not view.authentication.knows(form.get("token", "")):
        if name:
            attempts.failed()
        wrong = "That is not the token." if name else "Say who you are: it goes into the audit."
        values = {"title": "Sign in", "next": to, "wrong": wrong}
        return render(view, "sign_in.html", values, 403)
    answer = RedirectResponse(to, 303)
    view.authentication.leave(answer, Session(secrets.token_urlsafe(16), name))
    return answer


async def sign_out(view: View) -> Response:
    await view.authentication.form()
    if not view.authentication.user.signed_in:
        raise Refused("You are not signed in.")
    view.authentication.who = view.authentication.user.name
    view.authentication.end_session()
    response = done(view, "/", "You are signed out.")
    view.authentication.leave(response, Session(secrets.token_urlsafe(16)))
    return response


async def choose_zone(view: View) -> Response:
    """Show every page's times in the zone that the form names; an empty one is UTC."""
    form = await view.authentication.form()
    zone = form.get("zone", "").strip() or "UTC"
    if not is_zone(zone):
        raise PermanentError(f"{zone[:60]} is no time zone such as Europe/Berlin.")
    response = RedirectResponse(_local(form.get("next", "/")), 303)
    view.authentication.set_cookie(response, time_zone.COOKIE, zone, time_zone.YEAR_S)
    return response


def _local(path: str) -> str:
    """A path of this console: no sign-in leads elsewhere.

    >>> _local("/jobs?state=queued"), _local("//evil.example/"), _local("https://evil.example")
    ('/jobs?state=queued', '/', '/')
    """
    safe = path.startswith("/") and not path.startswith(("//", "/\\"))
    return path if safe and "\n" not in path and "\r" not in path else "/"


def routes() -> list[Route]:
    return [
        endpoint("/sign-in", ask_token),
        endpoint("/sign-in", sign_in, ["POST"]),
        endpoint("/sign-out", sign_out, ["POST"]),
        endpoint("/zone", choose_zone, ["POST"]),
    ]
