"""GitHub's REST API: as an App, as its installation in a repository, or with a token.

Times are GitHub's own, by its answers: an App whose clock is wrong would be refused, and a limit
ends at a time of GitHub's clock.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
from pydantic import BaseModel

from functions.kit.clients.github_app import GithubSettings, signed
from functions.kit.clients.github_limits import RateLimited, rests_until
from functions.kit.clients.github_pace import CHANGE_POINTS, READ_POINTS, Pace
from functions.kit.clients.off_loop import off_loop
from functions.kit.clients.service import typed
from functions.kit.clients.url_path import path
from functions.kit.errors import NotFound, PermanentError, TemporaryError, shortened

VERSION = "2022-11-28"
NOTHING_CHANGED = 304
MAX_ANSWER_BYTES = 32 * 1024 * 1024  # a delivery's payload has 25 MB at most
# A clock that is wrong by less is none that GitHub refuses.
SKEW = timedelta(seconds=30)
# A token is replaced so long before it ends.
SPARE = timedelta(minutes=5)
_NEVER = datetime.max.replace(tzinfo=UTC)
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


class TokenRefused(PermanentError):
    """GitHub does not know who asks."""


@dataclass(frozen=True)
class Answer:
    """JSON as it came, None where nothing has changed since the `etag` that was sent.

    `next` is the query of the next page, None on the last one; `at` is GitHub's time.
    """

    body: Any
    etag: str
    next: Mapping[str, str] | None
    at: datetime

    @property
    def changed(self) -> bool:
        return self.body is not None


@dataclass
class _Limits:
    """What GitHub counts together, whatever token asks: an installation's requests."""

    pace: Pace
    rests_until: datetime = _LONG_AGO


@dataclass
class _Credential:
    """A token, when it ends, and the limits that it counts for."""

    limits: _Limits
    token: str = ""
    ends: datetime = _NEVER


class _User(BaseModel):
    login: str


class _Installation(BaseModel):
    id: int


class _Token(BaseModel):
    token: str
    expires_at: datetime


