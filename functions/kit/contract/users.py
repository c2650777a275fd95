"""Users, as an OIDC issuer or a proxy names them, and their roles: viewer and operator.

The console signs them in; where callers need tokens, each function and service takes theirs too.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Self

from pydantic import Field, model_validator

from functions.kit.clients.token_keys import IssuerSettings, TokenKeys
from functions.kit.context import Resources
from functions.kit.errors import TemporaryError, Unauthenticated
from functions.kit.settings import Settings

GROUP = "group:"


class UserSettings(Settings):
    """Which users may look and act.

    A list has commas between: names, or `group:NAME` for a value of USER_GROUPS_CLAIM; `*` stands
    for any characters.
    """

    user_issuer_url: str = Field(
        "",
        pattern="^https://",
        description="the OIDC issuer of users' tokens, as it names itself; empty: none",
    )
    user_issuer_ca_file: str = Field(
        "", description="PEM of the authority of that issuer's certificate"
    )
    user_client_id: str = Field(
        "", description="the console's client id there, the audience of users' tokens"
    )
    user_name_claim: str = Field(
        "email", description="the claim that names a user; an email must be verified"
    )
    user_groups_claim: str = Field("groups", description="the claim with a user's groups")
    user_operators: str = Field(
        "",
        description="users who may look and act; empty: all whom a proxy names "
        "(CONSOLE_USER_HEADER)",
    )
    user_viewers: str = Field(
        "", description="users who may look; empty: everybody, also without signing in"
    )

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.user_issuer_url and not (self.user_client_id and self.user_operators):
            raise ValueError("USER_ISSUER_URL needs USER_CLIENT_ID and USER_OPERATORS beside it")
        if self.user_viewers and not self.user_operators:
            raise ValueError("USER_VIEWERS needs USER_OPERATORS beside it")
        return self

    def is_operator(self, user: NamedUser) -> bool:
        return not self.user_operators or user.is_among(self.user_operators)

    def is_viewer(self, user: NamedUser) -> bool:
        listed = not self.user_viewers or user.is_among(self.user_viewers)
        return listed or self.is_operator(user)

    def known(self, groups: Iterable[str]) -> tuple[str, ...]:
        """Those groups that a list names: a cookie has no room for all that users are in."""
        named = f"{self.user_operators},{self.user_viewers}"
        return tuple(group for group in groups if NamedUser("", (group,)).is_among(named))


@dataclass(frozen=True)
class NamedUser:
    """A user's name and groups, which are never taken for one another."""

    name: str
    groups: tuple[str, ...] = ()

    def is_among(self, patterns: str) -> bool:
        """Does a list with commas between name this user, or a group of theirs?

        >>> ada = NamedUser("ada@example.org", ("admins",))
        >>> [ada.is_among(p) for p in ("bob, ada@example.org", "*@example.org", "group:admins")]
        [True, True, True]
        >>> ada.is_among("admins"), NamedUser("group:admins").is_among("group:admins")
        (False, False)
        """
        given = [one for one in map(str.strip, patterns.split(",")) if one]
        names = [one for one in given if not one.startswith(GROUP)]
        groups = [one.removeprefix(GROUP) for one in given if one.startswith(GROUP)]
        return (bool(self.name) and any(fnmatchcase(self.name, one) for one in names)) or any(
            fnmatchcase(group, one) for group in self.groups for one in groups
        )


def user_keys(resources: Resources) -> TokenKeys:
    """The keys of the issuer of users' tokens."""
    settings = resources.settings(UserSettings)
    issuer = IssuerSettings(oidc_issuer_url=settings.user_issuer_url)
    return TokenKeys(issuer, resources.trusting(settings.user_issuer_ca_file))


def check_issuer(keys: TokenKeys, settings: UserSettings) -> None:
    """`TemporaryError` where the issuer describes itself as another, whose tokens are not its."""
    if keys.issuer.rstrip("/") != settings.user_issuer_url.rstrip("/"):
        raise TemporaryError(f"{settings.user_issuer_url} describes itself as another issuer")


def user_of_claims(claims: Mapping[str, Any], settings: UserSettings) -> NamedUser:
    """The user of a token that was checked; `Unauthenticated` where it names none."""
    claim = settings.user_name_claim
    name = claims.get(claim)
    if not isinstance(name, str) or not name.strip() or not name.isprintable():
        raise Unauthenticated(f"the token lacks a name in the claim {claim}")
    if claim == "email" and claims.get("email_verified", True) not in (True, "true"):
        raise Unauthenticated("the token's email is not verified")
    if name.startswith("system:"):  # as accounts of the cluster are called
        raise Unauthenticated("the token's name is one of the cluster")
    groups = claims.get(settings.user_groups_claim)
    listed = [groups] if isinstance(groups, str) else groups if isinstance(groups, list) else []
    return NamedUser(name, tuple(one for one in listed if isinstance(one, str)))
