"""What an event is: a typed, immutable fact with a versioned name.

One class is the source of everything about an event: a function's annotation, its JSON
schema, the EventType manifest, the golden example and the table in the README.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, ClassVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    StringConstraints,
    ValidationInfo,
    field_validator,
)
from pydantic_core import PydanticUseDefault

# What every client of HTTP takes out of a path: `/projects/../team` becomes `/team`.
DOT_SEGMENTS = (".", "..")


def no_dot_segment(id: str) -> str:
    """The id; ValueError for one that a URL loses."""
    if id in DOT_SEGMENTS:
        raise ValueError(f"{id!r} is no id: a URL loses it")
    return id


# What no text of a database holds, or UTF-8 has.
NOT_KEPT = re.compile("[\x00\ud800-\udfff]")


def _kept(value: Any) -> Any:
    if isinstance(value, str) and (found := NOT_KEPT.search(value)):
        raise ValueError(f"must not contain the character U+{ord(found[0]):04X}")
    return value


# Text that a database can keep.
Text = Annotated[str, BeforeValidator(_kept)]
# An id of any alphabet. Longer ones fit neither an index nor the headers of an event.
Id = Annotated[
    str,
    StringConstraints(min_length=1, max_length=255, pattern=r"^[^\x00]*$"),
    AfterValidator(no_dot_segment),
]


@dataclass(frozen=True)
class Attribute:
    """Marks a field that travels as a CloudEvents attribute and not in the data.

    Triggers can filter on it. The attribute's name is the field's name without underscores,
    unless it is given: a reader may also ask for the core attributes, such as `type`.
    """

    name: str | None = None


class Value(BaseModel):
    """An immutable value inside events and answers of services.

    Readers ignore fields that they do not know, so that a type can grow. Null for a field that may
    be left out means that it is left out: many languages write their unset fields that way.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    @field_validator("*", mode="before")
    @classmethod
    def _null_is_unset(cls, value: Any, info: ValidationInfo) -> Any:
        if value is None and not cls.model_fields[info.field_name or ""].is_required():
            raise PydanticUseDefault
        return value


class Event(Value):
    """A fact."""

    type: ClassVar[str]
    # True where others name the types: then `type` is what they all begin with, up to a dot.
    family: ClassVar[bool] = False

    @classmethod
    def covers(cls, type_: str) -> bool:
        """Is an event of this type one of ours?"""
        return type_ == cls.type or (cls.family and type_.startswith(f"{cls.type}."))

    def subject(self) -> str | None:
        """The entity that the fact is about; also its partition key."""
        return None

    def identity(self) -> str | None:
        """What makes two deliveries the same fact, where that is more than the event's id."""
        return None

    @classmethod
    @cache
    def attributes(cls) -> dict[str, str]:
        """Field name to attribute name, for the fields that travel as attributes."""
        return {
            name: mark.name or name.replace("_", "")
            for name, field in cls.model_fields.items()
            for mark in field.metadata
            if isinstance(mark, Attribute)
        }

    @classmethod
    def data_schema(cls) -> dict[str, Any]:
        """JSON schema of the data, without the fields that travel as attributes."""
        schema = cls.model_json_schema()
        for name in cls.attributes():
            schema.get("properties", {}).pop(name, None)
            if name in schema.get("required", []):
                schema["required"].remove(name)
        return schema


class Request(Event):
    """A request of a user, whose data may come as plain JSON.

    Unknown fields are refused: a misspelt name must not silently mean "everything".
    """

    model_config = ConfigDict(frozen=True, extra="forbid")


def shorten(text: str, limit: int) -> str:
    """The text, or a digest of fixed length where it has more than `limit` characters.

    >>> shorten("GEM-001", 64), len(shorten("x" * 65, 64))
    ('GEM-001', 64)
    """
    if len(text) <= limit:
        return text
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


def joined(separator: str, *parts: str) -> str:
    """Two parts or more as one text, which no others make that are as many.

    They stand as they are, but where one holds the separator: then it is a digest of them all.

    >>> joined("/", "GEM-001", "GEM-001-S01")
    'GEM-001/GEM-001-S01'
    >>> joined("/", "a/b", "c") == joined("/", "a", "b/c")
    False
    """
    if len(parts) < 2:
        raise TypeError(f"two parts or more are joined, not {len(parts)}")
    if not any(separator in part for part in parts):
        return separator.join(parts)
    digest = hashlib.sha256()
    for part in parts:
        encoded = part.encode(errors="surrogatepass")
        digest.update(len(encoded).to_bytes(4, "big") + encoded)
    return digest.hexdigest()  # without a separator, so no joined parts look like it


class AnyEvent(Event):
    """An event of whatever type, as it came: for a function that keeps events unread.

    `ce_attributes` are its attributes and extensions by their CloudEvents names, `data` its bytes.
    `verbatim` is each attribute's text as it stood in its header, to send the event on unchanged.
    """

    type: ClassVar[str] = "*"

    ce_attributes: dict[str, str]
    verbatim: dict[str, str] = {}
    data: bytes = b""

    @classmethod
    def covers(cls, type_: str) -> bool:
        return True


def all_types(root: type[Event] = Event) -> list[type[Event]]:
    """Every concrete event class that has been imported, sorted by type."""
    found = {c for sub in root.__subclasses__() for c in [sub, *all_types(sub)]}
    named = (c for c in found if "type" in vars(c) and c is not AnyEvent)
    return sorted(named, key=lambda c: c.type)
