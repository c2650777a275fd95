"""A trace as a graph: an event, who got it, and what they emitted in turn."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from functions.console.ask import Row
from functions.console.formatting import short_type, tone
from functions.console.plots.graph import Graph, Node, graph
from functions.console.plots.waterfall import attempts_of

# More siblings of one kind than this are drawn as one box.
MAX_ALIKE = 3


def trace_graph(events: Sequence[Row]) -> Graph:
    """Events in the order of arrival; boxes lead to the rows of the table beside it."""
    nodes: list[Node] = []
    edges: list[tuple[str, str]] = []
    by_id: dict[str, str] = {}
    handlers: dict[tuple[str, str], str] = {}
    for alike in _grouped(events):
        first = alike[0]
        attributes, name = first["attributes"], f"event-{first['seq']}"
        many = f" ×{len(alike)}" if len(alike) > 1 else ""  # noqa: RUF001  # the sign, on purpose
        subject = attributes.get("subject", "") if len(alike) == 1 else "the same kind"
        nodes.append(Node(name, short_type(attributes["type"]) + many, subject, href=f"#{name}"))
        for event in alike:
            by_id.setdefault(event["attributes"]["id"], name)
        cause = by_id.get(attributes.get("causationid", ""))
        if cause and cause != name:
            who = attributes["source"].rpartition("/")[2]
            edges.append((handlers.get((cause, who), cause), name))
        for delivery in first["deliveries"]:
            box = f"delivery-{delivery['id']}"
            function = _function(delivery)
            tries = len(attempts_of(delivery))
            message = delivery["state"] + (f", {tries} attempts" if tries != 1 else "")
            state = tone(delivery["state"])
            nodes.append(Node(box, function, message, state, href=f"#{name}", kind="function"))
            edges.append((name, box))
            handlers.setdefault((name, function), box)
    return graph(nodes, edges)


def _grouped(events: Sequence[Row]) -> list[list[Row]]:
    """Events of one type with one cause and the same deliveries together, where they are many."""
    groups: dict[tuple[object, ...], list[Row]] = defaultdict(list)
    for event in events:
        attributes = event["attributes"]
        to = tuple((d["trigger"], d["state"], len(attempts_of(d))) for d in event["deliveries"])
        groups[attributes["type"], attributes.get("causationid"), to].append(event)
    found: list[list[Row]] = []
    for alike in groups.values():
        found += [alike] if len(alike) > MAX_ALIKE else [[event] for event in alike]
    order = {event["seq"]: number for number, event in enumerate(events)}
    return sorted(found, key=lambda alike: order[alike[0]["seq"]])


def _function(delivery: Row) -> str:
    """Who got it: by the address, which Knative gives the Service's name; else by the Trigger.

    A delivery made of runs has no address, and in place of the Trigger it names the function.
    """
    for attempt in delivery["attempts"]:
        if "url" in attempt:
            host = str(attempt["url"]).partition("://")[2].partition("/")[0]
            return host.partition(".")[0]
    return str(delivery["trigger"]).rpartition("/")[2]
