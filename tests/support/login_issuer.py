"""An OIDC issuer that signs users in, as Keycloak or Google is one: codes, PKCE, ID tokens."""

from __future__ import annotations

import base64
import hashlib
import secrets
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.support.issuer import Issuer

URL = "https://login.example.org"
CLIENT = "dsm-console"
# The settings of a function that takes this issuer's tokens.
ENVIRON = {
    "USER_ISSUER_URL": URL,
    "USER_CLIENT_ID": CLIENT,
    "USER_OPERATORS": "ada@example.org,group:admins",
    "USER_VIEWERS": "*@example.org",
}


class LoginIssuer(Issuer):
    """`claims_now` are what its next token says besides; `asked` are the requests for a token.

    `ends_sessions` says whether it signs users out as well."""

    def __init__(self, url: str = URL) -> None:
        super().__init__(url)
        self.codes: dict[str, dict[str, str]] = {}
        self.claims_now: dict[str, Any] = {"email": "ada@example.org", "email_verified": True}
        self.asked: list[dict[str, str]] = []
        self.secret = ""
        self.ends_sessions = True
        self.app.router.routes.append(Route("/token", self._token, methods=["POST"]))

    def authorize(self, address: str) -> dict[str, str]:
        """What a user's consent at the address sends back: code and state."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(address).query).items()}
        code = secrets.token_urlsafe(8)
        self.codes[code] = asked
        return {"code": code, "state": asked["state"]}

    def user(self, **claims: Any) -> str:
        """A token of a user, as a command line gets one."""
        given = {"sub": "1", "aud": CLIENT, **self.claims_now, **claims}
        return self.signed(self.claims(**given))

    async def _token(self, request: Request) -> Response:
        form = {
            name: values[0] for name, values in parse_qs((await request.body()).decode()).items()
        }
        self.asked.append(form | {"authorization": request.headers.get("authorization", "")})
        began = self.codes.pop(form.get("code", ""), None)
        if began is None or not self._fits(form, began):
            return JSONResponse({"error": "invalid_grant"}, 400)
        token = self.user(**{"nonce": began["nonce"], **self.claims_now})
        return JSONResponse({"access_token": "x", "token_type": "Bearer", "id_token": token})

    def _fits(self, form: dict[str, str], began: dict[str, str]) -> bool:
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        return (
            began["code_challenge_method"] == "S256"
            and challenge == began["code_challenge"]
            and form.get("redirect_uri") == began["redirect_uri"]
            and form.get("client_id") == began["client_id"]
        )

    def describe(self) -> dict[str, Any]:
        found = super().describe() | {
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
        }
        if self.ends_sessions:
            found["end_session_endpoint"] = f"{self.url}/logout"
        return found
