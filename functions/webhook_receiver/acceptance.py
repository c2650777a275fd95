"""The one way into the ledger, whoever brings a delivery."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime

from functions.kit.context import Context
from functions.kit.durable import Connection
from functions.webhook_receiver.github_actor import with_actor
from functions.webhook_receiver.reconcile_settings import compares_alerts, compares_issues
from functions.webhook_receiver.senders import alert_state, issue_state
from functions.webhook_receiver.senders.alert_state import Alert
from functions.webhook_receiver.senders.issue_state import Labelled
from functions.webhook_receiver.state import Receiver
from functions.webhook_receiver.tables import Delivery

logger = logging.getLogger(__name__)

ALL = 2**31 - 1


async def accept(found: Delivery, ctx: Context, *, waits: bool = False) -> bool:
    """Return once it is durably stored, and will be sent: True if new, False if it is a repeat.

    With `waits` a `TemporaryError` while GitHub cannot say who did it.
    """
    found = await with_actor(found, ctx, waits=waits)
    ledger = ctx.part(Receiver).ledger
    if found.source == "grafana" and compares_alerts(ctx):

        async def is_new(tx: Connection) -> bool:
            return not await alert_state.all_found(tx, found)

        return _logged(found, await ledger.accept_if(found, alert_state.LOCK, is_new))
    labelled = issue_state.labelled(found) if compares_issues(ctx) else None
    if labelled is None:
        return _logged(found, await ledger.accept(found))

    async def is_news(tx: Connection) -> bool:
        known = await issue_state.notified(tx, labelled, only_found=True)
        return all(one.as_of < labelled.as_of for one in known)

    return _logged(found, await ledger.accept_if(found, labelled.state, is_news))


async def accept_found(found: Delivery, labelled: Labelled, since: datetime, ctx: Context) -> bool:
    """Accept what was found of a state that began at `since`, unless a delivery brought it."""
    found = await with_actor(found, ctx, waits=True)

    async def is_news(tx: Connection) -> bool:
        return all(one.as_of < since for one in await issue_state.notified(tx, labelled))

    ledger = ctx.part(Receiver).ledger
    return _logged(found, await ledger.accept_if(found, labelled.state, is_news))


async def accept_alert(found: Delivery, alert: Alert, after: int, ctx: Context) -> bool:
    """Accept what was found of an alert, unless a notification after that number brought it."""
    id = alert.found_id
    named = {"id": id, "correlationid": id, "via": alert_state.FOUND}
    found = replace(found, id=id, attributes={**found.attributes, **named})

    async def is_news(tx: Connection) -> bool:
        rows = await alert_state.notifications(tx, after, ALL)
        notified = {(one.name, one.status) for _, every in rows for one in every}
        return (alert.name, alert.status) not in notified

    ledger = ctx.part(Receiver).ledger
    return _logged(found, await ledger.accept_if(found, alert_state.LOCK, is_news))


def _logged(found: Delivery, new: bool) -> bool:
    fields = {
        "source": found.source,
        "id": found.id,
        "type": found.type,
        "via": found.attributes.get("via", "webhook"),
        "repeated": not new,
    }
    logger.info("delivery", extra={"fields": fields})
    return new
