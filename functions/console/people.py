"""Who is looking, and may they act? Sessions, the form token, and where a request comes from.

An action needs three things: a person (a proxy's header, the token, or a loopback address), a form
that this console gave to that browser, and an Origin that is the console itself.
"""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from itsdangerous import BadSignature, URLSafeSerializer
from starlette.requests import Request
from starlette.responses import Response

from functions.console.settings import ConsoleSettings
from functions.kit.errors import PermanentError, shortened

COOKIE = "console"
NOTICE = "console_notice"
MOST_FORM_BYTES = 64 * 1024


class Refused(PermanentError):
    """This request may not act; the text says why and what to do."""

    status = 403


@dataclass(frozen=True)
class Person:
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


class Desk:
    """Reads and writes the cookies; made once per request."""

    def __init__(self, request: Request, settings: ConsoleSettings) -> None:
        self.request = request
        self._settings = settings
        # Without a token nothing secret is signed: there the Origin and the cookie's site protect.
        secret = hashlib.sha256(b"console " + settings.console_token.encode()).digest()
        self._sessions = URLSafeSerializer(secret, salt="session")
        self._forms = URLSafeSerializer(secret, salt="form")
        self._notices = URLSafeSerializer(secret, salt="notice")
        self.session = self._session()

    @property
    def person(self) -> Person:
        settings = self._settings
        if header := settings.console_user_header:
            if named := self.request.headers.get(header, "").strip():
                return Person(shortened(named, 100), signed_in=True)
            if not settings.console_token:
                return Person("nobody", f"The proxy did not say who you are in {header}.")
        if settings.console_token:
            if self.session.name:
                return Person(self.session.name, signed_in=True, may_sign_in=True)
            return Person("nobody", "Sign in to act.", may_sign_in=True)
        if is_loopback(self.request.url.hostname or ""):
            return Person("local")
        return Person(
            "nobody", "This console only reads: set CONSOLE_TOKEN or CONSOLE_USER_HEADER to act."
        )

    @property
    def form_token(self) -> str:
        return str(self._forms.dumps(self.session.id))

    async def form(self) -> Mapping[str, str]:
        """The fields of a form that came from here; `Refused` says what is wrong."""
        check_origin(self.request)
        body = await self.request.body()
        if len(body) > MOST_FORM_BYTES:
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
        person = self.person
        if not person.may_act:
            raise Refused(person.why_not)
        return fields, person.name

    def knows(self, token: str) -> bool:
        expected = self._settings.console_token
        return bool(expected) and hmac.compare_digest(token.encode(), expected.encode())

    def notice(self) -> str:
        """What the last action said, once."""
        try:
            return str(self._notices.loads(self.request.cookies.get(NOTICE, "")))
        except BadSignature:
            return ""

    def leave(self, response: Response, session: Session | None = None) -> None:
        """Give the browser its session, if it has none or it changes."""
        if session is None and not self.session.fresh:
            return
        kept = session or self.session
        value = self._sessions.dumps({"id": kept.id, "name": kept.name})
        self._set(response, COOKIE, str(value))

    def say(self, response: Response, words: str) -> None:
        """Show `words` on the next page."""
        self._set(response, NOTICE, str(self._notices.dumps(shortened(words, 400))))

    def heard(self, response: Response) -> None:
        if NOTICE in self.request.cookies:
            response.delete_cookie(NOTICE, path="/")

    def _set(self, response: Response, name: str, value: str) -> None:
        secure = is_https(self.request)
        response.set_cookie(name, value, path="/", httponly=True, samesite="strict", secure=secure)

    def _session(self) -> Session:
        try:
            said = self._sessions.loads(self.request.cookies.get(COOKIE, ""))
            return Session(str(said["id"]), str(said["name"]))
        except (BadSignature, KeyError, TypeError):
            return Session(secrets.token_urlsafe(16), fresh=True)


def check_origin(request: Request) -> None:
    """Only a page of this console may send forms; a browser always says where one comes from."""
    origin = urlsplit(request.headers.get("origin", ""))
    if not origin.netloc or origin.netloc.lower() != request.headers.get("host", "").lower():
        raise Refused("This form was not sent from a page of this console.")


def is_loopback(host: str) -> bool:
    """A name that a browser resolves to its own machine.

    >>> is_loopback("console.dsm.localhost"), is_loopback("127.0.0.1"), is_loopback("example.org")
    (True, True, False)
    """
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_https(request: Request) -> bool:
    return "https" in (request.url.scheme, request.headers.get("x-forwarded-proto", ""))
