"""The public keys with which an issuer signs tokens, found by OpenID discovery.

They are read when first needed, every ten minutes, and when a token names a key that is not there;
that may be anybody's token, so never twice within ten seconds, in which an unknown key is none: an
issuer publishes a key before it signs with it. While the issuer is away its keys are good for an
hour; without keys no token is judged (`TemporaryError`).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import Field

from functions.kit.errors import TemporaryError, shortened
from functions.kit.settings import Settings

if TYPE_CHECKING:
    import httpx
    import jwt

logger = logging.getLogger(__name__)

REFRESH_S = 600.0  # so long a key that the issuer has withdrawn is still taken
AGAIN_S = 10.0
MAX_AGE_S = 3600.0
TIMEOUT_S = 5.0


class IssuerSettings(Settings):
    """Who signs the tokens of callers, where they need one."""

    oidc_issuer_url: str = Field(
        "https://kubernetes.default.svc",
        description="where the issuer of callers' tokens describes itself "
        "(/.well-known/openid-configuration); Kubernetes' API does",
    )
    oidc_jwks_url: str = Field(
        "", description="where the issuer's keys are; empty: where its description says"
    )
    oidc_issuer_token_file: str = Field(
        "", description="a bearer token with which the issuer is asked; Kubernetes wants one"
    )
    oidc_issuer_ca_file: str = Field(
        "", description="PEM of the authority of the issuer's certificate"
    )


class TokenKeys:
    """The keys of one issuer, by their ids."""

    def __init__(
        self,
        settings: IssuerSettings,
        http: httpx.AsyncClient,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.issuer = ""
        self.description: Mapping[str, Any] = {}
        self._settings = settings
        self._http = http
        self._now = now
        self._keys: Mapping[str, jwt.PyJWK] = {}
        self._read_at = self._tried_at = float("-inf")
        self._reading = asyncio.Lock()
        self._refresh: asyncio.Task[None] | None = None

    async def find(self, id: str) -> jwt.PyJWK | None:
        """The key, or None where the issuer has no such; `TemporaryError` while that is unknown."""
        known = self._keys.get(id)
        if known is not None and (age_s := self._now() - self._read_at) < MAX_AGE_S:
            if age_s >= REFRESH_S and (self._refresh is None or self._refresh.done()):
                self._refresh = asyncio.create_task(self._read_again())
            return known
        await self._read_again()
        if id in self._keys and self._now() - self._read_at < MAX_AGE_S:
            return self._keys[id]
        if self._read_at >= self._tried_at:
            return None
        wait_s = max(1.0, self._tried_at + AGAIN_S - self._now())
        raise TemporaryError(
            "the token's key is not known, and its issuer cannot be asked now", delay_s=wait_s
        )

    async def describe(self) -> Mapping[str, Any]:
        """How the issuer describes itself, an hour old at most; `TemporaryError` while it cannot
        be asked."""
        if self._now() - self._read_at >= MAX_AGE_S:
            await self._read_again()
        if self._now() - self._read_at >= MAX_AGE_S:
            raise TemporaryError(f"{self._where} cannot be asked now", delay_s=AGAIN_S)
        return self.description

    async def close(self) -> None:
        if self._refresh is not None:
            self._refresh.cancel()

    async def _read_again(self) -> None:
        async with self._reading:
            if self._now() - self._tried_at < AGAIN_S:
                return
            self._tried_at = self._now()
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    self.description, self._keys = await self._read()
                    self.issuer = str(self.description["issuer"])
                self._read_at = self._now()
            except Exception as error:
                # Whatever an issuer answers, it must not be taken for "no such key".
                reason = shortened(f"{type(error).__name__}: {error}")
                logger.warning("cannot read the keys of %s: %s", self._where, reason)

    @property
    def _where(self) -> str:
        return self._settings.oidc_issuer_url.rstrip("/")

    async def _read(self) -> tuple[Mapping[str, Any], Mapping[str, jwt.PyJWK]]:
        document = await self._json(f"{self._where}/.well-known/openid-configuration")
        url = self._settings.oidc_jwks_url or document["jwks_uri"]
        keys = _usable((await self._json(url))["keys"])
        if not document["issuer"] or not keys:
            raise ValueError("it names no issuer or no keys")
        return document, keys

    async def _json(self, url: str) -> Any:
        headers = {"Accept": "application/json, application/jwk-set+json"}
        # A description may lead to another host: the token is for the issuer alone.
        issuer = {_origin(self._where), _origin(self._settings.oidc_jwks_url)}
        if self._settings.oidc_issuer_token_file and _origin(url) in issuer:
            headers["Authorization"] = f"Bearer {_text(self._settings.oidc_issuer_token_file)}"
        answer = await self._http.get(url, headers=headers)
        answer.raise_for_status()
        return answer.json()


def _origin(url: str) -> tuple[str, str]:
    return urlsplit(url)[:2]


def _text(file: str) -> str:
    return Path(file).read_text().strip()


def _usable(documents: Any) -> Mapping[str, jwt.PyJWK]:
    """The public keys for signatures; a shared secret among them is none."""
    import jwt  # with the cryptography under it a fifth of a second, which only a check spends

    found = {}
    for document in documents:
        if document.get("kty") == "oct" or document.get("use", "sig") != "sig":
            continue
        try:
            found[str(document["kid"])] = jwt.PyJWK(document)
        except (jwt.PyJWTError, KeyError):
            continue  # of a kind that we cannot read: others may be better
    return found
