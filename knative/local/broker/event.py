"""HTTP message to event and back, exactly as strict as Knative's ingress.

An attribute's text is what stood in its header, byte for byte: Knative neither decodes nor
encodes percent signs on the way, so neither do we.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from knative.local.broker.http import Headers

TTL = "knativebrokerttl"
ARRIVAL = "knativearrivaltime"
STRUCTURED = "application/cloudevents"
JSON_TYPES = frozenset({"", "application/json", "text/json"})
TRAVELLING = frozenset({b"x-request-id", b"retry-after", b"traceparent", b"tracestate"})
TRACE = frozenset({b"traceparent", b"tracestate"})

_NAME = re.compile(r"[a-z0-9]+")
_TIME = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_IDS = rb"-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
_TRACEPARENT = re.compile(rb"00%b|(?!00|ff)[0-9a-f]{2}%b(?:-.*)?" % (_IDS, _IDS))
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_SPACE = re.compile(r"[ \t\r\n]*")


class NotAnEventError(ValueError):
    """The message has no sign of a CloudEvent: no `ce-specversion`, no structured body."""


class UnreadableError(ValueError):
    """The message says that it is a CloudEvent, but cannot be read as one."""


class IncompleteError(ValueError):
    """The event lacks a required attribute."""


@dataclass(frozen=True, slots=True)
class Event:
    """One CloudEvent. `attributes` includes `datacontenttype`; `headers` travel beside it."""

    attributes: dict[str, str]
    data: bytes
    headers: Headers = ()

    def wire_headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of the binary mode."""
        headers = [(_header_name(name), value.encode()) for name, value in self.attributes.items()]
        headers.extend(self.headers)
        return headers

    def structured(self) -> bytes:
        """The body of the structured mode, `application/cloudevents+json`."""
        document = json.dumps(self.attributes, separators=(",", ":"))
        if self.data:
            member = _json_data(self.data, self.attributes.get("datacontenttype", ""))
            document = f"{document[:-1]},{member}}}"
        return document.encode()


def decode(headers: Headers, body: bytes) -> Event:
    """Read an event in binary or structured mode; `validate` it next.

    Raises NotAnEventError or UnreadableError.
    """
    attributes: dict[str, str] = {}
    travelling: list[tuple[bytes, bytes]] = []
    content_type = ""
    try:
        for field, value in headers:
            key = field.lower()
            if key.startswith(b"ce-"):  # of a header that comes twice the first counts, as in Go
                attributes.setdefault(key[3:].decode("ascii"), value.decode())
            elif key == b"content-type":
                content_type = content_type or value.decode()
            elif key in TRAVELLING or key.startswith((b"knative-", b"x-b3-")):
                travelling.append((key, value))
    except UnicodeDecodeError as error:
        raise UnreadableError(f"a header is not UTF-8: {error.object!r}") from error
    if content_type.lower().startswith(STRUCTURED):
        attributes, body = _read_structured(content_type, body)
    elif "specversion" not in attributes:
        raise NotAnEventError("neither ce-specversion nor a structured body")
    elif content_type:
        attributes["datacontenttype"] = content_type
    if attributes.get("specversion") not in ("1.0", "0.3"):
        raise NotAnEventError(
            f"specversion {attributes.get('specversion')!r} is neither 1.0 nor 0.3"
        )
    for name in attributes:
        if not _is_name(name):
            raise UnreadableError(
                f"attribute name {name!r} is not of lower-case letters and digits"
            )
    if "time" in attributes:
        attributes["time"] = canonical_time(attributes["time"])
    return Event(attributes, body, _traced(travelling))


