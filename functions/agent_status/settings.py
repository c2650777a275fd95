"""The settings of agent-status."""

from __future__ import annotations

from pydantic import Field

from functions.kit.settings import Settings


class StatusSettings(Settings):
    """What is shown on GitHub."""

    console_url: str = Field(
        "",
        pattern=r"^$|^https?://[^\s|)]+$",
        description="scheme and host under which users reach the console, for links to a Job and "
        "its log; empty: without links",
    )
