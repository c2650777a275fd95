"""The JSON format of a CloudEvent: structured mode's body, and how an event is listed and kept."""

from __future__ import annotations

import base64
import binascii
import json
import re
from typing import Any

from functions.kit.cloudevents.json_data import is_json, json_value, why_unreadable
from functions.kit.cloudevents.message import Message, NotAnEvent, attributes, checked, media_type

_SURROGATE = re.compile("[\ud800-\udfff]")


def to_json(message: Message) -> dict[str, Any]:
    """A message as the JSON format has it, for answers, ledgers and logs."""
    out: dict[str, Any] = {"specversion": message.specversion, **attributes(message)}
    if message.data:
        kind = media_type(message.datacontenttype)
        try:
            if is_json(kind):
                return out | {"data": json_value(message.data)}
            if kind.startswith("text/"):
                return out | {"data": message.data.decode()}
        except ValueError:
            pass
        out["data_base64"] = base64.b64encode(message.data).decode()
    return out


def to_json_text(message: Message) -> str:
    """`to_json` as a text; data that is JSON stands in it as it came."""
    if message.data and is_json(media_type(message.datacontenttype)):
        try:
            json_value(message.data)
        except ValueError:
            pass
        else:
            given = {"specversion": message.specversion, **attributes(message)}
            return f'{json.dumps(given)[:-1]}, "data": {message.data.decode()}}}'
    return json.dumps(to_json(message))


def from_json(document: Any) -> Message:
    """Read the JSON format; the inverse of `to_json`."""
    return checked(*members(document))


def members(document: Any) -> tuple[dict[str, str], bytes, list[str]]:
    """The attributes and the data of a structured event, and what is wrong with them."""
    if not isinstance(document, dict):
        raise NotAnEvent(["a structured event must be a JSON object"])
    problems: list[str] = []
    attributes: dict[str, str] = {}
    for name, value in document.items():
        if name in ("data", "data_base64") or value is None:
            continue
        name = _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", name)
        if isinstance(value, bool):
            attributes[name] = "true" if value else "false"
        elif isinstance(value, str | int):
            attributes[name] = _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", str(value))
            if attributes[name] != str(value):
                problems.append(f"attribute {name} holds half a surrogate pair")
        else:
            problems.append(f"attribute {name} must be a string, an integer or a boolean")
    data, encoded = b"", document.get("data_base64")
    if encoded is not None and document.get("data") is not None:
        problems.append("data and data_base64 exclude each other")
    elif encoded is not None:
        try:
            data = base64.b64decode(encoded, validate=True)
        except (binascii.Error, TypeError, ValueError):
            problems.append("data_base64 is not valid base64")
    elif "data" in document:
        value = document["data"]
        attributes.setdefault("datacontenttype", "application/json")
        try:
            if isinstance(value, str) and not is_json(media_type(attributes["datacontenttype"])):
                data = value.encode()
            else:
                data = json.dumps(
                    value, ensure_ascii=False, separators=(",", ":"), allow_nan=False
                ).encode()
        except (ValueError, RecursionError) as error:
            problems.append(f"data cannot be written as UTF-8 JSON: {error}")
    return attributes, data, problems


def parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NotAnEvent([f"the body is not valid JSON: {why_unreadable(error)}"]) from None
