"""Who calls: the bearer token of a request, where OIDC_AUDIENCE says that one is needed.

Knative's senders attach one where a Trigger or a dead letter sink names an audience
(`authentication-oidc`); other functions attach those of SERVICE_TOKENS. What a request claims of
itself in X-User and X-Service-Name is then replaced by what its token proves. A user shows a
token of USER_ISSUER_URL: a viewer may read, an operator may make every request but send events.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import quote

from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response

from functions.kit import cloudevents
from functions.kit.clients.github_app import GithubSettings
from functions.kit.clients.token_keys import IssuerSettings, TokenKeys
from functions.kit.context import Context, Resources
from functions.kit.contract.problem import failure
from functions.kit.contract.routes import Endpoint
from functions.kit.contract.token_check import MAX_TOKEN_BYTES, claimed_issuer, claims_of
from functions.kit.contract.users import (
    NamedUser,
    UserSettings,
    check_issuer,
    user_keys,
    user_of_claims,
)
from functions.kit.errors import FunctionError, PermanentError, Unauthenticated, shortened
from functions.kit.settings import Settings

logger = logging.getLogger(__name__)

Role = Literal["operator", "viewer", "none"]
_ACCOUNT = "system:serviceaccount:"
_CLAIMED = (b"x-user", b"x-service-name")


class CallerSettings(Settings):
    """Who may call, by the subject of a token. A list has commas between; `*` ends a prefix."""

    oidc_audience: str = Field(
        "",
        description="the audience that callers' tokens must name; empty: requests need no token",
    )
    oidc_senders: str = Field("", description="subjects that may send events")
    oidc_callers: str = Field("", description="subjects that may make all other requests")
    oidc_operators: str = Field(
        "",
        description="those of OIDC_CALLERS that may change what is not their own: other services' "
        "registrations and runs at the orchestrator, dead letters, Jobs, schedules",
    )
    oidc_proxies: str = Field(
        "", description="those of OIDC_CALLERS that name in X-User for whom they ask"
    )
    oidc_namespace: str = Field(
        "dsm",
        description="the namespace whose accounts are services by their names alone; that of "
        "another is NAMESPACE_NAME",
    )


class Forbidden(PermanentError):
    """Who calls is known, and may not."""

    status = 403


@dataclass(frozen=True)
class Caller:
    """Who a token says it is; `role` is a user's, and None of an account of the cluster."""

    subject: str
    role: Role | None = None

    def service(self, namespace: str) -> str | None:
        """The name of a service account; of another namespace's one that no account here can have.

        >>> Caller("system:serviceaccount:dsm:console").service("dsm")
        'console'
        >>> Caller("system:serviceaccount:other:console").service("dsm")
        'other_console'
        """
        if self.role is not None or not self.subject.startswith(_ACCOUNT):
            return None
        its, _, name = self.subject.removeprefix(_ACCOUNT).partition(":")
        return name if its == namespace else f"{its}_{name}"

    def is_among(self, patterns: str) -> bool:
        """Is the account one of a list with commas between? A user is none.

        >>> Caller("a:b").is_among("x, a:*"), Caller("a:b").is_among("a:"), Caller("").is_among("")
        (True, False, False)
        """
        given = filter(None, map(str.strip, patterns.split(",")))
        return self.role is None and any(
            self.subject.startswith(one[:-1]) if one.endswith("*") else self.subject == one
            for one in given
        )


def prepare(ctx: Context) -> None:
    """Load what signs and checks tokens, where callers, users or GitHub are shown any."""
    audience = ctx.settings(CallerSettings).oidc_audience
    issuer = ctx.settings(UserSettings).user_issuer_url
    if audience or issuer or ctx.settings(GithubSettings).github_app_id:
        import jwt  # noqa: F401 - a fifth of a second, in which no request is answered


async def refused(scope: Any, ctx: Context, proven: Sequence[str] = ()) -> Response | None:
    """The answer to a request whose caller is unknown or may not make it, else None.

    `proven` is what the paths begin with whose callers prove themselves in another way.
    """
    settings = ctx.settings(CallerSettings)
    if not settings.oidc_audience or scope["path"].startswith(tuple(proven)):
        return None
    try:
        caller = await _caller(scope["headers"], ctx, settings.oidc_audience)
        _check_rights(caller, scope, settings)
    except FunctionError as error:
        logger.warning("refused: %s", error)
        answer = failure(error, api=True)
        if isinstance(error, Unauthenticated):
            answer.headers["WWW-Authenticate"] = "Bearer"
        return answer
    scope["caller"] = caller
    scope["headers"] = _proven(scope["headers"], caller, settings)
    return None


