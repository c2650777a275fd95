"""What the console reads of the environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from pydantic import Field, ValidationInfo, field_validator

from functions.kit.contract.users import UserSettings
from functions.kit.settings import BadSetting, Settings


class ConsoleSettings(Settings):
    """Where the other services are, and which user may act."""

    old_names: ClassVar[Mapping[str, str]] = {"CONSOLE_PATIENCE_S": "CONSOLE_PAGE_TIMEOUT_S"}

    console_token: str = Field(
        "",
        description="a user who knows it may act, where there is no USER_ISSUER_URL; it also signs "
        "sessions and forms",
    )
    console_user_header: str = Field(
        "",
        description="header in which a proxy that signs users in names them, "
        "X-Auth-Request-Email or X-Forwarded-User; it needs CONSOLE_TOKEN; empty trusts none",
    )
    console_groups_header: str = Field(
        "",
        description="header in which that proxy names a user's groups, commas between: "
        "X-Auth-Request-Groups or X-Forwarded-Groups",
    )
    console_client_secret: str = Field(
        "",
        repr=False,
        description="the console's secret at USER_ISSUER_URL; empty: a public client, with PKCE "
        "alone",
    )
    console_url: str = Field(
        "",
        pattern=r"^https?://[^/]+$",
        description="scheme and host under which browsers know the console, behind a proxy that "
        "calls it by another name; empty: as it is called",
    )
    console_local: bool = Field(
        False,
        description="every user may act, as `local`, who opens the console as `localhost` or "
        "`*.localhost`: for a laptop whose console no other machine reaches",
    )
    function_url: str = Field(
        "http://{name}.dsm.svc.cluster.local", description="where the function `name` is"
    )
    events_url: str = Field(
        "", description="URL where events are searched: event-recorder's, or the local broker's"
    )
    events_with_kubeconfig: bool = Field(
        False,
        description="EVENTS_URL asks for the token in KUBECONFIG, as the local broker does",
    )
    console_page_timeout_s: float = Field(
        0.8,
        gt=0,
        description="how long a page waits for its panels before it is shown without them, seconds",
    )
    console_source_timeout_s: float = Field(
        1.0,
        gt=0,
        description="how long a panel waits for the services that it asks, seconds; it then names "
        "those that are late and asks again",
    )

    @field_validator("console_user_header")
    @classmethod
    def _signed(cls, given: str, info: ValidationInfo) -> str:
        if given and not info.data.get("console_token"):
            raise ValueError("needs CONSOLE_TOKEN beside it, which signs sessions and forms")
        return given


def check_settings(console: ConsoleSettings, users: UserSettings) -> None:
    """`BadSetting` where users could not sign in with what is set, or not safely."""
    if not users.user_issuer_url:
        return
    if not console.console_token:
        raise BadSetting("USER_ISSUER_URL needs CONSOLE_TOKEN beside it, which signs sessions")
    if not console.console_url.startswith("https://"):
        # The issuer sends browsers back there; their Host header must not say where that is.
        raise BadSetting("USER_ISSUER_URL needs an https CONSOLE_URL beside it")
