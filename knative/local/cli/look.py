"""The commands that show what runs and what happened."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from knative.local.cli import show
from knative.local.cli.client import Client
from knative.local.cli.terminal import say
from knative.local.errors import StartError, UsageError

_FILTERS = ("type", "source", "subject", "trigger", "state", "extension", "to", "limit")


def status(arguments: argparse.Namespace) -> int:
    """All that runs; exit code 1 when something is wrong with it."""
    found = _client(arguments).ask("status")
    _print(arguments, [found], show.status)
    return 1 if found["problems"] else 0


def services(arguments: argparse.Namespace) -> int:
    """Each service's process."""
    return _table(arguments, _client(arguments).ask("services"), show.services, "no services")


def schedules(arguments: argparse.Namespace) -> int:
    """The PingSources with their next times."""
    found = _client(arguments).ask("status")["schedules"]
    return _table(arguments, found, show.schedules, "no schedules: there is no PingSource")


def secrets(arguments: argparse.Namespace) -> int:
    """The secrets that the data folder has made; StartError where there is none of this name."""
    from knative.local.random_secrets import read  # whoever does not ask need not load it

    found: list[Mapping[str, Any]] = [
        {"secret": secret, "key": key, "value": value}
        for secret, values in read(Path(arguments.data)).items()
        for key, value in values.items()
        if arguments.name in (None, secret, secret.partition("/")[2])
        and arguments.key in (None, key)
    ]
    if not found and arguments.name:
        raise StartError(f"{arguments.data} has made no such secret; `knative-local up` makes them")
    if arguments.key and not arguments.json:
        say(found[0]["value"])
        return 0
    return _table(arguments, found, show.secrets, "no secrets: `knative-local up` makes them")


def events(arguments: argparse.Namespace) -> int:
    """The latest events with their deliveries; with --follow, what happens from now on."""
    client = _client(arguments)
    query = {name: getattr(arguments, name) or None for name in _FILTERS}
    query["from"] = arguments.from_
    if arguments.follow:
        return _follow(client, arguments, query)
    found = client.ask("events", **query)
    if not found and not arguments.json:
        say(_nothing(client, query))
    _print(arguments, found, show.event)
    return 0


def _nothing(client: Client, query: Mapping[str, Any]) -> str:
    """That no event was found, and for a filter by name what there is."""
    there = client.ask("events/values")
    named = [name for name in ("type", "source", "trigger") if query[name]]
    if not there["type"] or not named:
        return "no events match" if there["type"] else "no events"
    listed = (f"{name}s there are: {', '.join(there[name]) or 'none'}" for name in named)
    return "\n".join(["no events match", *listed])


def _follow(client: Client, arguments: argparse.Namespace, query: Mapping[str, Any]) -> int:
    for line in client.lines("events", follow=1, **query):
        change = json.loads(line)
        if "following" in change:
            print("Following; Ctrl-C ends", file=sys.stderr, flush=True)
        elif arguments.json:
            say(line)
        else:
            show.change(change)
    return 0


def event(arguments: argparse.Namespace) -> int:
    """One event's whole way; StartError where there is none of this id or number."""
    found = _client(arguments).ask("event", id=arguments.id)
    if not found:
        raise StartError(f"there is no event {arguments.id}: `knative-local events` lists them")
    _print(arguments, found, show.history)
    return 0


def dead_letters(arguments: argparse.Namespace) -> int:
    """The events with a delivery that was dead-lettered or lost, or their redelivery."""
    client = _client(arguments)
    if arguments.action == "redrive":
        return _redrive(client, arguments)
    found = client.ask("dead-letters", limit=arguments.limit)
    if not found and not arguments.json:
        say("no dead letters")
    _print(arguments, found, show.event)
    return 0


def _redrive(client: Client, arguments: argparse.Namespace) -> int:
    if arguments.all == bool(arguments.ids):
        raise UsageError("redrive what: give ids, or --all")
    seqs: list[int | None] = [None] if arguments.all else []
    for name in arguments.ids:
        found = client.ask("event", id=name)
        if not found:
            raise StartError(f"there is no event {name}; nothing is redriven")
        seqs += [record["seq"] for record in found]
    redriven = sum(client.request("POST", "redrive", seq=seq).json()["redriven"] for seq in seqs)
    message = f"{redriven} deliveries begin anew" if redriven else "nothing of it was given up"
    print(json.dumps({"redriven": redriven}) if arguments.json else message)
    return 0 if redriven or arguments.all else 1


def _client(arguments: argparse.Namespace) -> Client:
    return Client(Path(arguments.data))


def _print(
    arguments: argparse.Namespace,
    found: Iterable[Mapping[str, Any]],
    show_one: Callable[[Mapping[str, Any]], None],
) -> None:
    for record in found:
        if arguments.json:
            say(json.dumps(record))
        else:
            show_one(record)


def _table(
    arguments: argparse.Namespace,
    found: list[Mapping[str, Any]],
    show_all: Callable[[list[Mapping[str, Any]]], None],
    none: str,
) -> int:
    if arguments.json:
        _print(arguments, found, show.event)
    elif found:
        show_all(found)
    else:
        say(none)
    return 0
