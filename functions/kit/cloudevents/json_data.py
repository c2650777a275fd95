"""Data of others as JSON can hold it: what was read leniently must not break who writes it."""

from __future__ import annotations

import base64
import codecs
import json
import re
from itertools import accumulate
from math import isfinite
from typing import Any

# Deeper data is text in a listing: it stands a few levels down there, and every reader has a limit.
MAX_DEPTH = 100


def _number(text: str) -> float:
    number = float(text)
    if not isfinite(number):
        raise ValueError(f"{text} is no number that JSON can hold")
    return number


# Made once: `json.loads` and `json.dumps` with options make another for each call.
_decode = json.JSONDecoder(parse_float=_number, parse_constant=_number).decode
_encode = json.JSONEncoder(ensure_ascii=False).encode
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_DEEPER = {"[": 1, "{": 1, "]": -1, "}": -1}


def is_json(media_type: str) -> bool:
    """Does a media type, or the lack of one, mean JSON?

    >>> [is_json(m) for m in ("", "application/json", "application/problem+json", "text/plain")]
    [True, True, True, False]
    """
    return media_type in ("", "application/json", "text/json") or media_type.endswith("+json")


def json_value(data: bytes) -> Any:
    """The value, if any JSON reader can take it when it is written again; ValueError otherwise.

    Python reads NaN, 1e999, half a surrogate pair and endless nesting, and others do not.
    """
    try:
        text = data.decode()
        value = _decode(text)
        if "\\u" in text:  # half a surrogate pair can stand in no other way
            _encode(value).encode()
    except RecursionError:
        raise ValueError("too deeply nested") from None
    if text.count("[") + text.count("{") <= MAX_DEPTH:
        return value
    brackets = (_DEEPER.get(c, 0) for c in _STRING.sub("", text))
    if max(accumulate(brackets), default=0) > MAX_DEPTH:
        raise ValueError("too deeply nested")
    return value


def why_unreadable(error: Exception) -> str:
    """What is wrong with a body that a reader of JSON or YAML has refused.

    >>> why_unreadable(RecursionError("maximum recursion depth exceeded"))
    'nested too deeply'
    """
    if isinstance(error, RecursionError):
        return "nested too deeply"
    if "integer string conversion" in str(error):  # Python's advice is not for who sent it
        return "a number has thousands of digits"
    return str(error)


def data_member(data: bytes, *, cut: bool = False) -> dict[str, Any]:
    """`data` as JSON, else as text, else `data_base64`: for a listing, of which no event is left
    out. Of data that is `cut`, the text as far as it can be read.

    >>> [data_member(data) for data in (b'{"n": 1}', b'{"n": NaN}', b"\\xff", b"")]
    [{'data': {'n': 1}}, {'data': '{"n": NaN}'}, {'data_base64': '/w=='}, {'data': None}]
    >>> data_member(b'{"n": "\\xc3', cut=True)
    {'data': '{"n": "'}
    """
    if not data:
        return {"data": None}
    try:
        return {"data": _text(data, cut) if cut else json_value(data)}
    except ValueError:
        pass
    try:
        return {"data": _text(data, cut)}
    except UnicodeDecodeError:
        return {"data_base64": base64.b64encode(data).decode()}


def _text(data: bytes, cut: bool) -> str:
    return codecs.getincrementaldecoder("utf-8")().decode(data, final=not cut)
