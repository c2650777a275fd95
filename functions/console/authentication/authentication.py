"""Who is looking, and may they act? Sessions, the form token, and where a request comes from.

An action requires a user (a proxy's header, the token, or a console that is
local), a form that this console gave to that browser, and an Origin that is the console itself.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qs

from itsdangerous import BadSignature, URLSafeSerializer, URLSafeTimedSerializer
from starlette.requests import Request
from starlette.responses import Response

from functions.console.authentication import sessions
from functions.console.authentication.ended_sessions import EndedSessions
from functions.console.authentication.request_origin import (
    Refused,
    check_origin,
    decoded_header,
    is_from_elsewhere,
    is_https,
)
from functions.console.authentication.sessions import ATTEMPT_S, Session, UsedAttempts
from functions.console.settings import ConsoleSettings
from functions.kit.context import Context
from functions.kit.contract.cross_origin import host_of
from functions.kit.contract.users import NamedUser, UserSettings
from functions.kit.errors import PermanentError, TemporaryError, shortened
from functions.loopback import is_loopback

COOKIE = "console"
NOTICE = "console_notice"
ATTEMPT = "console_sign_in"
MAX_FORM_BYTES = 64 * 1024


@dataclass(frozen=True)
class User:
    """Who is looking; `why_not` says why they may not act."""

    name: str
    why_not: str = ""
    may_sign_in: bool = False
    signed_in: bool = False
    may_look: bool = True

    @property
    def may_act(self) -> bool:
        return not self.why_not


class Authentication:
    """Reads and writes the cookies; made once per request, by `of`."""

    def __init__(self, request: Request, ctx: Context) -> None:
        self.request = request
        self._ended = ctx.part(EndedSessions)
        self._used = ctx.part(UsedAttempts)
        self._unsure = ""  # why it is unknown whether the session has ended
        self._settings = settings = ctx.settings(ConsoleSettings)
        self._users = ctx.settings(UserSettings)
        # Without a token no user can sign in: there the Origin and the cookie's site protect. With
        # an issuer a session counts that it gave, not one of a name that a user typed.
        key = f"console {settings.console_token}{self._users.user_issuer_url}"
        secret = hashlib.sha256(key.encode()).digest()
        self._sessions = URLSafeTimedSerializer(secret, salt="session")
        self._forms = URLSafeSerializer(secret, salt="form")
        self._notices = URLSafeSerializer(secret, salt="notice")
        self._attempts = URLSafeTimedSerializer(secret, salt="sign-in")
        self.session = self._session()
        self.who = "anonymous"  # who acts, and why, once that is known
        self.reason = ""

    @classmethod
    async def of(cls, request: Request, ctx: Context) -> Authentication:
        """Who asks. Where it cannot be read whether they signed out, they look and do not act."""
        made = cls(request, ctx)
        if made.session.name:
            try:
                if await made._ended.has(made.session.id):
                    made.session = _new_session()
            except TemporaryError as error:
                made._unsure = error.detail
        return made

    @property
    def user(self) -> User:
        found = self._user()
        if self._unsure and not found.why_not:
            why_not = f"No user acts while ended sessions cannot be read ({self._unsure})."
            return replace(found, why_not=why_not)
        return found

    def _user(self) -> User:
        settings, users = self._settings, self._users
        header = settings.console_user_header
        if header and (named := decoded_header(self.request.headers.get(header, ""))):
            groups = self.request.headers.get(settings.console_groups_header or "-", "")
            listed = tuple(filter(None, map(str.strip, decoded_header(groups).split(","))))
            return self._in_role(NamedUser(shortened(named, 100), listed))
        if users.user_issuer_url or settings.console_token:
            if not self.session.name:
                looks = not users.user_viewers
                return User("anonymous", "Sign in to act.", may_sign_in=True, may_look=looks)
            if users.user_issuer_url:
                named_user = NamedUser(self.session.name, self.session.groups)
                return self._in_role(named_user, may_sign_in=True)
            return User(self.session.name, signed_in=True, may_sign_in=True)
        if settings.console_local and is_loopback(host_of(self.request.scope)):
            return User("local")
        looks = not users.user_viewers
        if settings.console_local:
            return User(
                "anonymous",
                "This console acts on this machine only: open it as localhost.",
                may_look=looks,
            )
        return User(
            "anonymous",
            "This console only reads: set CONSOLE_TOKEN to let users sign in and act.",
            may_look=looks,
        )

    def _in_role(self, user: NamedUser, *, may_sign_in: bool = False) -> User:
        """A user by the lists of today, not by those of when they signed in."""
        why_not = "" if self._users.is_operator(user) else "Your role is viewer: operators act."
        looks = self._users.is_viewer(user)
        return User(user.name, why_not, may_sign_in, signed_in=True, may_look=looks)

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
        """The form's fields and who acts; `reason`, which every action has, is one of them."""
        fields = await self.form()
        user = self.user
        if not user.may_act:
            raise Refused(user.why_not)
        self.who = user.name
        self.reason = fields.get("reason", "").strip()
        if not self.reason:
            raise PermanentError("Give a reason: it is kept with who did this.")
        return {**fields, "reason": self.reason}, user.name

    def knows(self, token: str) -> bool:
        expected = "" if self._users.user_issuer_url else self._settings.console_token
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
        value = self._sessions.dumps({"id": kept.id, "name": kept.name, "groups": kept.groups})
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

    def set_attempt(self, response: Response, attempt: Mapping[str, str]) -> None:
        """Keep what the issuer's answer must match in this browser alone."""
        self.set_cookie(response, ATTEMPT, str(self._attempts.dumps(attempt)), ATTEMPT_S)

    def take_attempt(self) -> dict[str, str]:
        """What was kept; `Refused` where nothing is, where it is too old, and the second time."""
        try:
            given = self.request.cookies.get(ATTEMPT, "")
            attempt: dict[str, str] = self._attempts.loads(given, max_age=ATTEMPT_S)
        except BadSignature:
            raise Refused(
                "This browser began no sign-in, or too long ago: sign in again."
            ) from None
        if not self._used.use(attempt["state"]):
            raise Refused("This sign-in was used already: sign in again.")
        return attempt

    def clear_attempt(self, response: Response) -> None:
        response.delete_cookie(ATTEMPT, path="/")

    def _session(self) -> Session:
        try:
            found = self._sessions.loads(
                self.request.cookies.get(COOKIE, ""), max_age=sessions.SESSION_S
            )
            groups = tuple(map(str, found.get("groups", ())))
            return Session(str(found["id"]), str(found["name"]), groups)
        except (BadSignature, KeyError, TypeError):
            return _new_session()

    async def end_session(self) -> None:
        """Refuse actions with this browser's cookie from now on, also from a copy of it."""
        await self._ended.add(self.session.id)
        self.session = _new_session()


def _new_session() -> Session:
    return Session(secrets.token_urlsafe(16), fresh=True)
