"""An alert of Grafana that fires, or has ended: a state, and the notifications that say so.

What is found by looking becomes a notification of that alert alone. Its id is of the alert, its
start and its status, so a notification that comes later is a repeat where all that it tells has
been found.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from functions.kit.durable import Connection
from functions.webhook_receiver.tables import Delivery

FOUND = "state"  # `via` of what was found by looking
LOCK = "grafana"  # whoever stores a notification
Json = Mapping[str, Any]


@dataclass(frozen=True)
class Alert:
    """What one notification says of one alert. `start` is a time of whole seconds, in UTC."""

    fingerprint: str
    start: str
    status: str
    alert: Json

    @property
    def name(self) -> str:
        """The alert from its start to its end."""
        return f"{self.fingerprint} {self.start}"

    @property
    def found_id(self) -> str:
        """The id of a notification that tells this and nothing else."""
        return f"state:{hashlib.sha256(f'{self.name} {self.status}'.encode()).hexdigest()}"


def alerts_in(notification: Json) -> list[Alert]:
    """What a notification says of each alert that has a fingerprint and a start.

    >>> alert = {"fingerprint": "f", "startsAt": "2026-01-02T04:04:05.678+01:00"}
    >>> [(one.name, one.status) for one in alerts_in({"alerts": [alert], "status": "firing"})]
    [('f 2026-01-02T03:04:05Z', 'firing')]
    """
    return list(_alerts_in(notification))


def _alerts_in(notification: Json) -> Iterator[Alert]:
    for alert in notification.get("alerts") or []:
        try:
            start = whole_second(alert["startsAt"])
            status = str(alert.get("status") or notification["status"])
            yield Alert(str(alert["fingerprint"]), start, status, alert)
        except (KeyError, TypeError, ValueError, AttributeError):
            continue


def _read(data: bytes) -> list[Alert]:
    return alerts_in(json.loads(data))


def whole_second(text: str) -> str:
    """A time in UTC: Grafana's API and its notifications write the same one differently."""
    return datetime.fromisoformat(text).astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def notification(alert: Json, status: str, receiver: str, now: datetime) -> bytes:
    """What Grafana would have sent of one alert, by what its API says."""
    labels, annotations = dict(alert["labels"]), dict(alert.get("annotations") or {})
    ended = now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    one = {
        "status": status,
        "labels": labels,
        "annotations": annotations,
        "startsAt": alert["startsAt"],
        "endsAt": ended if status == "resolved" else "0001-01-01T00:00:00Z",
        "generatorURL": alert.get("generatorURL") or "",
        "fingerprint": alert["fingerprint"],
    }
    name = labels.get("alertname", "alert")
    whole = {
        "receiver": receiver,
        "status": status,
        "alerts": [one],
        "groupLabels": {},
        "commonLabels": labels,
        "commonAnnotations": annotations,
        "groupKey": "",
        "version": "1",
        "title": f"[{status.upper()}] {name}",
        "message": annotations.get("summary", ""),
    }
    return json.dumps(whole, separators=(",", ":")).encode()


async def notifications(
    connection: Connection, after: int, limit: int
) -> list[tuple[int, Sequence[Alert]]]:
    """What the ledger's notifications after a number say, in their order."""
    rows = await connection.fetch(
        """SELECT number, data FROM delivery WHERE source = 'grafana' AND number > $1
           ORDER BY number LIMIT $2""",
        *(after, limit),
    )
    # One may tell of thousands of alerts, and others wait meanwhile.
    return [(row["number"], await asyncio.to_thread(_read, row["data"])) for row in rows]


async def all_found(connection: Connection, delivery: Delivery) -> bool:
    """Has all that a notification tells been found before it came?"""
    ids = {one.found_id for one in await asyncio.to_thread(_read, delivery.data)}
    found: int = await connection.fetchval(
        "SELECT count(*) FROM delivery WHERE source = 'grafana' AND id = ANY ($1::text[])",
        list(ids),
    )
    return bool(ids) and found == len(ids)
