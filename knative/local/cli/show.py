"""Tables and lines for a person; the terminal's width decides, or nothing does in a pipe."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from rich.markup import escape
from rich.table import Table

from knative.local.cli.console import Console

console = Console(soft_wrap=not sys.stdout.isatty())
_COLOURS = {
    "delivered": "green",
    "ready": "green",
    "pending": "yellow",
    "starting": "yellow",
    "dead-lettering": "yellow",
    "dead-lettered": "red",
    "failed": "red",
}


def coloured(state: str) -> str:
    colour = _COLOURS.get(state)
    return f"[{colour}]{state}[/]" if colour else escape(state)


def _table(title: str, *columns: str) -> Table:
    table = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def overview(status: dict[str, Any]) -> None:
    """What `up` found."""
    services = _table("Services", "name", "address")
    for name, address in status["addresses"].items():
        services.add_row(escape(name), escape(address))
    triggers = _table("Triggers", "name", "takes", "subscriber")
    for item in status["triggers"]:
        cells = (item["name"], _filter_words(item), item["subscriber"])
        triggers.add_row(*map(escape, cells))
    schedules = _table("Schedules", "name", "cron", "zone", "next")
    for item in status["schedules"]:
        due = item["next"] and datetime.fromisoformat(item["next"]).astimezone()
        cells = (item["name"], item["schedule"], item["timezone"])
        schedules.add_row(*map(escape, cells), f"{due:%a %d %b %H:%M}" if due else "never")
    for table in (services, triggers, schedules):
        if table.row_count:
            console.print(table)
            console.print()
    for broker in status["brokers"]:
        namespace, _, name = broker.partition("/")
        port = status["url"].rpartition(":")[2]
        host = f"http://broker-ingress.knative-eventing.localhost:{port}"
        console.print(f"Broker {broker}: {host}/{namespace}/{name}", markup=False)
    kubeconfig = shlex.quote(f"{status['data']}/kubeconfig")
    console.print(f"Kubernetes API: export KUBECONFIG={kubeconfig}", markup=False)
    console.print(f"Logs: {status['data']}/logs", markup=False)


def _filter_words(item: dict[str, Any]) -> str:
    if item["filters"]:
        return str(item["filters"])
    pairs = item["filter"] or {}
    return (
        ", ".join(value if key == "type" else f"{key}={value}" for key, value in pairs.items())
        or "everything"
    )


def service_table(services: Iterable[dict[str, Any]]) -> None:
    table = _table("", "service", "state", "pid", "starts", "crashes", "requests")
    reasons = []
    for item in services:
        if item["reason"]:
            reasons.append(f"{item['name']}: {item['reason']}")
        table.add_row(
            escape(item["name"]),
            coloured(item["state"]),
            str(item["pid"] or "-"),
            *(str(item[key]) for key in ("starts", "crashes", "requests")),
        )
    console.print(table)
    for reason in reasons:  # in a column it would be a tower of short lines
        console.print(reason, markup=False)


def event_lines(record: dict[str, Any]) -> None:
    """One event and what became of each delivery."""
    attributes = {name: escape(value) for name, value in record["attributes"].items()}
    arrived = datetime.fromtimestamp(record["arrived"])
    console.print(
        f"[bold]#{record['seq']}[/] {arrived:%H:%M:%S} [bold]{attributes['type']}[/] "
        f"{attributes.get('subject', '')} from {attributes['source']} id {attributes['id']}"
    )
    if not record["deliveries"]:
        console.print("    no trigger matched")
    for item in record["deliveries"]:
        number = len(item["attempts"])
        again = " (duplicate on demand)" if item["repeated"] else ""
        console.print(
            f"    {escape(item['trigger'])}: {coloured(item['state'])}, "
            f"{number} attempt{'s' if number != 1 else ''}{again}"
        )
        for attempt in item["attempts"] if item["state"] != "delivered" or number > 1 else ():
            words = attempt["reason"] or "taken"
            line = f"        {attempt['number']}. {attempt['url']}: {words}"
            console.print(
                f"{line}: {attempt['answer']}" if attempt["answer"] else line, markup=False
            )


def change_line(change: dict[str, Any]) -> None:
    """One line of `events --follow`."""
    now, kind = datetime.now(), escape(change["type"])
    if change["delivery"] is None:
        console.print(f"{now:%H:%M:%S} #{change['seq']} [bold]{kind}[/] accepted")
        return
    status = f" {change['status']}" if change["status"] else ""
    reason = f" {escape(change['reason'])}" if change["reason"] else ""
    console.print(
        f"{now:%H:%M:%S} #{change['seq']} {kind} -> {escape(change['trigger'])}: "
        f"{coloured(change['state'])}, attempt {change['attempt']}{status}{reason}"
    )