class Github:
    """One process's client. `now` is our clock."""

    def __init__(
        self,
        settings: GithubSettings,
        http: httpx.AsyncClient,
        now: Callable[[], datetime],
        pace: Callable[[float], Pace] = Pace,
    ) -> None:
        self._settings = settings
        self._http = http
        self._now = now
        self._pace = pace
        self._ahead = timedelta()  # GitHub's clock before ours
        self._credentials: dict[str, _Credential] = {}
        self._limits: dict[str, _Limits] = {}
        self._login: str | None = None

    @property
    def time(self) -> datetime:
        """GitHub's time, as far as we know it."""
        return self._now() + self._ahead

    @property
    def app_id(self) -> str:
        """The id or client id of the App that asks; empty where a token does."""
        return "" if self._settings.github_token else self._settings.github_app_id

    async def login(self) -> str:
        """Who the token's user is, asked once; empty where GitHub says that it has none."""
        if self._login is None:
            try:
                self._login = typed("GitHub", _User, (await self.get("/user")).body).login
            except PermanentError:
                self._login = ""
        return self._login

    async def as_app(
        self, at: str, query: Mapping[str, str] | None = None, *, etag: str = ""
    ) -> Answer:
        """GET as the App itself."""
        if not self._settings.is_app:
            raise PermanentError(f"{at} answers an App only: set GITHUB_APP_ID")
        return await self._as_app("GET", at, query, etag=etag)

    async def get(
        self,
        at: str,
        query: Mapping[str, str] | None = None,
        *,
        repository: str = "",
        permissions: Mapping[str, str] | None = None,
        etag: str = "",
    ) -> Answer:
        """GET with the token, or as the App's installation in `repository` with `permissions`."""
        credential = await self._credential(at, repository, permissions or {})
        return await self._request("GET", at, credential, query, etag=etag)

    async def send(
        self,
        method: str,
        at: str,
        body: object,
        *,
        repository: str,
        permissions: Mapping[str, str],
        minor: bool = False,
    ) -> Answer:
        """Change something, with the token or as the App's installation in `repository`, one
        request after the other and at GitHub's pace; one that is `minor` may be `PutOff`."""
        credential = await self._credential(at, repository, permissions)
        async with credential.limits.pace.content(minor=minor):
            return await self._request(method, at, credential, None, body=body)

    async def narrow_token(self, repository: str, permissions: Mapping[str, str]) -> str:
        """A token of the App that can do only this in one repository; empty without an App."""
        if self._settings.github_token or not self._settings.is_app:
            return ""
        return (await self._installed(repository, permissions)).token

    async def token(self, repository: str, permissions: Mapping[str, str]) -> str:
        """The token, or one of the App for this alone; empty where there is neither."""
        if not self._settings.can_ask:
            return ""
        return (await self._credential("git", repository, permissions)).token

    async def _credential(
        self, at: str, repository: str, permissions: Mapping[str, str]
    ) -> _Credential:
        if self._settings.github_token:
            return self._held("token", self._settings.github_token)
        if repository and self._settings.is_app:
            return await self._installed(repository, permissions)
        raise PermanentError(f"{at} answers a token only: set GITHUB_TOKEN")

    async def _installed(self, repository: str, permissions: Mapping[str, str]) -> _Credential:
        held = self._held(f"{repository} {sorted(permissions.items())}")
        if not held.token or self.time > held.ends - SPARE:
            owner, _, name = repository.partition("/")
            found = await self._as_app("GET", path("repos", owner, name) + "/installation")
            number = typed("GitHub", _Installation, found.body).id
            wanted = {"repositories": [name], "permissions": dict(permissions)}
            at = f"/app/installations/{number}/access_tokens"
            given = typed("GitHub", _Token, (await self._as_app("POST", at, body=wanted)).body)
            held.limits = self._limits_of(f"installation {number}")
            held.token, held.ends = given.token, given.expires_at
        return held

    async def _as_app(
        self,
        method: str,
        at: str,
        query: Mapping[str, str] | None = None,
        *,
        etag: str = "",
        body: object = None,
    ) -> Answer:
        known = self._ahead
        for _ in range(2):
            credential = self._held("app", signed(self._settings, self.time))
            try:
                return await self._request(method, at, credential, query, etag=etag, body=body)
            except TokenRefused:
                if abs(self._ahead - known) < SKEW:
                    raise  # it is not that we had GitHub's time wrong
        raise TokenRefused(f"GitHub refuses the App's signature for {at}")

    def _held(self, name: str, token: str = "") -> _Credential:
        found = self._credentials.get(name)
        if found is None:
            found = self._credentials[name] = _Credential(self._limits_of(name))
        found.token = token or found.token
        return found

    def _limits_of(self, name: str) -> _Limits:
        if name not in self._limits:
            self._limits[name] = _Limits(self._pace(self._settings.github_share))
        return self._limits[name]

    async def _request(
        self,
        method: str,
        at: str,
        credential: _Credential,
        query: Mapping[str, str] | None,
        *,
        etag: str = "",
        body: object = None,
    ) -> Answer:
        self._check_limit(credential)
        await credential.limits.pace.points(READ_POINTS if method == "GET" else CHANGE_POINTS)
        sent = {
            "Authorization": f"Bearer {credential.token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": VERSION,
            **({"If-None-Match": etag} if etag else {}),
        }
        url = f"{self._settings.github_api_url.rstrip('/')}{at}"
        try:
            answer = await self._http.request(
                method,
                url,
                params=dict(query or {}),
                headers=sent,
                json=body,
                extensions={"max_answer_bytes": MAX_ANSWER_BYTES},
            )
        except httpx.HTTPError as error:
            raise TemporaryError(f"GitHub: {type(error).__name__} {error}".rstrip()) from error
        now = _date(answer.headers.get("Date", "")) or self.time
        self._ahead = now - self._now()
        reserve = self._settings.github_reserve
        text = "" if answer.is_success else answer.text
        rests = rests_until(answer.status_code, answer.headers, now, reserve, text)
        credential.limits.rests_until = rests or credential.limits.rests_until
        if rests is not None and not answer.is_success:
            self._check_limit(credential)
        unchanged = answer.status_code == NOTHING_CHANGED
        if not unchanged and not answer.is_success:
            raise _refusal(answer, at)
        body = answer.content
        found = None if unchanged else await off_loop(len(body), typed, "GitHub", object, body)
        return Answer(found, answer.headers.get("ETag", ""), _next(answer), now)

    def _check_limit(self, credential: _Credential) -> None:
        remaining_s = (credential.limits.rests_until - self.time).total_seconds()
        if remaining_s > 0:
            raise RateLimited(
                f"GitHub wants no request for {remaining_s:.0f} s", delay_s=remaining_s
            )


def _date(text: str) -> datetime | None:
    """A header's time; None where there is none that can be read.

    >>> print(_date("Mon, 02 Mar 2026 14:00:00 GMT"), _date("soon"))
    2026-03-02 14:00:00+00:00 None
    """
    try:
        found = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    # A zone is missing where a server and a proxy have written one each.
    return found if found.tzinfo else None


def _next(answer: httpx.Response) -> Mapping[str, str] | None:
    """Its query only: to which host we send a token is our choice."""
    url = answer.links.get("next", {}).get("url")
    return dict(parse_qsl(urlsplit(url).query)) if url else None


def _refusal(answer: httpx.Response, at: str) -> PermanentError | TemporaryError:
    try:
        reason = shortened(str(answer.json()["message"]), 200)
    except (ValueError, KeyError, TypeError):
        reason = ""
    message = f"GitHub answered {answer.status_code} to {at}: {reason}".removesuffix(": ")
    match answer.status_code:
        case 401:
            return TokenRefused(message)
        case 404 | 410:
            return NotFound(message)
        case status if status >= 500 or status == 408:
            return TemporaryError(message)
        case _:
            return PermanentError(message)
