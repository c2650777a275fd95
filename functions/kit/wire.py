"""HTTP message <-> CloudEvent: pure and strict.

Source: the CloudEvents 1.0.2 specification and its HTTP protocol binding. The SDK of the same name
(1.x, which functions-framework asks for) takes an empty id, a bad time and broken JSON, and knows
no percent-encoding; a broker is not so kind. Tests hold this codec against the SDK.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, unquote

Headers = Iterable[tuple[bytes, bytes]]

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"

_REQUIRED = ("id", "source", "type", "specversion")
_NAME = re.compile(r"[a-z0-9]+")
_URI_REFERENCE = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")
_ABSOLUTE_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:.+")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")
# The binding's rule: everything but printable ASCII, and of that space, quote and percent.
_HEADER_SAFE = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"%')


class NotAnEvent(ValueError):
    """The message is no valid CloudEvent; `problems` lists everything that is wrong with it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Message:
    """A CloudEvent as it travels. `time` is RFC 3339 text; extension values are text."""

    id: str
    source: str
    type: str
    data: bytes = b""
    subject: str | None = None
    time: str | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    extensions: Mapping[str, str] = field(default_factory=dict)

    @property
    def sent_at(self) -> datetime | None:
        return None if self.time is None else parse_time(self.time)

    def json(self) -> Any:
        """The data, parsed; `NotAnEvent` where it is no JSON, None where there is none."""
        if not self.data:
            return None
        try:
            return json.loads(self.data)
        except (ValueError, RecursionError) as error:
            raise NotAnEvent([f"data is not valid JSON: {error}"]) from None


def is_event(headers: Headers) -> bool:
    """Does the message claim to be a CloudEvent, in whatever mode?"""
    # A loop: it runs for each request, and `any` with a generator takes twice as long.
    for name, value in headers:
        if name.startswith(b"ce-") or (
            name == b"content-type" and value.lower().startswith(b"application/cloudevents")
        ):
            return True
    return False


def decode(headers: Headers, body: bytes) -> Message:
    """Read a request or a response; header names must be lower case, as ASGI has them."""
    attributes: dict[str, str] = {}
    problems: list[str] = []
    content_type: str | None = None
    for name, value in headers:
        if name.startswith(b"ce-"):
            attribute = name[3:].decode("latin-1")
            if attribute in attributes:
                problems.append(f"header ce-{attribute} is there twice")
            attributes[attribute] = _decode_header(value)
        elif name == b"content-type":
            content_type = value.decode("latin-1")
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type == BATCH:
        raise NotAnEvent(["batches are not accepted: send one event in a request"])
    if media_type == STRUCTURED:
        return _decode_structured(body)
    if media_type.startswith("application/cloudevents"):
        raise NotAnEvent([f"{media_type} is not supported: send {STRUCTURED}"])
    if content_type is not None:
        attributes["datacontenttype"] = content_type
    return _message(attributes, body, problems)


def encode(message: Message) -> tuple[list[tuple[str, str]], bytes]:
    """Write a message in binary mode: headers and body."""
    headers = [
        ("ce-specversion", "1.0"),
        ("ce-id", _encode_header(message.id)),
        ("ce-source", _encode_header(message.source)),
        ("ce-type", _encode_header(message.type)),
    ]
    for name in ("subject", "time", "dataschema"):
        value = getattr(message, name)
        if value is not None:
            headers.append((f"ce-{name}", _encode_header(value)))
    headers += [(f"ce-{name}", _encode_header(v)) for name, v in message.extensions.items()]
    if message.datacontenttype is not None:
        headers.append(("content-type", message.datacontenttype))
    return headers, message.data


def attributes(message: Message) -> dict[str, str]:
    """A message's attributes and extensions by name, without what it does not have."""
    names = ("id", "source", "type", "subject", "time", "datacontenttype", "dataschema")
    given = {name: getattr(message, name) for name in names}
    return {name: value for name, value in given.items() if value is not None} | {
        **message.extensions
    }


def from_attributes(given: Mapping[str, str], data: bytes) -> Message:
    """A message of attributes and extensions; the inverse of `attributes`."""
    return _message({**given, "specversion": "1.0"}, data, [])


