"""The one way into the ledger, whoever brings a delivery."""

from __future__ import annotations

import logging

from functions.kit.context import Context
from functions.webhook_receiver.state import Receiver
from functions.webhook_receiver.tables import Delivery

logger = logging.getLogger(__name__)


async def accept(found: Delivery, ctx: Context) -> bool:
    """Return once it is durably stored, and will be sent: True if new, False if it is a repeat."""
    new = await ctx.part(Receiver).ledger.accept(found)
    logger.info(
        "delivery",
        extra={
            "fields": {
                "source": found.source,
                "id": found.id,
                "type": found.type,
                "via": found.attributes.get("via", "webhook"),
                "repeated": not new,
            }
        },
    )
    return new
