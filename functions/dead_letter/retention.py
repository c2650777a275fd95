"""How long dead letters are kept, and how much of each."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from functions.dead_letter import audit
from functions.kit.context import Context
from functions.kit.durable import Rule
from functions.kit.settings import Settings

# One that is being sent is left; what another process deletes is not waited for.
_EXPIRE = f"""
    WITH old AS (
            SELECT number FROM dead_letter
            WHERE last_at < now() - make_interval(days => $1) AND state <> 'redriving'
            ORDER BY last_at LIMIT $2 FOR UPDATE SKIP LOCKED),
        ended AS (
            DELETE FROM dead_letter USING old WHERE dead_letter.number = old.number
            RETURNING dead_letter.*),
        audited AS ({audit.BY_RETENTION})
    SELECT count(*) FROM audited"""


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
    return (Rule(ctx.settings(DeadLetterSettings).dead_letter_retention_days, _EXPIRE),)
