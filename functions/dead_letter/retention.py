"""How long dead letters are kept, and how much of each."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from functions.dead_letter import audit
from functions.kit.context import Context
from functions.kit.durable import Rule
from functions.kit.settings import Settings


class DeadLetterSettings(Settings):
    """What dead-letter keeps, and for how long."""

    dead_letter_retention_days: int = Field(
        90,
        ge=1,
        description="how long a dead letter is kept after it last failed, whatever its state, days",
    )
    dead_letter_data_bytes: int = Field(
        26 * 1024 * 1024,
        ge=0,
        description="how much of an event's data is kept, bytes; a dead letter whose data was cut "
        "off can be edited and sent again, but not sent as it was",
    )


def retention(ctx: Context) -> Sequence[Rule]:
    """Dead letters, the end of each on record."""
    return (Rule(ctx.settings(DeadLetterSettings).dead_letter_retention_days, audit.EXPIRE),)
