"""The commands that change the whole of what runs: begin anew, lose what is under way."""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

from knative.local.cli.client import Client
from knative.local.cli.show import clock_kind, moment
from knative.local.cli.terminal import say, table
from knative.local.errors import StartError

RESET_WITHIN_S = 300.0  # processes drain, PostgreSQL is made anew, every Service is tried
EVERY_S = 0.05


def reset(arguments: argparse.Namespace) -> int:
    """Stop all, delete the data, start again on the same port; return once it serves."""
    data = Path(arguments.data)
    client = Client(data)
    client.done("POST", "reset")
    deadline = time.monotonic() + RESET_WITHIN_S
    while not _is_replaced(client, data):
        if not _is_alive(client.pid) or time.monotonic() > deadline:
            raise StartError("it does not start again; what `up` prints says why")
        time.sleep(EVERY_S)
    message = f"began anew at {client.url}, with nothing stored"
    print(json.dumps({"url": client.url}) if arguments.json else message)
    return 0


def _is_replaced(client: Client, data: Path) -> bool:
    """Does another run serve, with a token of its own?"""
    try:
        return Client(data).token != client.token
    except StartError:  # it is between the two
        return False


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def clock(arguments: argparse.Namespace) -> int:
    """Show the clock, or advance a virtual one and return once all that was due has happened."""
    client = Client(Path(arguments.data))
    if arguments.action == "show":
        found = client.ask("status")["clock"]
        message = f"{moment(found['now'])}, {clock_kind(found)}"
    else:
        found = client.done("POST", "clock/advance", by=arguments.by or "")
        message = f"{moment(found['now'])}, {found['timers']} timers were due"
    print(json.dumps(found) if arguments.json else message)
    return 0


def fault(arguments: argparse.Namespace) -> int:
    """List the faults, begin one, or clear one or all."""
    client, fault = Client(Path(arguments.data)), arguments.fault
    if fault[:1] == ["clear"]:
        number = " ".join(fault[1:]) or None
        found = client.done("POST", "faults/clear", id=number)
        if number and not found["cleared"]:
            raise StartError(f"there is no fault {number}: `knative-local fault` lists them")
    else:
        method = "POST" if fault else "GET"
        found = client.done(method, "faults", fault=" ".join(fault) or None)
    if isinstance(found, dict):
        say(json.dumps(found) if arguments.json else f"faults cleared: {found['cleared']}")
    elif arguments.json:
        for one in found:
            say(json.dumps(one))
    elif found:
        table(("id", "fault", "calls", "injected"), [list(one.values()) for one in found])
    else:
        say("no faults")
    return 0


def crash_broker(arguments: argparse.Namespace) -> int:
    """Lose what Knative's in-memory channel loses when it is killed."""
    body = Client(Path(arguments.data)).request("POST", "crash-broker").json()
    print(json.dumps(body) if arguments.json else f"{body['lost']} deliveries lost")
    return 0
