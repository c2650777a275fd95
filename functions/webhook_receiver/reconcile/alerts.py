"""Grafana's alerts, by its Alertmanager's API: each that fires, or has ended, was notified of.

Source: Grafana, "Alerting HTTP API"; Prometheus Alertmanager, api/v2 `GET /alerts`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

import httpx
from pydantic import BaseModel

from functions.kit import cloudevents
from functions.kit.clients import typed
from functions.kit.clients.off_loop import off_loop
from functions.kit.context import Context
from functions.kit.errors import PermanentError, TemporaryError
from functions.webhook_receiver.acceptance import accept_alert
from functions.webhook_receiver.intake import SOURCES, Arrival
from functions.webhook_receiver.reconcile import comparison, decide
from functions.webhook_receiver.reconcile_settings import ReconcileSettings
from functions.webhook_receiver.senders import alert_state
from functions.webhook_receiver.senders.alert_state import Alert
from functions.webhook_receiver.tables import Delivery

NAME = "grafana"
PATH = "/api/alertmanager/grafana/api/v2/alerts"
# A group waits for more alerts, and before it says more: half a minute and five, where not set.
GRACE = timedelta(minutes=15)
# What began so long before the first look is left alone.
BEFORE = timedelta(days=1)
BATCH = 20
# Transactions may end in another order than they began: so many rows are read again.
OVERLAP = 50


class _Named(BaseModel):
    name: str


class _Status(BaseModel):
    state: str


class _Alert(BaseModel):
    """One alert of Alertmanager's list; a `suppressed` one is silenced, and fires all the same."""

    fingerprint: str
    startsAt: str  # noqa: N815
    labels: dict[str, str]
    annotations: dict[str, str] = {}
    generatorURL: str = ""  # noqa: N815
    receivers: list[_Named] = []
    status: _Status


@dataclass(frozen=True)
class _Memory:
    """`number`: the ledger was read up to there. `firing`: alerts that it says fire, by their
    names. `ended`: of these the ones that Grafana has no longer, and since when."""

    since: str = ""
    number: int = 0
    firing: Mapping[str, Any] = field(default_factory=dict)
    ended: Mapping[str, str] = field(default_factory=dict)
    made: int = 0
    made_at: str = ""


class Alerts:
    """The alerts that one contact point is notified of."""

    name = NAME

    def __init__(self, ctx: Context) -> None:
        self._ctx = ctx
        self._settings = ctx.settings(ReconcileSettings)

    async def compare(self, memory: Mapping[str, Any], until: float) -> bool:
        """Make the notifications that should have come."""
        now = self._ctx.now()
        known = _Memory(**memory)
        known = replace(known, since=known.since or (now - BEFORE).isoformat())
        known = await self._read(known)
        present = {one.name: one for one in await self._alerts()}
        active = {
            name: datetime.fromisoformat(one.start)
            for name, one in present.items()
            if one.status == "active"
        }
        earliest, latest = datetime.fromisoformat(known.since), now - GRACE
        made = 0
        for name in decide.unnotified(active, known.firing, earliest, latest):
            made += await self._make(present[name].alert, "firing", known.number)
        ended = decide.ended(known.firing, present, known.ended, now.isoformat())
        for name, at in ended.items():
            if datetime.fromisoformat(at) <= latest:
                made += await self._make(known.firing[name], "resolved", known.number)
        if made:
            at = cloudevents.format_time(now)
            known = replace(known, made=known.made + made, made_at=at)
        async with self._ctx.store.connection() as connection:
            await comparison.remember(connection, NAME, asdict(replace(known, ended=ended)))
        return True

    async def _read(self, known: _Memory) -> _Memory:
        """What the ledger has received since."""
        firing, number = dict(known.firing), max(0, known.number - OVERLAP)
        while True:
            async with self._ctx.store.connection() as connection:
                found = await alert_state.notifications(connection, number, BATCH)
            for read, every in found:
                number = read
                for one in every:
                    if one.status == "firing":
                        firing[one.name] = _kept(one)
                    else:
                        firing.pop(one.name, None)
            if len(found) < BATCH:
                return replace(known, firing=firing, number=max(number, known.number))

    async def _alerts(self) -> list[Alert]:
        """Those of our contact point, each with its state as the status."""
        url = f"{self._settings.grafana_url.rstrip('/')}{PATH}"
        headers = {"Authorization": f"Bearer {self._settings.grafana_token}"}
        try:
            answer = await self._ctx.http.get(url, headers=headers)
        except httpx.HTTPError as error:
            raise TemporaryError(f"Grafana: {type(error).__name__} {error}".rstrip()) from error
        if answer.status_code >= 500 or answer.status_code == 429:
            raise TemporaryError(f"Grafana answered {answer.status_code}")
        if not answer.is_success:
            raise PermanentError(f"Grafana answered {answer.status_code}: is GRAFANA_TOKEN right?")
        point = self._settings.grafana_contact_point
        body = answer.content
        alerts = await off_loop(len(body), typed, "Grafana", list[_Alert], body)
        return [
            Alert(
                one.fingerprint,
                alert_state.whole_second(one.startsAt),
                one.status.state,
                one.model_dump(exclude={"status", "receivers"}),
            )
            for one in alerts
            if not point or point in (receiver.name for receiver in one.receivers)
        ]

    async def _make(self, alert: Mapping[str, Any], status: str, number: int) -> bool:
        now = self._ctx.now()
        point = self._settings.grafana_contact_point
        body = alert_state.notification(alert, status, point, now)
        found = SOURCES["grafana"].read(Arrival({}, body, now))
        assert isinstance(found, Delivery), "Grafana asks nothing"
        start = alert_state.whole_second(alert["startsAt"])
        one = Alert(alert["fingerprint"], start, status, alert)
        return await accept_alert(found, one, max(0, number - OVERLAP), self._ctx)


def _kept(one: Alert) -> dict[str, Any]:
    """What is needed to say that it has ended."""
    given = one.alert
    return {
        "fingerprint": one.fingerprint,
        "startsAt": given["startsAt"],
        "labels": given.get("labels") or {},
        "annotations": given.get("annotations") or {},
        "generatorURL": given.get("generatorURL") or "",
    }
