"""What the console reads of the environment."""

from __future__ import annotations

from pydantic import Field

from functions.kit.settings import Settings


class ConsoleSettings(Settings):
    """Where everything is, and who may press what."""

    console_token: str = Field(
        "", description="a person who knows it may act; without it only on a loopback address"
    )
    console_user_header: str = Field(
        "",
        description="header in which a proxy that signs people in names them, "
        "X-Auth-Request-Email or X-Forwarded-User; empty trusts none",
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
