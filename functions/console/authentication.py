"""Who is looking, and may they act? Sessions, the form token, and where a request comes from.

An action requires a user (a proxy's header, the token, or a console that is
local), a form that this console gave to that browser, and an Origin that is the console itself.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs

from itsdangerous import BadSignature, URLSafeSerializer, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

from functions.console.request_origin import (
    Refused,
    check_origin,
    decoded_header,
    is_from_elsewhere,
    is_https,
    is_loopback,
)
from functions.console.settings import ConsoleSettings
from functions.kit.context import Resources
from functions.kit.contract.cross_origin import host_of
from functions.kit.errors import PermanentError, shortened

COOKIE = "console"
NOTICE = "console_notice"
MAX_FORM_BYTES = 64 * 1024
# Who signed in signs in again the next day.
SESSION_S = 12 * 3600
# So many failed attempts to sign in within so many seconds, and no more are looked at.
MAX_ATTEMPTS = 10
ATTEMPTS_S = 60.0


@dataclass(frozen=True)
class User:
    """Who is looking; `why_not` says why they may not act."""

    name: str
    why_not: str = ""
    may_sign_in: bool = False
    signed_in: bool = False

    @property
    def may_act(self) -> bool:
        return not self.why_not


@dataclass(frozen=True)
class Session:
    """What the browser's cookie says: a random id, and the name that signed in."""

    id: str
    name: str = ""
    fresh: bool = False


class Authentication:
    """Reads and writes the cookies; made once per request."""

    def __init__(self, request: Request, settings: ConsoleSettings, ended: EndedSessions) -> None:
        self.request = request
        self._ended = ended
        self._settings = settings
        # Without a token no user can sign in: there the Origin and the cookie's site protect.
        secret = hashlib.sha256(b"console " + settings.console_token.encode()).digest()
        self._sessions = URLSafeTimedSerializer(secret, salt="session")
        self._forms = URLSafeSerializer(secret, salt="form")
        self._notices = URLSafeSerializer(secret, salt="notice")
        self.session = self._session()
        self.who = "anonymous"  # who acts, once that is known

    @property
    def user(self) -> User:
        settings = self._settings
        header = settings.console_user_header
        if header and (named := decoded_header(self.request.headers.get(header, ""))):
            return User(shortened(named, 100), signed_in=True)
        if settings.console_token:
            if self.session.name:
                return User(self.session.name, signed_in=True, may_sign_in=True)
            return User("anonymous", "Sign in to act.", may_sign_in=True)
        if settings.console_local and is_loopback(host_of(self.request.scope)):
            return User("local")
        if settings.console_local:
            return User(
                "anonymous", "This console acts on this machine only: open it as localhost."
            )
        return User(
            "anonymous", "This console only reads: set CONSOLE_TOKEN to let users sign in and act."
        )

    @property
    def form_token(self) -> str:
        return str(self._forms.dumps(self.session.id))

    async def form(self) -> Mapping[str, str]:
        """The fields of a form that came from here; `Refused` says what is wrong."""
        check_origin(self.request, self._settings.console_url)
        body = await self.request.body()
        if len(body) > MAX_FORM_BYTES:
            raise PermanentError("The form is too large.")
        fields = {k: v[-1] for k, v in parse_qs(body.decode("utf-8", "replace")).items()}
        try:
            belongs = self._forms.loads(fields.pop("form_token", "")) == self.session.id
        except BadSignature:
            belongs = False
        if not belongs or self.session.fresh:
            raise Refused("This form is out of date: load the page again, then press once more.")
        return fields

    async def act(self) -> tuple[Mapping[str, str], str]:
        """The form's fields and who acts."""
        fields = await self.form()
        user = self.user
        if not user.may_act:
            raise Refused(user.why_not)
        self.who = user.name
        return fields, user.name

    def knows(self, token: str) -> bool:
        expected = self._settings.console_token
        return bool(expected) and hmac.compare_digest(token.encode(), expected.encode())

    def notice(self) -> Mapping[str, str]:
        """The outcome of the last action, once: `message` and their `tone`; empty without one."""
        try:
            found = self._notices.loads(self.request.cookies.get(NOTICE, ""))
            return {"message": str(found["message"]), "tone": str(found["tone"])}
        except (BadSignature, KeyError, TypeError):
            return {}

    def leave(self, response: Response, session: Session | None = None) -> None:
        """Give the browser its session, if it has none or it changes."""
        if session is None and not (self.session.fresh and self._may_begin()):
            return
        kept = session or self.session
        value = self._sessions.dumps({"id": kept.id, "name": kept.name})
        self.set_cookie(response, COOKIE, str(value))

    def _may_begin(self) -> bool:
        """Another site's form comes without our cookie: it must not put out who is signed in."""
        return self.request.method == "GET" or not is_from_elsewhere(self.request)

    def set_notice(self, response: Response, message: str, tone: str = "good") -> None:
        """Show `message` on the next page."""
        notice = {"message": shortened(message, 400), "tone": tone}
        self.set_cookie(response, NOTICE, str(self._notices.dumps(notice)))

    def clear_notice(self, response: Response) -> None:
        if NOTICE in self.request.cookies:
            response.delete_cookie(NOTICE, path="/")

    def set_cookie(
        self, response: Response, name: str, value: str, max_age_s: int | None = None
    ) -> None:
        """Keep a value in the browser, for its session where no age is given."""
        # Lax: a link in a mail or a dashboard shows who is signed in. Forms have their token.
        secure = is_https(self.request) or self._settings.console_url.startswith("https:")
        response.set_cookie(
            *(name, value, max_age_s), path="/", httponly=True, samesite="lax", secure=secure
        )

    def _session(self) -> Session:
        try:
            found = self._sessions.loads(self.request.cookies.get(COOKIE, ""), max_age=SESSION_S)
            if found["id"] not in self._ended:
                return Session(str(found["id"]), str(found["name"]))
        except (BadSignature, KeyError, TypeError):
            pass
        return Session(secrets.token_urlsafe(16), fresh=True)

    def end_session(self) -> None:
        """Refuse actions with this browser's cookie from now on, also from a copy of it."""
        self._ended.add(self.session.id)


class EndedSessions:
    """The sessions that were signed out, until they would have ended by themselves."""

    def __init__(self, resources: Resources) -> None:
        self._until: dict[str, float] = {}

    def add(self, id: str) -> None:
        now = time.monotonic()
        self._until = {id: until for id, until in self._until.items() if until > now}
        self._until[id] = now + SESSION_S

    def __contains__(self, id: object) -> bool:
        return id in self._until


class SignInAttempts:
    """Failed attempts to sign in, counted for the whole process: a token must not be guessed."""

    def __init__(self, resources: Resources) -> None:
        self._failed: deque[float] = deque(maxlen=MAX_ATTEMPTS)

    def failed(self) -> None:
        self._failed.append(time.monotonic())

    @property
    def wait_s(self) -> float:
        """How long until the next attempt is looked at, seconds; 0 where it is at once."""
        if len(self._failed) < MAX_ATTEMPTS:
            return 0.0
        return max(0.0, self._failed[0] + ATTEMPTS_S - time.monotonic())
