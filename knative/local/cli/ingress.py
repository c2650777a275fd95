"""An event for the broker, and who took it."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from knative.local.cli.client import Client
from knative.local.cli.show import nearest
from knative.local.errors import UsageError
from knative.local.hosts import BROKER_HOST


def send_event(
    client: Client, attributes: Mapping[str, str], data: str, broker: str | None = None
) -> tuple[dict[str, Any], str]:
    """Send an event; its id, the status and the deliveries, and the same for a user.

    `data` is JSON or empty; `broker` is namespace/name or a name that only one has, by default the
    only one.
    """
    event = {"specversion": "1.0", "id": str(uuid.uuid4()), **attributes}
    headers = {f"ce-{name}": _encoded(value) for name, value in event.items()}
    headers["host"] = BROKER_HOST
    if data:
        headers["content-type"] = "application/json"
    status = client.ask("status")
    if broker is None or "/" not in broker:
        there = status["brokers"]
        named = [one for one in there if broker in (None, one.partition("/")[2])]
        if len(named) != 1:
            outcome = f"{broker!r} is no Broker" if broker and not named else "name a Broker"
            raise UsageError(
                f"{outcome} as NAMESPACE/NAME; there are: {', '.join(there) or 'none'}"
            )
        (broker,) = named
    answer = client.send("POST", f"/{quote(broker)}", data.encode(), headers)
    took, outcome = _outcome(client, broker, headers, answer.status, status)
    return {"id": event["id"], "status": answer.status, "deliveries": took}, outcome


def _outcome(
    client: Client, broker: str, headers: dict[str, str], code: int, status: dict[str, Any]
) -> tuple[list[dict[str, str]], str]:
    """Who took the event that was sent, for a program and for a user."""
    if code == 404:
        return [], f"there is no Broker {broker}; there are: {', '.join(status['brokers'])}"
    if code == 400:
        return [], "the Broker refuses it as no CloudEvent"
    found = client.ask("events/search", id=headers["ce-id"], limit=20)
    for record in found:  # newest first: this one, of several with the same id
        if record["attributes"]["source"] == headers["ce-source"]:
            took = [
                {name: item[name] for name in ("trigger", "state")} for item in record["deliveries"]
            ]
            summary = ", ".join(f"{item['trigger']}: {item['state']}" for item in took)
            there = _triggers(broker, status, headers["ce-type"])
            return took, summary or f"no Trigger takes it; {there}"
    return [], "the Broker did not store it"


def _triggers(broker: str, status: dict[str, Any], sent: str) -> str:
    there = [one for one in status["triggers"] if f"{one['namespace']}/{one['broker']}" == broker]
    return f"of {broker} {nearest(there, sent)}" if there else f"{broker} has no Trigger"


def _encoded(value: str) -> str:
    """Text as CloudEvents puts it into a header: printable ASCII, the rest percent-encoded."""
    plain = "".join(map(chr, range(0x21, 0x7F))).replace('"', "").replace("%", "")
    return quote(value, safe=plain)
