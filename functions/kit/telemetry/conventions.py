"""What spans say of requests, events and statements, by OpenTelemetry's semantic conventions.

Stable names where there are some: HTTP and databases. CloudEvents, messaging and FaaS are still
being developed; a test holds every name against the published ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import httpx

from functions.events.schedule import ScheduleDue

if TYPE_CHECKING:
    from asyncpg.connection import LoggedQuery

MAX_QUERY_TEXT = 2000

_TABLE = re.compile(r"\b(?:FROM|INTO|UPDATE|JOIN)\s+([a-z_][\w.]*)", re.IGNORECASE)


def trigger(event: Mapping[str, str]) -> str:
    if not event:
        return "http"
    return "timer" if ScheduleDue.covers(event.get("type", "")) else "pubsub"


def of_request(scope: Any, headers: Mapping[str, str]) -> dict[str, Any]:
    host, _, port = headers.get("host", "").partition(":")
    found = {
        "http.request.method": scope["method"],
        "url.scheme": scope["scheme"],
        "url.path": scope["path"],
        "server.address": host,
        "user_agent.original": headers.get("user-agent", ""),
    }
    if port.isdecimal():
        found["server.port"] = int(port)
    return {name: value for name, value in found.items() if value != ""}


def route(scope: Any) -> str | None:
    return getattr(scope.get("route"), "path", None)


def of_event(event: Mapping[str, str]) -> dict[str, Any]:
    return {
        f"cloudevents.event_{name}": event[name]
        for name in ("id", "source", "type", "subject")
        if event.get(name)
    }


def messaging(operation: str, kind: str) -> dict[str, Any]:
    return {
        "messaging.system": "knative",
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
        "messaging.destination.name": kind,
    }


def summary(query: str) -> str:
    """Operation and table: few values, so that they group.

    >>> summary("SELECT number, count(*) FROM run WHERE state = $1"), summary("BEGIN;")
    ('SELECT run', 'BEGIN')
    """
    parts = query.split(maxsplit=1)
    operation = parts[0].rstrip(";").upper() if parts else "UNKNOWN"
    table = _TABLE.search(query)
    return f"{operation} {table[1].lower()}" if table else operation


def of_statement(query: LoggedQuery) -> dict[str, Any]:
    found: dict[str, Any] = {
        "db.system.name": "postgresql",
        "db.namespace": query.conn_params.database,
        "db.operation.name": summary(query.query).partition(" ")[0],
        "db.query.summary": summary(query.query),
        "db.query.text": " ".join(query.query.split())[:MAX_QUERY_TEXT],
    }
    if isinstance(query.conn_addr, tuple):
        found |= {"server.address": query.conn_addr[0], "server.port": query.conn_addr[1]}
    else:
        found["server.address"] = str(query.conn_addr)
    return found


def of_call(method: str, url: httpx.URL) -> dict[str, Any]:
    """An HTTP call, without what may be private in its URL."""
    return {
        "http.request.method": method,
        "url.full": str(url.copy_with(userinfo=b"", query=None)),
        "server.address": url.host,
        "server.port": url.port or (443 if url.scheme == "https" else 80),
    }
