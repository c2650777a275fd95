"""A search for events as one SQL statement."""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from knative.local.broker.records import Wanted

_SAFE = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"%')
_MAX = 2**63 - 1

# The values of a column (table, column) that contain a text.
Names = Callable[[str, str, str], list[str]]


def statement(wanted: Wanted, names: Names) -> tuple[str, dict[str, object]]:
    """SQL for the events, newest first (oldest first where `after` is given), and its values."""
    where = ["seq < :before", "seq > :after"]
    values: dict[str, object] = {
        "before": _MAX if wanted.before is None else wanted.before,
        "after": -1 if wanted.after is None else wanted.after,
        "limit": wanted.limit,
    }
    attributes = {"id": wanted.id, "subject": wanted.subject, **wanted.extensions}
    for number, (name, text) in enumerate(attributes.items()):
        if text is not None:
            values |= _spellings(f"a{number}_", text)
            where.append(f"{_attribute(name)} in (:a{number}_, :a{number}_too)")
    if wanted.correlation is not None:
        values |= _spellings("chain", wanted.correlation)
        where.append(
            f"seq in (select seq from event where {_attribute('id')} in (:chain, :chaintoo) union"
            f" select seq from event where {_attribute('correlationid')} in (:chain, :chaintoo))"
        )
    for name, test in (
        ("source", f"instr({_attribute('source')}, :source)"),
        ("since", "arrived >= :since"),
        ("until", "arrived < :until"),
    ):
        if (given := getattr(wanted, name)) is not None:
            values[name] = given
            where.append(test)
    where += _names(wanted, names, values, alone=len(where) == 2 and wanted.state is None)
    order = "desc" if wanted.after is None else "asc"
    return (
        f"select * from event where {' and '.join(where)} order by seq {order} limit :limit",
        values,
    )


def _names(wanted: Wanted, names: Names, values: dict[str, object], *, alone: bool) -> list[str]:
    """The conditions on type, Trigger and state; of a delivery both hold for the same one."""
    where: list[str] = []
    deliveries: list[str] = []
    for table, column, part in (
        ("event", "type", wanted.type),
        ("delivery", "trigger", wanted.trigger),
    ):
        if part is None:
            continue
        found = names(table, column, part)
        values |= {f"{column}{n}": name for n, name in enumerate(found)}
        given = [f":{column}{n}" for n in range(len(found))]
        seq = "seq" if table == "event" else "event"
        if alone and None in (wanted.type, wanted.trigger):  # nothing else thins out its events
            newest = [
                f"select * from (select {seq} from {table} where {column} = {name} and {seq} <"
                f" :before and {seq} > :after order by {seq} desc limit :limit)"
                for name in given
            ]
            where.append(f"seq in ({' union '.join(newest) or 'select 0'})")
        else:
            (where if table == "event" else deliveries).append(f"{column} in ({', '.join(given)})")
    if wanted.state is not None:
        values["state"] = wanted.state
        deliveries.append("state = :state")
    if deliveries:
        tests = " and ".join(deliveries)
        where.append(f"exists (select 1 from delivery where event = event.seq and {tests})")
    return where


def _attribute(name: str) -> str:
    """An attribute; the names of extensions are checked where they come in."""
    return f"json_extract(attributes, '$.{name}')"


def _spellings(key: str, text: str) -> dict[str, object]:
    """A text, and as it stands in a header of who keeps to CloudEvents' HTTP binding."""
    return {key: text, f"{key}too": quote(text, safe=_SAFE)}