def _traced(travelling: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Without what belongs to no trace: a `tracestate` needs a valid `traceparent`."""
    parents = [value for key, value in travelling if key == b"traceparent"]
    if len(parents) == 1 and _TRACEPARENT.fullmatch(parents[0]):
        return travelling
    return [pair for pair in travelling if pair[0] not in TRACE]


def validate(event: Event) -> None:
    """Raise IncompleteError unless all required attributes are there."""
    for name in ("id", "source", "type"):
        if not event.attributes.get(name):
            raise IncompleteError(f"required attribute {name} is missing or empty")
    if event.attributes.get("subject") == "":
        raise IncompleteError("subject is there but empty")


def canonical_time(text: str) -> str:
    """RFC 3339 in UTC without idle zeros, as Go prints it.

    >>> canonical_time("2024-05-01T10:00:00.500+02:00")
    '2024-05-01T08:00:00.5Z'
    """
    found = _TIME.fullmatch(text)
    if not found:
        raise UnreadableError(f"time {text!r} is not RFC 3339")
    day, clock, fraction, offset = found.groups()
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{offset.upper()}")
        if moment.utcoffset():
            moment = moment.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise UnreadableError(f"time {text!r}: {error}") from error
    digits = (fraction or "").rstrip("0")
    return moment.replace(tzinfo=None).isoformat() + (f".{digits}Z" if digits else "Z")


def stamp(now_s: float) -> str:
    """Seconds since 1970 as RFC 3339 in UTC, to the microsecond and without idle zeros.

    >>> stamp(0.6), stamp(5)
    ('1970-01-01T00:00:00.6Z', '1970-01-01T00:00:05Z')
    """
    moment = datetime.fromtimestamp(now_s, UTC)
    digits = f".{moment.microsecond:06}".rstrip("0").rstrip(".")
    return f"{moment:%Y-%m-%dT%H:%M:%S}{digits}Z"


@lru_cache(maxsize=4096)
def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


@lru_cache(maxsize=4096)
def _header_name(attribute: str) -> bytes:
    return b"Content-Type" if attribute == "datacontenttype" else b"Ce-" + attribute.encode()


def _media_type(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


def _read_structured(content_type: str, body: bytes) -> tuple[dict[str, str], bytes]:
    if _media_type(content_type) != "application/cloudevents+json":
        raise UnreadableError(f"{content_type} is not supported; application/cloudevents+json is")
    attributes: dict[str, str] = {}
    raw = encoded = None
    try:
        for name, value, text in _members(body.decode()):
            if name == "data":
                raw = text
            elif name == "data_base64":
                encoded = value
            elif value is not None:
                attributes[name] = _attribute_text(name, value)
        if encoded is not None:
            return attributes, base64.b64decode(encoded, validate=True)
    except (ValueError, TypeError, RecursionError) as error:
        raise UnreadableError(f"the structured body: {error}") from error
    if raw is None:
        return attributes, b""
    if _media_type(attributes.get("datacontenttype", "")) in JSON_TYPES:
        return attributes, raw.encode()
    text = json.loads(raw)
    if not isinstance(text, str):
        raise UnreadableError(f"data of {attributes['datacontenttype']} must be a JSON string")
    return attributes, text.encode()


def _attribute_text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, str):
        raise ValueError(f"attribute {name} must be a string, an integer or a boolean")
    if _CONTROL.search(value):
        raise ValueError(f"attribute {name} contains a control character")
    value.encode()  # a lone surrogate is no text: UnicodeEncodeError is a ValueError
    return value


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


_JSON = json.JSONDecoder(parse_constant=_no_constant)


def _members(text: str) -> Iterator[tuple[str, Any, str]]:
    """Name, value and raw text of each member of a JSON object; the raw text starts at the colon.

    Knative hands JSON data on as it was written, white space included; `json.loads` forgets it.
    """

    def past(at: int, *expected: str) -> int:
        at = skip(at)
        if text[at : at + 1] not in expected:
            raise ValueError(f"expected {' or '.join(expected)} at character {at}")
        return at + 1

    def skip(at: int) -> int:
        found = _SPACE.match(text, at)
        return found.end() if found else at

    at = past(0, "{")
    if text[skip(at) : skip(at) + 1] == "}":
        at = past(at, "}")
    else:
        while text[at - 1] != "}":
            name, at = _JSON.raw_decode(text, skip(at))
            if not isinstance(name, str):
                raise ValueError(f"expected a member's name before character {at}")
            start = past(at, ":")
            value, at = _JSON.raw_decode(text, skip(start))
            yield name, value, text[start:at]
            at = past(at, ",", "}")
    if skip(at) != len(text):
        raise ValueError(f"something follows the object at character {at}")


def _json_data(data: bytes, content_type: str) -> str:
    """The member with the data; JSON as it was written, so that no number loses a digit."""
    try:
        text = data.decode()
        if _media_type(content_type) not in JSON_TYPES:
            return f'"data":{json.dumps(text)}'
        json.loads(text, parse_constant=_no_constant)
        return f'"data":{text.strip()}'
    except ValueError:
        return f'"data_base64":"{base64.b64encode(data).decode()}"'
