"""An issuer of tokens, as Kubernetes' API server is one: discovery, keys, and tokens it signs."""

from __future__ import annotations

import base64
import time
from collections.abc import Mapping
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

URL = "http://issuer.kube.svc"
AUDIENCE = "serving.knative.dev/service/dsm/function"
SENDER = "system:serviceaccount:dsm:trigger-oidc-eventing.knative.dev-trigger"
CALLER = "system:serviceaccount:dsm:console"
# The settings of a function, to ask this issuer.
ENVIRON = {
    "OIDC_AUDIENCE": AUDIENCE,
    "OIDC_ISSUER_URL": URL,
    "OIDC_SENDERS": SENDER,
    "OIDC_CALLERS": f"{CALLER},system:serviceaccount:dsm:tool-*",
}


class Issuer:
    """`reads` counts how often its keys were asked for; while `away` it answers 503."""

    def __init__(self, url: str = URL) -> None:
        self.url = url
        self.reads = 0
        self.away = False
        self.extra_keys: list[Any] = []
        self.rotate("first")
        routes = [
            Route("/.well-known/openid-configuration", self._discovery),
            Route("/openid/v1/jwks", self._jwks),
        ]
        self.app = Starlette(routes=routes)

    def rotate(self, kid: str, *, rsa_bits: int = 0) -> None:
        """Sign with a new key from now on; the old one is withdrawn."""
        self.kid = kid
        self.key: Any = (
            rsa.generate_private_key(65537, rsa_bits)
            if rsa_bits
            else ec.generate_private_key(ec.SECP256R1())
        )

    @property
    def public_pem(self) -> bytes:
        return bytes(
            self.key.public_key().public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        )

    def claims(self, sub: Any = CALLER, **claims: Any) -> dict[str, Any]:
        """What a good token says; a claim of None is left out."""
        now = int(time.time())
        given = {"iss": self.url, "aud": [AUDIENCE], "sub": sub, "iat": now, "nbf": now}
        given |= {"exp": now + 600, **claims}
        return {name: value for name, value in given.items() if value is not None}

    def token(self, sub: str = CALLER, **claims: Any) -> str:
        return self.signed(self.claims(sub, **claims))

    def signed(self, claims: Mapping[str, Any], **header: Any) -> str:
        algorithm = "RS256" if isinstance(self.key, rsa.RSAPrivateKey) else "ES256"
        return jwt.encode(
            dict(claims), self.key, algorithm=algorithm, headers={"kid": self.kid, **header}
        )

    async def _discovery(self, request: Request) -> Response:
        if self.away:
            return Response(status_code=503)
        return JSONResponse(self.describe())

    def describe(self) -> dict[str, Any]:
        """Its description, by OpenID discovery."""
        return {"issuer": self.url, "jwks_uri": f"{self.url}/openid/v1/jwks"}

    async def _jwks(self, request: Request) -> Response:
        self.reads += 1
        algorithm: Any = (
            jwt.algorithms.RSAAlgorithm
            if isinstance(self.key, rsa.RSAPrivateKey)
            else jwt.algorithms.ECAlgorithm
        )
        own = algorithm.to_jwk(self.key.public_key(), as_dict=True)
        own |= {"kid": self.kid, "use": "sig"}
        return JSONResponse({"keys": [*self.extra_keys, own]})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def shared_secret(kid: str, secret: bytes) -> dict[str, str]:
    """A key set's entry that is no public key: whoever reads it could sign with it."""
    k = base64.urlsafe_b64encode(secret).rstrip(b"=").decode()
    return {"kty": "oct", "kid": kid, "k": k, "alg": "HS256"}
