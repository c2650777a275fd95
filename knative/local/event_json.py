"""The broker's records as JSON: whatever an event holds, it breaks no list that it is in."""

from __future__ import annotations

import base64
import codecs
import dataclasses
import json
import re
from itertools import accumulate
from typing import Any

from knative.local.broker.records import Change, EventRecord

MAX_DATA = 65_536  # bytes of an event's data in a list; the rest is cut off, and `cut` says so
MAX_DEPTH = 100  # deeper data is shown as text: a reader of JSON has a limit

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_DEEPER = {"[": 1, "{": 1, "]": -1, "}": -1}


def event_json(record: EventRecord) -> dict[str, Any]:
    """An event with its deliveries; `data` is JSON or text where it can be, else `data_base64`."""
    data = record.data[:MAX_DATA]
    body = dataclasses.asdict(dataclasses.replace(record, data=b""))
    del body["data"]
    for delivery in body["deliveries"]:
        for attempt in delivery["attempts"]:
            attempt["answer"] = attempt["answer"].decode(errors="replace")
    cut = len(data) < len(record.data)
    return {**body, **_member(data, cut), "size": len(record.data), "cut": cut}


def change_json(change: Change, record: EventRecord) -> dict[str, Any]:
    """The event that a change is about, as in a list, and beside it what has changed."""
    return {**event_json(record), **dataclasses.asdict(change)}


def _member(data: bytes, cut: bool) -> dict[str, Any]:
    if not data:
        return {"data": None}
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(data, final=not cut)
    except UnicodeDecodeError:
        return {"data_base64": base64.b64encode(data).decode()}
    try:
        return {"data": text if cut else _value(text)}
    except (ValueError, RecursionError):
        return {"data": text}


def _value(text: str) -> Any:
    """ValueError for what Python reads and others do not: NaN, 1e999, half a surrogate pair."""
    value = json.loads(text)
    json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    brackets = (_DEEPER.get(c, 0) for c in _STRING.sub("", text))
    if max(accumulate(brackets), default=0) > MAX_DEPTH:
        raise ValueError("too deeply nested")
    return value
