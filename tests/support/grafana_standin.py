"""Grafana, as far as alerts go: its Alertmanager's list, and notifications of a contact point."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from functions.webhook_receiver.senders import grafana_proof

PATH = "/api/alertmanager/grafana/api/v2/alerts"
POINT = "agents"


@dataclass
class Alert:
    """An alert from its start to its end."""

    name: str
    began: datetime
    state: str = "active"
    receiver: str = POINT


class GrafanaStandIn:
    """`now` is the time; what fires is in `alerts`."""

    def __init__(
        self, now: Callable[[], datetime], receiver: httpx.AsyncClient, secret: str
    ) -> None:
        self.now = now
        self.token = "glsa_token"
        self.alerts: dict[str, Alert] = {}
        self.status = 200
        self._receiver = receiver
        self._secret = secret

    async def fires(self, name: str, *, received: bool = True, receiver: str = POINT) -> Alert:
        """An alert begins."""
        alert = self.alerts[name] = Alert(name, self.now(), receiver=receiver)
        if received:
            await self.notifies("firing", alert)
        return alert

    async def ends(self, name: str, *, received: bool = True) -> Alert:
        """It is over: the list has it no more."""
        alert = self.alerts.pop(name)
        if received:
            await self.notifies("resolved", alert)
        return alert

    async def notifies(self, status: str, *alerts: Alert) -> httpx.Response:
        """Notify of alerts, as one group."""
        body = json.dumps(
            {
                "receiver": POINT,
                "status": status,
                "groupKey": "{}:{}",
                "alerts": [self._notified(alert, status) for alert in alerts],
            }
        ).encode()
        signature = grafana_proof.sign(self._secret.encode(), body)
        headers = {"X-Grafana-Alerting-Signature": signature}
        return await self._receiver.post("/webhook/grafana", headers=headers, content=body)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        request = Request(scope, receive)
        await self._answer(request)(scope, receive, send)

    def _answer(self, request: Request) -> Response:
        if request.url.path != PATH:
            return Response(status_code=404)
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return JSONResponse({"message": "Unauthorized"}, 401)
        return JSONResponse([self._listed(one) for one in self.alerts.values()], self.status)

    def _notified(self, alert: Alert, status: str) -> dict[str, Any]:
        return {
            "status": status,
            "labels": self._labels(alert),
            "annotations": {},
            "startsAt": alert.began.astimezone(UTC).isoformat(),
            "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": f"f-{alert.name}",
        }

    def _listed(self, alert: Alert) -> dict[str, Any]:
        began = alert.began.astimezone(UTC)
        return {
            "annotations": {"summary": f"{alert.name} is slow"},
            "labels": self._labels(alert),
            "endsAt": began.isoformat(),
            "updatedAt": began.isoformat(),
            "startsAt": began.strftime("%Y-%m-%dT%H:%M:%S.000Z"),
            "fingerprint": f"f-{alert.name}",
            "receivers": [{"name": alert.receiver}],
            "status": {"state": alert.state, "inhibitedBy": [], "silencedBy": []},
            "generatorURL": "https://grafana.example.org/x",
        }

    def _labels(self, alert: Alert) -> dict[str, str]:
        return {"alertname": alert.name, "task_id": alert.name}
