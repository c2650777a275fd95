"""What a signed token proves, by the keys of its issuer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from functions.kit.clients.token_keys import TokenKeys
from functions.kit.errors import Unauthenticated

if TYPE_CHECKING:
    import jwt

MAX_TOKEN_BYTES = 16 * 1024
LEEWAY_S = 10  # between the issuer's clock and ours


async def claims_of(token: str, keys: TokenKeys, audience: str) -> dict[str, Any]:
    """The claims of a token that one issuer signed for an audience; `Unauthenticated` says what is
    wrong with any other, `TemporaryError` that its issuer cannot be asked."""
    import jwt

    try:
        id = jwt.get_unverified_header(token).get("kid")
        key = await keys.find(id) if isinstance(id, str) else None
        if key is None:
            raise Unauthenticated("the token was not signed by a key of the issuer")
        claims: dict[str, Any] = jwt.decode(
            token,
            key,
            algorithms=[key.algorithm_name],  # the key's, whatever the token says
            audience=audience,
            issuer=keys.issuer,
            leeway=LEEWAY_S,
            options={"require": ["exp", "iss", "aud", "sub"]},
        )
    except jwt.PyJWTError as error:
        raise Unauthenticated(_what_is_wrong(error, audience)) from None
    except (ValueError, RecursionError):  # JSON that no token has
        raise Unauthenticated("the bearer token is no JSON Web Token") from None
    if not claims["sub"].isprintable():  # it goes into logs, headers and the audit
        raise Unauthenticated("the token's subject is no name")
    return claims


def claimed_issuer(token: str) -> object:
    """The issuer that a token names, which proves nothing: it says by whose keys to check it."""
    import jwt

    try:
        return jwt.decode(token, options={"verify_signature": False}).get("iss")
    except (jwt.PyJWTError, ValueError, RecursionError):
        return None


def _what_is_wrong(error: jwt.PyJWTError, audience: str) -> str:
    import jwt

    match error:
        case jwt.ExpiredSignatureError():
            return "the token has expired: ask for a new one"
        case jwt.InvalidAudienceError():
            return f"the token is for another audience than {audience}"
        case jwt.InvalidIssuerError():
            return "the token is of another issuer"
        case jwt.InvalidSignatureError() | jwt.InvalidAlgorithmError():
            return "the token was not signed by a key of the issuer"
        case jwt.MissingRequiredClaimError():
            return f"the token lacks the claim {error.claim}"
        case jwt.ImmatureSignatureError():
            return "the token is not valid yet"
        case _:
            return "the bearer token is no JSON Web Token"
