"""Signed requests, as the receiver's sources make them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx

from functions.webhook_receiver.senders import github_proof, grafana_proof, standard_webhooks

# The receivers' clock in tests: a request that was made when tests are collected stays fresh.
NOW = datetime(2026, 3, 2, 14, 0, tzinfo=UTC)

GITHUB = "It's a Secret to Everybody"
GRAFANA = "grafana secret"
PM = "whsec_cG0gc2VjcmV0IG9mIHRoZSB0ZXN0cw=="
CLI = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
TOKEN = "a token of the tests"

SECRETS = {
    "GITHUB_WEBHOOK_SECRETS": GITHUB,
    "GRAFANA_WEBHOOK_SECRETS": GRAFANA,
    "PM_WEBHOOK_SECRETS": PM,
    "CLI_WEBHOOK_SECRETS": CLI,
    "DELIVERIES_TOKENS": TOKEN,
}

ISSUE: dict[str, Any] = {
    "action": "labeled",
    "label": {"name": "agent"},
    "issue": {
        "number": 7,
        "title": "Make it so",
        "labels": [{"name": "agent"}],
        "updated_at": "2026-01-02T03:04:05Z",
    },
    "repository": {"full_name": "o/r", "url": "https://api.github.com/repos/o/r"},
}
ALERT: dict[str, Any] = {
    "receiver": "agents",
    "status": "firing",
    "groupKey": '{}:{alertname="slow"}',
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": "slow", "task_id": "7"},
            "annotations": {},
            "startsAt": "2026-01-02T03:04:05Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "fingerprint": "c0ffee",
            "values": {"A": 1.5},
        }
    ],
}
TASK = {
    "action": "create_task",
    "project_id": "PHE001",
    "task": {
        "id": "t-1",
        "title": "Write it",
        "description": "well",
        "acceptance_criteria": ["it is written"],
        "priority": "high",
        "status": "pending",
        "metadata": {"service": "docs"},
    },
}

_NUMBERS = itertools.count(1)

Post = tuple[str, dict[str, str], bytes]


def from_github(
    payload: Any = ISSUE,
    event: str = "issues",
    *,
    delivery: str | None = None,
    secret: str = GITHUB,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Post:
    """Path, headers and body of GitHub's delivery."""
    # No two payloads of GitHub are the same bytes; these differ in what JSON does not count.
    content = json.dumps(payload).encode() + b" " * next(_NUMBERS) if body is None else body
    return (
        "/webhook/github",
        {
            "content-type": "application/json",
            "x-github-event": event,
            "x-github-delivery": delivery or str(uuid4()),
            "x-hub-signature-256": github_proof.sign(secret.encode(), content),
            **(headers or {}),
        },
        content,
    )


def from_grafana(
    payload: Any = ALERT,
    *,
    secret: str = GRAFANA,
    timestamp: float | None = None,
    body: bytes | None = None,
) -> Post:
    """Path, headers and body of Grafana's notification; with a timestamp header if one is given."""
    body = json.dumps(payload).encode() if body is None else body
    at = None if timestamp is None else str(int(timestamp))
    headers = {"x-grafana-alerting-signature": grafana_proof.sign(secret.encode(), body, at)}
    if at is not None:
        headers["x-grafana-alerting-timestamp"] = at
    return "/webhook/grafana", headers, body


def from_agent(
    payload: Any = TASK,
    source: str = "pm",
    *,
    id: str | None = None,
    secret: str | None = None,
    at: float | None = None,
    body: bytes | None = None,
) -> Post:
    """Path, headers and body of a request of a PM agent, or of the command line."""
    body = json.dumps(payload).encode() if body is None else body
    key = standard_webhooks.key(secret or {"pm": PM, "cli": CLI}[source])
    moment = int(NOW.timestamp() if at is None else at)
    headers = standard_webhooks.headers(key, id or f"msg_{uuid4().hex}", moment, body)
    return f"/webhook/{source}", headers, body


def from_cli(command: str, *args: str, **options: Any) -> Post:
    return from_agent({"command": command, "args": list(args), "options": options}, "cli")


def clock() -> datetime:
    return NOW


async def post(client: httpx.AsyncClient, request: Post) -> httpx.Response:
    """Send a request."""
    path, headers, body = request
    return await client.post(path, headers=headers, content=body)
