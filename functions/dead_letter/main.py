"""Keep every event that could not be handled, until a user sends it again or dismisses it.

in      any event, as the broker's dead letter sink gets it
out     nothing: an answer with an event would go round in circles
asks    the broker, when a dead letter is sent again
fails   TemporaryError while the database or the broker is down
"""

from __future__ import annotations

import logging

from functions.dead_letter import decide, tables
from functions.dead_letter.api import ROUTES
from functions.dead_letter.gauges import gauges
from functions.dead_letter.retention import DeadLetterSettings, retention
from functions.events.base import AnyEvent
from functions.kit.context import Context
from functions.kit.contract import function

logger = logging.getLogger(__name__)


@function(routes=ROUTES, gauges=gauges, retention=retention)
async def dead_letter(event: AnyEvent, ctx: Context) -> None:
    failure = decide.failure(event.ce_attributes)
    max_bytes = ctx.settings(DeadLetterSettings).dead_letter_data_bytes
    async with ctx.store.transaction() as tx:
        number, count = await tables.keep(tx, event, failure, ctx.now(), max_bytes)
    logger.warning(
        "dead letter",
        extra={"fields": {"dead_letter": number, "count": count, "failed_at": failure.function}},
    )
