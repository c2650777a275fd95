"""What a CloudEvent is, of whatever transport: its attributes, its data, what it must have."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

_REQUIRED = ("id", "source", "type", "specversion")
_CORE = frozenset((*_REQUIRED, "subject", "time", "datacontenttype", "dataschema"))
_NAME = re.compile(r"[a-z0-9]+")
_URI_REFERENCE = re.compile(r"(?:[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=]|%[0-9A-Fa-f]{2})+")
_ABSOLUTE_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*:.+")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


class NotAnEvent(ValueError):
    """The message is no valid CloudEvent; `problems` lists everything that is wrong with it."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Message:
    """A CloudEvent as it travels. `time` is RFC 3339 text; extension values are text.

    `verbatim`: the text of each attribute as it stood in its header, of an event that is passed on
    as it came. A broker decodes nothing, so its filters see a difference that readers do not.
    """

    id: str
    source: str
    type: str
    data: bytes = b""
    subject: str | None = None
    time: str | None = None
    datacontenttype: str | None = None
    dataschema: str | None = None
    extensions: Mapping[str, str] = field(default_factory=dict)
    specversion: str = "1.0"
    verbatim: Mapping[str, str] | None = field(default=None, compare=False, repr=False)

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


def attributes(message: Message) -> dict[str, str]:
    """A message's attributes and extensions by name, without what it does not have."""
    names = ("id", "source", "type", "subject", "time", "datacontenttype", "dataschema")
    given = {name: getattr(message, name) for name in names}
    if message.specversion != "1.0":
        given["specversion"] = message.specversion
    return {name: value for name, value in given.items() if value is not None} | {
        **message.extensions
    }


def from_attributes(given: Mapping[str, str], data: bytes) -> Message:
    """A message of attributes and extensions; the inverse of `attributes`."""
    return checked({"specversion": "1.0", **given}, data, [])


def checked(attributes: Mapping[str, str], data: bytes, problems: list[str]) -> Message:
    """A message; `NotAnEvent` where the attributes are no event's, or with the `problems` given."""
    problems += _missing(attributes)
    version = attributes.get("specversion") or "1.0"
    if version != "1.0":
        problems.append(f"specversion {version!r} is not supported: send 1.0")
    source, time, schema = map(attributes.get, ("source", "time", "dataschema"))
    if source and not _URI_REFERENCE.fullmatch(source):
        problems.append(f"source {source!r} is no URI reference")
    if time is not None and not _is_time(time):
        problems.append(f"time {time!r} is no RFC 3339 timestamp")
    if schema is not None and not _ABSOLUTE_URI.fullmatch(schema):
        problems.append(f"dataschema {schema!r} is no absolute URI")
    if attributes.get("subject") == "":
        problems.append("attribute subject is empty: leave it out")
    problems += [
        f"attribute name {name!r} must be lower-case letters and digits"
        for name in attributes
        if name not in _CORE and (not _NAME.fullmatch(name) or name in ("data", "database64"))
    ]
    if problems:
        raise NotAnEvent(problems)
    return _message(attributes, data)


def unchecked(
    given: Mapping[str, str], data: bytes, verbatim: Mapping[str, str] | None = None
) -> Message:
    """A message of whatever attributes; `NotAnEvent` only where it lacks what every event has."""
    if missing := _missing(given):
        raise NotAnEvent(missing)
    return _message(given, data, verbatim)


def _message(
    given: Mapping[str, str], data: bytes, verbatim: Mapping[str, str] | None = None
) -> Message:
    extensions = {name: text for name, text in given.items() if name not in _CORE}
    core = {name: text for name, text in given.items() if name in _CORE}
    return Message(**core, data=data, extensions=extensions, verbatim=verbatim)


def _missing(given: Mapping[str, str]) -> list[str]:
    return [f"attribute {name} is missing or empty" for name in _REQUIRED if not given.get(name)]


def parse_time(text: str) -> datetime:
    """RFC 3339 text as an aware datetime; digits beyond the microsecond are cut."""
    return datetime.fromisoformat(text.upper().replace("Z", "+00:00"))


def format_time(at: datetime) -> str:
    """An aware datetime as RFC 3339 text in UTC."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def media_type(content_type: str | None) -> str:
    """A content type in lower case, without its parameters."""
    return (content_type or "").partition(";")[0].strip().lower()


def _is_time(text: str) -> bool:
    if not _RFC3339.fullmatch(text):
        return False
    try:
        parse_time(text)
    except ValueError:
        return False
    return True
