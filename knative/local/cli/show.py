"""What the local Knative answers, as lines for a user."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from datetime import datetime
from difflib import SequenceMatcher
from typing import Any

from knative.local.cli.terminal import plain, say, state, styled, table

Record = Mapping[str, Any]


def overview(status: Record) -> None:
    """What `up` runs."""
    for columns, rows in (
        (("service", "address"), list(status["addresses"].items())),
        (
            ("trigger", "takes", "subscriber"),
            [(one["name"], takes(one), one["subscriber"]) for one in status["triggers"]],
        ),
    ):
        if rows:
            table(columns, rows)
            say()
    if status["schedules"]:
        schedules(status["schedules"])
        say()
    _places(status)


def _places(status: Record) -> None:
    port = status["url"].rpartition(":")[2]
    for broker in status["brokers"]:
        namespace, _, name = broker.partition("/")
        host = f"http://broker-ingress.knative-eventing.localhost:{port}"
        say(f"Broker {broker}: {host}/{namespace}/{name}")
    kubeconfig = shlex.quote(f"{status['data']}/kubeconfig")
    say(f"Kubernetes API: export KUBECONFIG={kubeconfig}")
    say(f"Logs: {status['data']}/logs")


def status(found: Record) -> None:
    """All that runs, and what is wrong with it."""
    say(f"The local Knative serves {found['url']}, pid {found['pid']}, state in {found['data']}")
    say(f"Clock: {moment(found['clock']['now'])}, {clock_kind(found['clock'])}")
    _places(found)
    counts = ", ".join(f"{number} {name}" for name, number in found["counts"].items())
    say(f"Deliveries: {counts}\n")
    services(found["services"])
    if found["schedules"]:
        say()
        schedules(found["schedules"])
    say()
    for problem in found["problems"]:
        say(f"{styled('wrong', 'red')}: {plain(problem['problem'])}\n  {plain(problem['action'])}")
    if not found["problems"]:
        say("Nothing is wrong.")


def clock_kind(found: Record) -> str:
    return "a virtual clock" if found["virtual"] else "the machine's clock"


def takes(trigger: Record) -> str:
    """The filter of a Trigger."""
    if trigger["filters"]:
        return " and ".join(map(_filter, trigger["filters"]))
    pairs = trigger["filter"] or {}
    filters = (value if key == "type" else f"{key}={value}" for key, value in pairs.items())
    return ", ".join(filters) or "everything"


def nearest(triggers: Iterable[Record], sent: str, maximum: int = 3) -> str:
    """What those Triggers take whose filters are most like an event type, and how many more."""
    found = sorted(
        ((SequenceMatcher(None, sent, takes(one)).ratio(), one["name"], one) for one in triggers),
        key=lambda match: (-match[0], match[1]),
    )
    named = [f"{name} takes {takes(one)}" for _, name, one in found[:maximum]]
    more = [f"and {len(found) - maximum} more"] if len(found) > maximum else []
    return "; ".join(named + more)


def _filter(one: Any) -> str:
    """An entry of `filters` in words, as `prefix source=/shop`."""
    if not isinstance(one, dict) or len(one) != 1:
        return json.dumps(one)
    ((dialect, body),) = one.items()
    if dialect in ("all", "any") and isinstance(body, list):
        return f"({(' and ' if dialect == 'all' else ' or ').join(map(_filter, body))})"
    if dialect == "not":
        return f"not {_filter(body)}"
    if not isinstance(body, dict):
        return str(body)
    before = "" if dialect == "exact" else f"{dialect} "
    return " and ".join(f"{before}{name}={value}" for name, value in body.items())


def services(found: Iterable[Record]) -> None:
    """The processes, and why those that failed did."""
    counts = ("starts", "crashes", "requests")
    rows = [
        (one["name"], one["state"], one["pid"] or "-", *(one[name] for name in counts))
        for one in found
    ]
    table(("service", "state", "pid", *counts), rows, style=1)
    for one in found:  # in a column it would be a tower of short lines
        if one["reason"]:
            say(plain(f"{one['name']}: {one['reason']}"))


def secrets(found: Iterable[Record]) -> None:
    """Values that sign and open: whoever asks may read the file anyway."""
    table(("secret", "key", "value"), [(one["secret"], one["key"], one["value"]) for one in found])


def schedules(found: Iterable[Record]) -> None:
    """The PingSources with their next times."""
    rows = [
        (
            f"{one['namespace']}/{one['name']}",
            one["schedule"],
            one["timezone"],
            ", ".join(map(moment, one["times"])) or "never",
        )
        for one in found
    ]
    table(("schedule", "cron", "zone", "next"), rows)


def moment(text: str) -> str:
    """A time of the runtime as users of this machine write it."""
    return f"{datetime.fromisoformat(text).astimezone():%a %d %b %Y %H:%M:%S}"


def event(record: Record) -> None:
    """One event and what became of each delivery."""
    _event(record, "")
    for item in record["deliveries"]:
        _delivery(item, "    ")
    if not record["deliveries"]:
        say("    no trigger matched")


def history(record: Record) -> None:
    """One event's whole way."""
    caused_by = record["caused_by"]
    _event(record, "")
    if caused_by:
        kind = "a reply to" if record["cause"] is not None else "caused by"
        say(plain(f"  {kind} #{caused_by['seq']} {caused_by['type']} id {caused_by['id']}"))
    for name, value in record["attributes"].items():
        if name not in ("id", "type", "source", "subject", "specversion"):
            say(plain(f"  {name}: {value}"))
    data = record.get("data") if "data" in record else record["data_base64"]
    if data is not None:
        say(plain(f"  data: {data if isinstance(data, str) else json.dumps(data)}"))
    _deliveries(record, "  ")


