"""An attribute's value as an HTTP header holds it: the percent-encoding of CloudEvents' binding.

Brokers neither encode nor decode on the way, so one value comes in either form: encoded by who
keeps to the binding, as plain UTF-8 where the event was structured. Only those percent signs are
decoded that the binding writes. `%2F`, which it never does, is text as sent, and so is each
percent sign of an attribute that is a URI.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

_URIS = ("source", "dataschema")

# The binding's rule: everything but printable ASCII, and of that space, quote and percent.
_SAFE = "".join(chr(c) for c in range(0x21, 0x7F) if chr(c) not in '"%')
_PLAIN = re.compile(f"[{re.escape(_SAFE)}]*")
_ENCODED = re.compile(r"(?:%(?:[01][0-9A-F]|2[025]|7F|[89A-F][0-9A-F]))+", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


def decode_attribute(name: str, text: str) -> str:
    """The value of the attribute `name`; UnicodeDecodeError where what is encoded is no UTF-8."""
    if name in _URIS or name == "datacontenttype":
        return text
    if len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].replace('\\"', '"').replace("\\\\", "\\")
    if "%" not in text:
        return text
    return _ENCODED.sub(lambda found: unquote_to_bytes(found[0]).decode(), text)


def encode_attribute(name: str, value: str) -> str:
    """The header's text, which is ASCII."""
    if name == "datacontenttype" or _PLAIN.fullmatch(value):
        return value
    return quote(value, safe=_SAFE + "%" if name in _URIS else _SAFE)


def without_control(text: str) -> str:
    """Text that a header may hold as it is: control characters are encoded, nothing else."""
    return _CONTROL.sub(lambda found: f"%{ord(found[0]):02X}", text)


def utf8(value: bytes) -> str:
    """A header's text, also where it is no UTF-8: then one character for each byte."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value.decode("latin-1")
