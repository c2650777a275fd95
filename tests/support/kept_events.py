"""Requests that a broker may hand over, whatever a function would say to them."""

from __future__ import annotations

Headers = dict[str, bytes]

PLAIN: Headers = {
    "ce-specversion": b"1.0",
    "ce-id": b"k-1",
    "ce-source": b"/tests",
    "ce-type": b"order.placed",
    "content-type": b"application/json",
}

# Name, what differs from PLAIN, and the attributes that are shown for it.
ATTRIBUTES: list[tuple[str, Headers, dict[str, str]]] = [
    (
        "an encoded blank in a URI",
        {"ce-source": b"https://example.com/a%20b"},
        {"source": "https://example.com/a%20b"},
    ),
    ("a blank in a URI", {"ce-source": b"/a b"}, {"source": "/a b"}),
    ("plain UTF-8", {"ce-subject": "Zo\xeb \u706b".encode()}, {"subject": "Zo\xeb \u706b"}),
    ("encoded UTF-8", {"ce-subject": b"Zo%C3%AB"}, {"subject": "Zo\xeb"}),
    ("somebody's percent signs", {"ce-id": b"50%41"}, {"id": "50%41"}),
    ("an encoded slash", {"ce-source": b"/buckets/x%2Fy"}, {"source": "/buckets/x%2Fy"}),
    ("no UTF-8 when decoded", {"ce-subject": b"%ff%fe"}, {"subject": "%ff%fe"}),
    ("an old version", {"ce-specversion": b"0.3"}, {"specversion": "0.3"}),
    ("a time that is none", {"ce-time": b"yesterday"}, {"time": "yesterday"}),
    ("a schema that is no URI", {"ce-dataschema": b"x y"}, {"dataschema": "x y"}),
    ("a name with a line", {"ce-a_b": b"1"}, {"a_b": "1"}),
    ("a long source", {"ce-source": b"/" + b"s" * 9000}, {"source": "/" + "s" * 9000}),
    ("a long type", {"ce-type": b"t" * 9000}, {"type": "t" * 9000}),
]

# Name, data, and how it is shown.
DATA: list[tuple[str, bytes, dict[str, object]]] = [
    ("NaN", b'{"price": NaN}', {"data": '{"price": NaN}'}),
    ("a huge number", b'{"price": 1e999}', {"data": '{"price": 1e999}'}),
    ("half a surrogate pair", b'{"t":"half \\ud83d"}', {"data": '{"t":"half \\ud83d"}'}),
    ("deep", b"[" * 2000 + b"]" * 2000, {"data": "[" * 2000 + "]" * 2000}),
    ("bytes", b"\xff\x00", {"data_base64": "/wA="}),
    ("broken", b"{", {"data": "{"}),
    ("no end of digits", b"1" * 900, {"data": int("1" * 900)}),
]
