"""Signing in with the team's OIDC issuer: authorization code with PKCE, state and nonce.

What an attempt must match is in a signed cookie of the browser that began it, for ten minutes and
for one return. Of the issuer's tokens nothing is kept but the user's name and groups.
"""

from __future__ import annotations

import hmac
import logging
import secrets
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any
from urllib.parse import quote_plus, urlencode

import httpx
from starlette.responses import RedirectResponse, Response

from functions.console.authentication.request_origin import Refused
from functions.console.authentication.sessions import Session
from functions.console.rendering import View
from functions.kit.contract.token_check import claims_of
from functions.kit.contract.users import (
    NamedUser,
    UserSettings,
    check_issuer,
    user_keys,
    user_of_claims,
)
from functions.kit.errors import TemporaryError, Unauthenticated, shortened

logger = logging.getLogger(__name__)

SIGN_IN = "/sign-in"
CALLBACK = f"{SIGN_IN}/callback"
SCOPES = ("openid", "profile", "email")


@dataclass(frozen=True)
class Attempt:
    """What the issuer's answer must match, and where the browser goes then."""

    state: str
    nonce: str
    verifier: str
    next: str


async def begin(view: View, next: str) -> Response:
    """To the issuer, which sends the browser back to `CALLBACK`."""
    from oauthlib.oauth2 import WebApplicationClient  # a tenth of a second, once

    users = view.ask.ctx.settings(UserSettings)
    found = await _described(view, users)
    client = WebApplicationClient(users.user_client_id)
    verifier = client.create_code_verifier(64)
    attempt = Attempt(secrets.token_urlsafe(32), secrets.token_urlsafe(32), verifier, next)
    url = client.prepare_request_uri(
        found["authorization_endpoint"],
        redirect_uri=_callback(view),
        scope=SCOPES,
        state=attempt.state,
        nonce=attempt.nonce,
        code_challenge=client.create_code_challenge(verifier, "S256"),
        code_challenge_method="S256",
    )
    response = RedirectResponse(url, 303, headers={"Cache-Control": "no-store"})
    view.authentication.set_attempt(response, asdict(attempt))
    return response


async def finish(view: View) -> Response:
    """A session for whom the issuer names, where its answer is that of this browser's attempt."""
    users = view.ask.ctx.settings(UserSettings)
    attempt = Attempt(**view.authentication.take_attempt())
    code = await _code(view, users, attempt)
    token = await _id_token(view, users, attempt, code)
    user = await _user(view, users, attempt, token)
    view.authentication.who = user.name
    if not users.is_viewer(user):
        raise Refused(f"{user.name} is neither a viewer nor an operator of this console.")
    logger.info("signed in", extra={"fields": {"who": user.name}})
    response = RedirectResponse(attempt.next, 303)
    session = Session(
        secrets.token_urlsafe(16), shortened(user.name, 100), users.known(user.groups)
    )
    view.authentication.leave(response, session)
    view.authentication.clear_attempt(response)
    return response


async def sign_out_url(view: View) -> str:
    """Where the browser ends its session at the issuer too (OpenID Connect RP-Initiated Logout);
    empty where the issuer has no such place."""
    users = view.ask.ctx.settings(UserSettings)
    found = await _described(view, users)
    if not (at := str(found.get("end_session_endpoint") or "")).startswith("https://"):
        return ""
    back = f"{view.ask.settings.console_url}{SIGN_IN}"
    asked = {"client_id": users.user_client_id, "post_logout_redirect_uri": back}
    return f"{at}{'&' if '?' in at else '?'}{urlencode(asked)}"


async def _described(view: View, users: UserSettings) -> Mapping[str, Any]:
    keys = view.ask.ctx.part(user_keys)
    found = await keys.describe()
    check_issuer(keys, users)
    return found


async def _code(view: View, users: UserSettings, attempt: Attempt) -> str:
    """The code of the issuer's answer."""
    from oauthlib.oauth2 import OAuth2Error, WebApplicationClient

    issuer = view.request.query_params.get("iss", users.user_issuer_url)  # RFC 9207
    if issuer != users.user_issuer_url:
        raise Refused("This answer is of another issuer: sign in again.")
    address = f"{_callback(view)}?{view.request.url.query}"
    client = WebApplicationClient(users.user_client_id)
    try:
        return str(client.parse_request_uri_response(address, attempt.state)["code"])
    except OAuth2Error as error:
        raise Refused(f"The sign-in did not succeed ({shortened(error.error, 60)}).") from None


async def _id_token(view: View, users: UserSettings, attempt: Attempt, code: str) -> str:
    """The ID token for which the issuer takes the code, once."""
    from oauthlib.oauth2 import OAuth2Error, WebApplicationClient

    found = await _described(view, users)
    client = WebApplicationClient(users.user_client_id)
    body = client.prepare_request_body(
        code, _callback(view), code_verifier=attempt.verifier, **_secret_in_body(view, found)
    )
    http = view.ask.ctx.resources.trusting(users.user_issuer_ca_file)
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    headers |= _secret_in_header(view, users, found)
    try:
        answer = await http.post(found["token_endpoint"], content=body, headers=headers)
        return str(client.parse_request_body_response(answer.text)["id_token"])
    except OAuth2Error as error:
        raise Refused(f"The issuer refused the sign-in ({shortened(error.error, 60)}).") from None
    except (httpx.HTTPError, ValueError, KeyError) as error:
        raise TemporaryError(f"the issuer gave no token ({type(error).__name__})") from None


def _secret_in_body(view: View, found: Mapping[str, Any]) -> dict[str, str]:
    secret = view.ask.settings.console_client_secret
    return {"client_secret": secret} if secret and not _takes_basic(found) else {}


def _secret_in_header(view: View, users: UserSettings, found: Mapping[str, Any]) -> dict[str, str]:
    secret = view.ask.settings.console_client_secret
    if not secret or not _takes_basic(found):
        return {}
    pair = f"{quote_plus(users.user_client_id)}:{quote_plus(secret)}"  # RFC 6749, 2.3.1
    return {"Authorization": f"Basic {b64encode(pair.encode()).decode()}"}


def _takes_basic(found: Mapping[str, Any]) -> bool:
    methods = found.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
    return "client_secret_basic" in methods


async def _user(view: View, users: UserSettings, attempt: Attempt, token: str) -> NamedUser:
    """Whom the ID token names, where it is for this client and this attempt."""
    keys = view.ask.ctx.part(user_keys)
    try:
        claims = await claims_of(token, keys, users.user_client_id)
        if not hmac.compare_digest(str(claims.get("nonce", "")), attempt.nonce):
            raise Unauthenticated("the token is of another sign-in")
        if claims.get("azp", users.user_client_id) != users.user_client_id:
            raise Unauthenticated("the token was issued to another client")
        return user_of_claims(claims, users)
    except Unauthenticated as error:
        raise Refused(f"The sign-in did not succeed: {error.detail}.") from None


def _callback(view: View) -> str:
    return f"{view.ask.settings.console_url}{CALLBACK}"
