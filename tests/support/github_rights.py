"""Who may ask the stand-in of GitHub for what: its App, the App's installations, and a token."""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import cache
from typing import Any
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from starlette.exceptions import HTTPException
from starlette.requests import Request

from knative.github_app import PERMISSIONS

# Of the App as the project creates it; and what a user gives it for hooks of repositories.
GRANTED = {**PERMISSIONS, "repository_hooks": "read"}


class GithubRights:
    """`token` may do everything; what an installation's may do is in it."""

    def __init__(self, token: str) -> None:
        self.token = token
        self._tokens: dict[str, dict[str, Any]] = {}

    @property
    def private_key(self) -> str:
        """The App's, which GitHub itself does not keep."""
        key = _key()
        return key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ).decode()

    def given(self, wanted: dict[str, Any], now: datetime) -> tuple[str, datetime]:
        """A token of an installation, and when it ends; 422 for more than the App was granted."""
        for name, level in wanted["permissions"].items():
            if level not in ("read", GRANTED.get(name)) or name not in GRANTED:
                raise HTTPException(422, "The permissions requested are not granted")
        token, ends = f"ghs_{uuid4().hex}", now + timedelta(hours=1)
        self._tokens[token] = {**wanted, "ends": ends}
        return token, ends

    def is_user(self, request: Request) -> bool:
        """Does the user ask whose token may do everything?"""
        return request.headers.get("authorization") == f"Bearer {self.token}"

    def check(self, request: Request, now: datetime, right: str) -> None:
        """Does who asks hold the right: of the App itself, or to a part of a repository?"""
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        if right == "app":
            try:
                claims = jwt.decode(
                    token,
                    _key().public_key(),
                    algorithms=["RS256"],
                    options={"verify_exp": False, "verify_iat": False},
                )
            except jwt.PyJWTError:
                raise HTTPException(401, "A JSON web token could not be decoded") from None
            ahead_s = claims["exp"] - now.timestamp()
            if not 0 < ahead_s <= 600 or claims["iat"] > now.timestamp():
                raise HTTPException(401, "'Expiration time' claim ('exp') is too far in the future")
            return
        level = "read" if request.method == "GET" else "write"
        self._check_token(token, now, request.path_params.get("repo", ""), right, level)

    def check_git(self, token: str, repository: str, *, writes: bool) -> None:
        """May who holds the token read, or write, the content of a repository?"""
        level = "write" if writes else "read"
        self._check_token(token, None, repository.partition("/")[2], "contents", level)

    def may(self, token: str, right: str) -> str:
        """`read` or `write`; empty where a token has no such right."""
        return str(self._tokens.get(token, {}).get("permissions", {}).get(right, ""))

    def _check_token(
        self, token: str, now: datetime | None, name: str, rights: str, level: str
    ) -> None:
        """`rights`: any of these, with a bar between, is enough."""
        if token == self.token:
            return
        given = self._tokens.get(token)
        if given is None or (now is not None and given["ends"] < now):
            raise HTTPException(401, "Bad credentials")
        # Every token may read what a repository says of itself.
        permissions = {**given["permissions"], "metadata": "read"}
        held = {permissions.get(right) for right in rights.split("|")}
        if not held & ({"read", "write"} if level == "read" else {"write"}):
            raise HTTPException(403, "Resource not accessible by integration")
        if name and name not in given["repositories"]:
            raise HTTPException(404, "Not Found")


@cache
def _key() -> rsa.RSAPrivateKey:
    """One for all Apps of a process, as it takes long to make."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
