"""The credentials for GitHub: of an App, which signs for itself, or a token.

Source: docs.github.com, "Generating a JSON Web Token (JWT) for a GitHub App".
"""

from __future__ import annotations

from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from pydantic import Field

from functions.kit.settings import BadSetting, Settings

# A token of an App may last ten minutes, and may not be of the future.
BACK, AHEAD = timedelta(minutes=1), timedelta(minutes=8)


class GithubSettings(Settings):
    """How GitHub is asked: as an App, which is the better way, or with a token."""

    github_api_url: str = Field(
        "https://api.github.com", description="GitHub's API; https://HOST/api/v3 of a server"
    )
    github_app_id: str = Field("", description="id or client id of the GitHub App that asks")
    github_app_private_key: str = Field(
        "", repr=False, description="the App's private key, PEM; with GITHUB_APP_ID"
    )
    github_token: str = Field(
        "", repr=False, description="a token to ask with, for what no App asks"
    )
    github_reserve: int = Field(
        1000,
        ge=0,
        description="requests of an hour's limit that are left to others with the same "
        "credentials; at most half of it",
    )
    github_share: float = Field(
        0.5,
        gt=0,
        description="share of GitHub's limits on changes and requests that a process may use: "
        "agent-status and agent-outputs write, each in one process; more than 1 for a server "
        "whose limits are higher",
    )

    @property
    def is_app(self) -> bool:
        """Is there an App? `BadSetting` where there is half of one."""
        if bool(self.github_app_id) != bool(self.github_app_private_key):
            raise BadSetting("settings GITHUB_APP_ID and GITHUB_APP_PRIVATE_KEY go together")
        return bool(self.github_app_id)

    @property
    def can_ask(self) -> bool:
        return self.is_app or bool(self.github_token)


def signed(settings: GithubSettings, now: datetime) -> str:
    """The App's JSON Web Token, good from a minute ago to eight minutes ahead of `now`."""
    import jwt  # with the cryptography under it a fifth of a second, which only an App spends

    claims = {
        "iss": settings.github_app_id,
        "iat": int((now - BACK).timestamp()),
        "exp": int((now + AHEAD).timestamp()),
    }
    try:
        return jwt.encode(claims, _key(settings.github_app_private_key), algorithm="RS256")
    except (ValueError, TypeError, jwt.PyJWTError):
        raise BadSetting("setting GITHUB_APP_PRIVATE_KEY: is no RSA private key in PEM") from None


@lru_cache(maxsize=1)
def _key(pem: str) -> Any:
    """The key, read once: that takes as long as fifty signatures, on the loop."""
    import jwt

    return jwt.get_algorithm_by_name("RS256").prepare_key(pem)
