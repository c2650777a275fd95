"""What the console reads of the environment."""

from __future__ import annotations

from pydantic import Field, ValidationInfo, field_validator

from functions.kit.settings import Settings


class ConsoleSettings(Settings):
    """Where everything is, and who may press what."""

    console_token: str = Field(
        "", description="a person who knows it may act; it also signs sessions and forms"
    )
    console_user_header: str = Field(
        "",
        description="header in which a proxy that signs people in names them, "
        "X-Auth-Request-Email or X-Forwarded-User; it needs CONSOLE_TOKEN; empty trusts none",
    )
    console_url: str = Field(
        "",
        pattern=r"^https?://[^/]+$",
        description="scheme and host under which browsers know the console, behind a proxy that "
        "calls it by another name; empty: as it is called",
    )
    console_local: bool = Field(
        False,
        description="everybody may act, as `local`, who opens the console as `localhost` or "
        "`*.localhost`: for a laptop whose console nobody else reaches",
    )
    function_url: str = Field(
        "http://{name}.dsm.svc.cluster.local", description="where the function `name` is"
    )
    events_url: str = Field(
        "", description="URL where events are searched: event-recorder's, or the local broker's"
    )
    console_patience_s: float = Field(
        0.8, gt=0, description="how long a page waits for its parts before it shows without them"
    )
    console_source_timeout_s: float = Field(
        1.0,
        gt=0,
        description="how long a part of a page waits for the services that it asks, seconds; it "
        "then names those that are late and asks again",
    )

    @field_validator("console_user_header")
    @classmethod
    def _signed(cls, given: str, info: ValidationInfo) -> str:
        if given and not info.data.get("console_token"):
            raise ValueError("needs CONSOLE_TOKEN beside it, which signs sessions and forms")
        return given
