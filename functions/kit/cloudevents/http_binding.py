"""HTTP message <-> CloudEvent: pure and strict.

Source: the CloudEvents 1.0.2 specification and its HTTP protocol binding. The SDK of the same name
(1.x, which functions-framework asks for) takes an empty id, a bad time and broken JSON, and knows
no percent-encoding; a broker is not so kind. Tests hold this codec against the SDK.

`decode` is for who handles an event, `received` for who only keeps it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from functions.kit.cloudevents.header_text import (
    decode_attribute,
    encode_attribute,
    utf8,
    without_control,
)
from functions.kit.cloudevents.json_format import from_json, members, parsed
from functions.kit.cloudevents.message import Message, NotAnEvent, checked, media_type, unchecked
from functions.kit.cloudevents.message import attributes as attributes_of

Headers = Iterable[tuple[bytes, bytes]]

STRUCTURED = "application/cloudevents+json"
BATCH = "application/cloudevents-batch+json"


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
            try:
                attributes[attribute] = decode_attribute(attribute, value.decode())
            except UnicodeDecodeError:
                attributes[attribute] = "?"
                problems.append(f"header ce-{attribute} is no UTF-8: {value[:40]!r}")
        elif name == b"content-type":
            content_type = value.decode("latin-1")
    kind = media_type(content_type)
    if kind == BATCH:
        raise NotAnEvent(["batches are not accepted: send one event in a request"])
    if kind == STRUCTURED:
        return from_json(parsed(body))
    if kind.startswith("application/cloudevents"):
        raise NotAnEvent([f"{kind} is not supported: send {STRUCTURED}"])
    if content_type is not None:
        attributes["datacontenttype"] = content_type
    return checked(attributes, body, problems)


def received(headers: Headers, body: bytes) -> Message:
    """Read whatever a broker may hand over: for who keeps events that others cannot read.

    An attribute that cannot be decoded stays as it stood. `NotAnEvent` only where one is missing
    that a broker insists on, or a structured body cannot be read.
    """
    raw: dict[str, str] = {}
    for header, value in headers:
        if header.startswith(b"ce-"):
            raw.setdefault(header[3:].decode("latin-1"), utf8(value))  # a broker takes the first
        elif header == b"content-type":
            raw.setdefault("datacontenttype", utf8(value))
    given: dict[str, str] = {}
    for name, text in raw.items():
        try:
            given[name] = decode_attribute(name, text)
        except UnicodeDecodeError:
            given[name] = text
    if media_type(raw.get("datacontenttype")) == STRUCTURED:
        given, data, problems = members(parsed(body))
        # A content type is never encoded: one that no header can hold is kept as what it is.
        raw = {
            name: text if name == "datacontenttype" else without_control(text)
            for name, text in given.items()
        }
        if problems:
            raw["datacontenttype"] = STRUCTURED  # to be sent on as the body that it is
        else:
            body = data
    return unchecked(given, body, raw)


def as_received(verbatim: Mapping[str, str], data: bytes) -> Message:
    """The message that `received` read, of its `verbatim` attributes and its data."""
    given = {"specversion": "1.0", **verbatim}
    headers = [(f"ce-{name}".encode(), text.encode()) for name, text in given.items()]
    if (content_type := verbatim.get("datacontenttype")) is not None:
        headers.append((b"content-type", content_type.encode()))
    return received([h for h in headers if h[0] != b"ce-datacontenttype"], data)


def encode(message: Message) -> tuple[list[tuple[str, str]], bytes]:
    """Write a message in binary mode: headers, of which the values are UTF-8, and body."""
    if message.verbatim is None:
        given = {
            name: encode_attribute(name, text) for name, text in attributes_of(message).items()
        }
    else:
        given = {name: without_control(text) for name, text in message.verbatim.items()}
    given = {"specversion": message.specversion, **given}
    content_type = given.pop("datacontenttype", None)
    headers = [(f"ce-{name}", text) for name, text in given.items()]
    if content_type is not None:
        headers.append(("content-type", content_type))
    return headers, message.data