def _deliveries(record: Record, indent: str) -> None:
    for item in record["deliveries"]:
        _delivery(item, indent, every_attempt=True)
    if not record["deliveries"]:
        say(f"{indent}no trigger matched")
    for caused in record["caused"]:
        _event(caused, f"{indent}caused ")
        _deliveries(caused, f"{indent}  ")


def _event(record: Record, before: str) -> None:
    attributes = {name: plain(value) for name, value in record["attributes"].items()}
    arrived = datetime.fromtimestamp(record["arrived"])
    number, kind = styled(f"#{record['seq']}", "bold"), styled(attributes["type"], "bold")
    say(
        f"{before}{number} {arrived:%H:%M:%S} {kind} {attributes.get('subject', '')} "
        f"from {attributes['source']} id {attributes['id']}"
    )


def _delivery(item: Record, indent: str, *, every_attempt: bool = False) -> None:
    number = sum(not attempt["sink"] for attempt in item["attempts"])
    again = " (duplicate on demand)" if item["repeated"] else ""
    made = f"{number} attempt{'s' if number != 1 else ''}"
    say(f"{indent}{plain(item['trigger'])}: {state(item['state'])}, {made}{again}")
    plain_success = item["state"] == "delivered" and number == 1
    if plain_success and not every_attempt and not item["attempts"][0]["fault"]:
        return
    for attempt in item["attempts"]:
        filters = attempt["reason"] or f"taken with {attempt['status']}"
        took = f" after {attempt['took_s']:.3f} s" if every_attempt else ""
        answer = f": {attempt['answer']}" if attempt["answer"] else ""
        fault = f" [fault: {attempt['fault']}]" if attempt["fault"] else ""
        sink = "to the dead letter sink " if attempt["sink"] else ""
        line = f"{attempt['number']}. {sink}{attempt['url']}: {filters}{took}{answer}{fault}"
        say(plain(f"{indent}    {line}"))
    if every_attempt and item["state"] in ("pending", "dead-lettering"):
        say(f"{indent}    next at {datetime.fromtimestamp(item['due']):%H:%M:%S}")


def change(found: Record) -> None:
    """One line of `events --follow`."""
    now, kind = datetime.now(), plain(found["type"])
    if found["delivery"] is None:
        say(f"{now:%H:%M:%S} #{found['seq']} {styled(kind, 'bold')} accepted")
        return
    status = f" {found['status']}" if found["status"] else ""
    reason = f" {plain(found['reason'])}" if found["reason"] else ""
    say(
        f"{now:%H:%M:%S} #{found['seq']} {kind} -> {plain(found['trigger'])}: "
        f"{state(found['state'])}, attempt {found['attempt']}{status}{reason}"
    )
