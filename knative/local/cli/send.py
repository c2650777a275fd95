"""`send` and `fire`: give the broker an event, let a schedule be due."""

from __future__ import annotations

import argparse
import json
import sys
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

from knative.local.cli.client import Client
from knative.local.cli.parser import DATA
from knative.local.cli.show import takes
from knative.local.errors import StartError
from knative.local.hosts import BROKER_HOST


def fire(arguments: argparse.Namespace) -> int:
    """Fire a schedule now; exit code 1 when its sink did not take the tick."""
    answer = Client(Path(arguments.data)).request("POST", "fire", name=arguments.schedule)
    body = answer.json()
    if answer.status == 404:
        raise StartError(body["detail"])
    line = f"{body['schedule']}: tick {body['id']}, {body['status']}"
    print(json.dumps(body) if arguments.json else line)
    return 0 if answer.is_success else 1


def send(arguments: argparse.Namespace) -> int:
    """Send one event to a broker; exit code 1 when the broker does not answer 202."""
    ident = arguments.id or str(uuid.uuid4())
    headers = {
        "host": BROKER_HOST,
        "ce-specversion": "1.0",
        "ce-id": ident,
        "ce-type": arguments.type,
        "ce-source": arguments.source,
    }
    if arguments.subject:
        headers["ce-subject"] = arguments.subject
    for extension in arguments.extension:
        name, equals, value = extension.partition("=")
        if not equals or not name.isalnum() or name != name.lower():
            raise StartError(f"--extension {extension!r} is not name=value with a lower-case name")
        headers[f"ce-{name}"] = value
    data = _event_data(arguments)
    if data:
        headers["content-type"] = "application/json"
    headers = {name: _encoded(value) for name, value in headers.items()}
    client = Client(Path(arguments.data))
    status = client.ask("status")
    brokers = status["brokers"]
    if arguments.broker is None:
        if len(brokers) != 1:
            raise StartError(f"name a --broker; there are: {', '.join(brokers) or 'none'}")
        (arguments.broker,) = brokers
    answer = client.send("POST", f"/{quote(arguments.broker)}", data.encode(), headers)
    took, words = _outcome(client, arguments.broker, headers, answer.status, status)
    body = {"id": ident, "status": answer.status, "deliveries": took}
    line = f"event {ident}: {answer.status}, {words}"
    print(json.dumps(body) if arguments.json else line)
    return 0 if answer.is_success else 1


def _event_data(arguments: argparse.Namespace) -> str:
    """The event's data; for one more release also what was given as --data."""
    given, name = arguments.event_data, "--event-data"
    is_folder = len(arguments.data) < 256 and Path(arguments.data).is_dir()
    if given is None and not is_folder and _is_json(arguments.data):
        print("--data is the folder of the state: send data with --event-data", file=sys.stderr)
        given, name, arguments.data = arguments.data, "--data", arguments.state or DATA
    elif arguments.state is not None:
        arguments.data = arguments.state
    if given is not None and not _is_json(given):
        raise StartError(f"{name} is not JSON: {given[:200]}")
    return given or ""


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _outcome(
    client: Client, broker: str, headers: dict[str, str], code: int, status: dict[str, Any]
) -> tuple[list[dict[str, str]], str]:
    """Who took the event that was sent, for a program and for a person."""
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
            said = ", ".join(f"{item['trigger']}: {item['state']}" for item in took)
            return took, said or f"no Trigger takes it; {_triggers(broker, status)}"
    return [], "the Broker did not store it"


def _triggers(broker: str, status: dict[str, Any]) -> str:
    there = [
        f"{one['name']} takes {takes(one)}"
        for one in status["triggers"]
        if f"{one['namespace']}/{one['broker']}" == broker
    ]
    return f"of {broker} {'; '.join(there)}" if there else f"{broker} has no Trigger"


def _encoded(value: str) -> str:
    """Text as CloudEvents puts it into a header: printable ASCII, the rest percent-encoded."""
    plain = "".join(map(chr, range(0x21, 0x7F))).replace('"', "").replace("%", "")
    return quote(value, safe=plain)