def check_operator(scope: Any, ctx: Context, owner: str | None = None) -> None:
    """`Forbidden` where callers are to be known, and this is neither an operator nor a proxy, which
    lets operators only, nor the service `owner`."""
    caller: Caller | None = scope.get("caller")
    settings = ctx.settings(CallerSettings)
    if caller is None:
        if settings.oidc_audience or settings.oidc_operators:
            raise Forbidden("this is for OIDC_OPERATORS, and nothing proves who asks")
        return
    allowed = f"{settings.oidc_operators},{settings.oidc_proxies}"
    is_owner = owner is not None and caller.service(settings.oidc_namespace) == owner
    if caller.role != "operator" and not is_owner and not caller.is_among(allowed):
        raise Forbidden(
            f"{shortened(caller.subject, 200)} may not do this: OIDC_OPERATORS does not name it"
        )


def for_operators(endpoint: Endpoint) -> Endpoint:
    """A route's endpoint, for operators only where callers are known."""

    async def checked(request: Request, ctx: Context) -> Response:
        check_operator(request.scope, ctx)
        return await endpoint(request, ctx)

    return checked


def _check_rights(caller: Caller, scope: Any, settings: CallerSettings) -> None:
    sends = scope["method"] == "POST" and scope["path"] == "/"
    sends = sends and cloudevents.is_event(scope["headers"])
    if caller.role is not None:
        _check_role(caller, sends, reads=scope["method"] in ("GET", "HEAD", "OPTIONS"))
        return
    name, allowed = (
        ("OIDC_SENDERS", settings.oidc_senders)
        if sends
        else ("OIDC_CALLERS", settings.oidc_callers)
    )
    if not caller.is_among(allowed):
        what = "send events here" if sends else "make this request"
        raise Forbidden(f"{shortened(caller.subject, 200)} may not {what}: {name} does not name it")


def _check_role(caller: Caller, sends: bool, reads: bool) -> None:
    who = shortened(caller.subject, 200)
    if sends:
        raise Forbidden(f"{who} may not send events here: a user makes requests")
    if caller.role != "operator" and not (reads and caller.role == "viewer"):
        name = "USER_VIEWERS" if reads else "USER_OPERATORS"
        raise Forbidden(f"{who} may not make this request: {name} does not name them")


def _proven(
    headers: cloudevents.Headers, caller: Caller, settings: CallerSettings
) -> list[tuple[bytes, bytes]]:
    """The headers with what the token proves in the place of what the request claims."""
    is_proxy = caller.is_among(settings.oidc_proxies)
    claimed = _CLAIMED[1:] if is_proxy else _CLAIMED
    kept = [(name, value) for name, value in headers if name not in claimed]
    if not any(name == b"x-user" for name, _ in kept):
        kept.append((b"x-user", quote(caller.subject, safe="@: ").encode()))
    if not is_proxy and (service := caller.service(settings.oidc_namespace)):
        kept.append((b"x-service-name", service.encode()))
    return kept


def _token_keys(resources: Resources) -> TokenKeys:
    settings = resources.settings(IssuerSettings)
    return TokenKeys(settings, resources.trusting(settings.oidc_issuer_ca_file))


async def _caller(headers: cloudevents.Headers, ctx: Context, audience: str) -> Caller:
    token = _bearer(headers, audience)
    users = ctx.settings(UserSettings)
    if users.user_issuer_url and claimed_issuer(token) == users.user_issuer_url:
        keys = ctx.part(user_keys)
        claims = await claims_of(token, keys, users.user_client_id)
        check_issuer(keys, users)
        user = user_of_claims(claims, users)
        return Caller(user.name, _role(user, users))
    claims = await claims_of(token, ctx.part(_token_keys), audience)
    return Caller(claims["sub"])


def _role(user: NamedUser, users: UserSettings) -> Role:
    if users.is_operator(user):
        return "operator"
    return "viewer" if users.user_viewers and users.is_viewer(user) else "none"


def _bearer(headers: cloudevents.Headers, audience: str) -> str:
    given = [value for name, value in headers if name == b"authorization"]
    scheme, _, token = (given[0] if len(given) == 1 else b"").partition(b" ")
    if scheme.lower() != b"bearer" or not token.strip():
        raise Unauthenticated(
            "Authorization: send one bearer token for the audience "
            f"{audience}, as `kubectl create token ACCOUNT --audience {audience}` makes it"
        )
    if len(token) > MAX_TOKEN_BYTES:
        raise Unauthenticated(f"the bearer token is over {MAX_TOKEN_BYTES} bytes")
    return token.strip().decode("latin-1")