def to_json(message: Message) -> dict[str, Any]:
    """A message as the JSON format has it, for answers, ledgers and logs."""
    out: dict[str, Any] = {"specversion": "1.0", "id": message.id, "source": message.source}
    out["type"] = message.type
    for name in ("subject", "time", "datacontenttype", "dataschema"):
        if (value := getattr(message, name)) is not None:
            out[name] = value
    out |= message.extensions
    if message.data:
        if "json" in (message.datacontenttype or "application/json"):
            try:
                data = json.loads(message.data)
                if b"\\ud" in message.data.lower():
                    json.dumps(data, ensure_ascii=False).encode()  # half a pair is no UTF-8
                return out | {"data": data}
            except (ValueError, RecursionError):
                pass
        out["data_base64"] = base64.b64encode(message.data).decode()
    return out


def from_json(document: Any) -> Message:
    """Read the JSON format; the inverse of `to_json`."""
    if not isinstance(document, dict):
        raise NotAnEvent(["a structured event must be a JSON object"])
    problems: list[str] = []
    attributes: dict[str, str] = {}
    for name, value in document.items():
        if name in ("data", "data_base64") or value is None:
            continue
        if isinstance(value, bool):
            attributes[name] = "true" if value else "false"
        elif isinstance(value, str | int):
            attributes[name] = str(value)
            if _SURROGATE.search(attributes[name]):
                problems.append(f"attribute {name} holds half a surrogate pair")
        else:
            problems.append(f"attribute {name} must be a string, an integer or a boolean")
    data = b""
    if "data" in document and "data_base64" in document:
        problems.append("data and data_base64 exclude each other")
    elif "data" in document:
        attributes.setdefault("datacontenttype", "application/json")
        try:
            data = json.dumps(document["data"], ensure_ascii=False, separators=(",", ":")).encode()
        except (UnicodeEncodeError, RecursionError) as error:
            problems.append(f"data cannot be written as UTF-8 JSON: {error}")
    elif "data_base64" in document:
        try:
            data = base64.b64decode(document["data_base64"], validate=True)
        except (binascii.Error, TypeError, ValueError):
            problems.append("data_base64 is not valid base64")
    return _message(attributes, data, problems)


def parse_time(text: str) -> datetime:
    """RFC 3339 text as an aware datetime; digits beyond the microsecond are cut."""
    return datetime.fromisoformat(text.upper().replace("Z", "+00:00"))


def format_time(at: datetime) -> str:
    """An aware datetime as RFC 3339 text in UTC."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _decode_structured(body: bytes) -> Message:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NotAnEvent([f"the body is not valid JSON: {error}"]) from None
    return from_json(document)


def _message(attributes: dict[str, str], data: bytes, problems: list[str]) -> Message:
    problems += [
        f"attribute {name} is missing or empty" for name in _REQUIRED if not attributes.get(name)
    ]
    version = attributes.pop("specversion", "") or "1.0"
    if version != "1.0":
        problems.append(f"specversion {version!r} is not supported: send 1.0")
    source, time = attributes.pop("source", ""), attributes.pop("time", None)
    if source and not _URI_REFERENCE.fullmatch(source):
        problems.append(f"source {source!r} is no URI reference")
    if time is not None and not _is_time(time):
        problems.append(f"time {time!r} is no RFC 3339 timestamp")
    schema = attributes.pop("dataschema", None)
    if schema is not None and not _ABSOLUTE_URI.fullmatch(schema):
        problems.append(f"dataschema {schema!r} is no absolute URI")
    known = [attributes.pop(name, None) for name in ("id", "type", "subject", "datacontenttype")]
    identity, kind, subject, content_type = known
    problems += [
        f"attribute name {name!r} must be lower-case letters and digits"
        for name in attributes
        if not _NAME.fullmatch(name) or name in ("data", "database64")
    ]
    if subject == "":
        problems.append("attribute subject is empty: leave it out")
    if problems:
        raise NotAnEvent(problems)
    return Message(
        identity or "", source, kind or "", data, subject, time, content_type, schema, attributes
    )


def _is_time(text: str) -> bool:
    if not _RFC3339.fullmatch(text):
        return False
    try:
        parse_time(text)
    except ValueError:
        return False
    return True


def _decode_header(value: bytes) -> str:
    text = value.decode("latin-1")
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    return unquote(text) if "%" in text else text


def _encode_header(value: str) -> str:
    return quote(value, safe=_HEADER_SAFE)
