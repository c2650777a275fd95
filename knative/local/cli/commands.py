"""The commands that talk to a running runtime.

What prints tables is imported where it is used: rich takes longer than a request.
"""

from __future__ import annotations

import argparse
import json
import sys
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import quote

from knative.local.cli.client import Answer, Client
from knative.local.cli.main import DATA
from knative.local.errors import StartError
from knative.local.hosts import BROKER_HOST


def fire(arguments: argparse.Namespace) -> int:
    """Fire a schedule now; exit code 1 when its sink did not take the tick."""
    answer = Client(Path(arguments.data)).request("POST", "fire", name=arguments.schedule)
    body = answer.json()
    if answer.status == 404:
        raise StartError(body["detail"])
    return _say(arguments, body, f"{body['schedule']}: tick {body['id']}, {body['status']}", answer)


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
    brokers = client.ask("status")["brokers"]
    if arguments.broker is None:
        if len(brokers) != 1:
            raise StartError(f"name a --broker; there are: {', '.join(brokers) or 'none'}")
        (arguments.broker,) = brokers
    answer = client.send("POST", f"/{quote(arguments.broker)}", data.encode(), headers)
    took, words = _outcome(client, arguments, headers, answer.status)
    body = {"id": ident, "status": answer.status, "deliveries": took}
    return _say(arguments, body, f"event {ident}: {answer.status}, {words}", answer)


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
    client: Client, arguments: argparse.Namespace, headers: dict[str, str], status: int
) -> tuple[list[dict[str, str]], str]:
    """Who took the event that was sent, for a program and for a person."""
    if status == 404:
        known = ", ".join(client.ask("status")["brokers"])
        return [], f"there is no Broker {arguments.broker}; there are: {known}"
    if status == 400:
        return [], "the Broker refuses it as no CloudEvent"
    found = client.ask("events/search", correlation=headers["ce-id"], limit=20)
    for record in found:  # newest first: this one, of several with the same id
        if all(
            record["attributes"].get(name) == headers[f"ce-{name}"] for name in ("id", "source")
        ):
            took = [
                {name: item[name] for name in ("trigger", "state")} for item in record["deliveries"]
            ]
            said = ", ".join(f"{item['trigger']}: {item['state']}" for item in took)
            return took, said or "no Trigger takes it"
    return [], "the Broker did not store it"


def crash_broker(arguments: argparse.Namespace) -> int:
    """Lose what Knative's in-memory channel loses when it is killed."""
    answer = Client(Path(arguments.data)).request("POST", "crash-broker")
    body = answer.json()
    return _say(arguments, body, f"{body['lost']} deliveries lost", answer)


def _encoded(value: str) -> str:
    """Text as CloudEvents puts it into a header: printable ASCII, the rest percent-encoded."""
    plain = "".join(map(chr, range(0x21, 0x7F))).replace('"', "").replace("%", "")
    return quote(value, safe=plain)


def events(arguments: argparse.Namespace) -> int:
    """The latest events with their deliveries; with --follow, what happens from now on."""
    client = Client(Path(arguments.data))
    if arguments.follow:
        return _follow(client, arguments)
    found = client.ask("events", type=arguments.type, limit=arguments.limit)
    return _records(arguments, found, "no events")


def dead_letters(arguments: argparse.Namespace) -> int:
    """The events with a delivery that was dead-lettered or lost."""
    found = Client(Path(arguments.data)).ask("dead-letters", limit=arguments.limit)
    return _records(arguments, found, "no dead letters")


def services(arguments: argparse.Namespace) -> int:
    """Each service's process."""
    found = Client(Path(arguments.data)).ask("services")
    if arguments.json:
        print(json.dumps(found))
    else:
        from knative.local.cli import show

        show.service_table(found)
    return 0


def _follow(client: Client, arguments: argparse.Namespace) -> int:
    from knative.local.cli import show

    for line in client.lines("events", follow=1, type=arguments.type or None):
        if arguments.json:
            print(line, flush=True)
        elif "type" in (change := json.loads(line)):
            show.change_line(change)
    return 0


def _records(arguments: argparse.Namespace, found: list[dict[str, Any]], none: str) -> int:
    if arguments.json:
        print(json.dumps(found))
    elif not found:
        print(none)
    else:
        from knative.local.cli import show

        for record in found:
            show.event_lines(record)
    return 0


def _say(arguments: argparse.Namespace, body: dict[str, Any], line: str, answer: Answer) -> int:
    print(json.dumps(body) if arguments.json else line)
    return 0 if answer.is_success else 1
