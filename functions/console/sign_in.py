"""What a browser keeps: who has signed in, and the time zone of its pages."""

from __future__ import annotations

import logging
import secrets
from urllib.parse import urlsplit

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from functions.console import oidc, time_zone
from functions.console.authentication.request_origin import Refused, peer_of
from functions.console.authentication.sessions import Session, SignInAttempts
from functions.console.pages import endpoint
from functions.console.rendering import View, done, render
from functions.console.time_zone import is_zone
from functions.kit.contract.users import UserSettings
from functions.kit.errors import NotFound, PermanentError, TemporaryError, shortened

logger = logging.getLogger(__name__)


async def choose(view: View) -> Response:
    """`GET /sign-in?next=/somewhere`: the token's form, or the way to the issuer."""
    return _page(view, _local(view.query.get("next", "/")))


def _page(view: View, to: str, wrong: str = "", status: int = 200) -> Response:
    values = {"title": "Sign in", "next": to, "wrong": wrong, "issuer": _issuer(view)}
    return render(view, "sign_in.html", values, status)


async def start(view: View) -> Response:
    """`GET /sign-in/start?next=/somewhere`: to the issuer."""
    _check_issuer(view)
    return await oidc.begin(view, _local(view.query.get("next", "/")))


async def callback(view: View) -> Response:
    """Back from the issuer; what is wrong with its answer is shown beside the way to try again."""
    _check_issuer(view)
    try:
        return await oidc.finish(view)
    except Refused as error:
        logger.warning("sign-in refused: %s", error.detail)
        response = _page(view, "/", error.detail, 403)
        view.authentication.clear_attempt(response)
        return response


def _issuer(view: View) -> str:
    """The issuer's name, as the sign-in pages show it; empty without one."""
    return urlsplit(view.ask.ctx.settings(UserSettings).user_issuer_url).netloc


def _check_issuer(view: View) -> None:
    if not _issuer(view):
        raise NotFound("This console has no issuer to sign in with.")


async def sign_in(view: View) -> Response:
    """A new session for who knows the token; the old id is not kept."""
    form = await view.authentication.form()
    name = shortened(form.get("name", ""), 60)
    to = _local(form.get("next", "/"))
    view.authentication.who = name or "anonymous"
    attempts = view.ask.ctx.part(SignInAttempts)
    peer = peer_of(view.request)
    if wait_s := attempts.wait_s(peer):
        wrong = f"Too many failed attempts: try again in {wait_s:.0f} s."
        response = _page(view, to, wrong, 429)
        response.headers["Retry-After"] = str(max(1, round(wait_s)))
        return response
    if not name or not view.authentication.knows(form.get("token", "")):
        if name:
            attempts.failed(peer)
        wrong = "That is not the token." if name else "Say who you are: it goes into the audit."
        return _page(view, to, wrong, 403)
    answer = RedirectResponse(to, 303)
    view.authentication.leave(answer, Session(secrets.token_urlsafe(16), name))
    return answer


async def sign_out(view: View) -> Response:
    await view.authentication.form()
    if not view.authentication.user.signed_in:
        raise Refused("You are not signed in.")
    view.authentication.who = view.authentication.user.name
    await view.authentication.end_session()
    return await _after_sign_out(view)


async def _after_sign_out(view: View) -> Response:
    """On to the issuer, which knows the browser still, or to the sign-in page."""
    issuer = _issuer(view)
    try:
        at = await oidc.sign_out_url(view) if issuer else ""
    except TemporaryError:
        message = f"You are signed out here. {issuer} could not be asked and may know you still."
        return done(view, oidc.SIGN_IN, message, "wait")
    if not at:
        return done(view, oidc.SIGN_IN, "You are signed out.")
    response = render(view, "signed_out.html", {"title": "Signed out", "issuer": issuer, "at": at})
    # No redirect: the policy's form-action would not let a form's answer lead to another site.
    response.headers["Refresh"] = f"0; url={at}"
    view.authentication.set_notice(response, "You are signed out.")
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
        endpoint(oidc.SIGN_IN, choose, is_open=True),
        endpoint(oidc.SIGN_IN, sign_in, ["POST"], is_open=True),
        endpoint("/sign-in/start", start, is_open=True),
        endpoint(oidc.CALLBACK, callback, is_open=True),
        endpoint("/sign-out", sign_out, ["POST"], is_open=True),
        endpoint("/zone", choose_zone, ["POST"], is_open=True),
    ]
