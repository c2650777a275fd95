"""`send` and `fire`: give the broker an event, let a schedule be due."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from knative.local.cli.client import Client
from knative.local.cli.ingress import send_event
from knative.local.cli.parser import DATA
from knative.local.errors import StartError, UsageError


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
    attributes = {"type": arguments.type, "source": arguments.source}
    attributes |= {name: value for name in ("id", "subject") if (value := getattr(arguments, name))}
    for extension in arguments.extension:
        name, equals, value = extension.partition("=")
        if not equals or not name.isalnum() or name != name.lower():
            raise UsageError(f"--extension {extension!r} is not name=value with a lower-case name")
        attributes[name] = value
    data = _event_data(arguments)
    body, outcome = send_event(
        Client(Path(arguments.data)), attributes, data, broker=arguments.broker
    )
    line = f"event {body['id']}: {body['status']}, {outcome}"
    print(json.dumps(body) if arguments.json else line)
    return 0 if 200 <= body["status"] < 300 else 1


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
        raise UsageError(f"{name} is not JSON: {given[:200]}")
    return given or ""


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
