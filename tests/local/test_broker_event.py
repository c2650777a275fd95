"""The broker's codec, where the conformance suite cannot reach: odd JSON, odd times, odd bytes."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knative.local.broker.event import (
    Event,
    NotAnEventError,
    UnreadableError,
    canonical_time,
    decode,
)

STRUCTURED = [(b"Content-Type", b"application/cloudevents+json")]
BASE = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t"}


def structured(members: str) -> Event:
    return decode(STRUCTURED, ('{"specversion":"1.0"' + members + "}").encode())


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("2024-05-01T08:00:00Z", "2024-05-01T08:00:00Z"),
        ("2024-05-01t08:00:00z", "2024-05-01T08:00:00Z"),
        ("2024-05-01T08:00:00.120Z", "2024-05-01T08:00:00.12Z"),
        ("2024-05-01T08:00:00.123456789Z", "2024-05-01T08:00:00.123456789Z"),
        ("2024-05-01T00:30:00+02:00", "2024-04-30T22:30:00Z"),
        ("2024-05-01T08:00:00-00:00", "2024-05-01T08:00:00Z"),
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ],
)
def test_a_time_becomes_what_go_prints(text: str, canonical: str) -> None:
    assert canonical_time(text) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2024-05-01",
        "2024-05-01T08:00:00",
        "2024-05-01 08:00:00Z",
        "2024-05-01T08:00:00.Z",
        "2024-13-01T08:00:00Z",
        "2024-05-01T25:00:00Z",
        "0001-01-01T00:00:00+01:00",
    ],
)
def test_what_is_no_rfc_3339_time_is_refused(text: str) -> None:
    with pytest.raises(UnreadableError, match="time"):
        canonical_time(text)


@pytest.mark.parametrize(
    "members",
    [
        pytest.param(',"a":1.5', id="a fraction"),
        pytest.param(',"a":{}', id="an object"),
        pytest.param(',"a":[]', id="a list"),
        pytest.param(',"a":NaN', id="not a number"),
        pytest.param(r',"a":"x\r\nInjected: 1"', id="a line break would make a header"),
        pytest.param(r',"a":"\ud800"', id="half a character"),
        pytest.param(',"A":"1"', id="a capital in a name"),
        pytest.param(',"":"1"', id="an empty name"),
        pytest.param(',"data_base64":"*"', id="bad base64"),
        pytest.param(',"data_base64":5', id="base64 of a number"),
        pytest.param(',"datacontenttype":"text/plain","data":{}', id="text data that is an object"),
        pytest.param(',"data":' + "[" * 100_000, id="endless nesting"),
        pytest.param(",", id="a comma too many"),
        pytest.param(',"data"', id="no value"),
        pytest.param(",5:6", id="a number for a name"),
        pytest.param(',"data":1}{', id="two objects"),
    ],
)
def test_a_malformed_structured_event_is_unreadable(members: str) -> None:
    with pytest.raises(UnreadableError):
        structured(members)


@pytest.mark.parametrize("body", [b"", b"[]", b"5", b"\xff", b"null", b"{} {}"])
def test_a_structured_body_that_is_no_object_is_unreadable(body: bytes) -> None:
    with pytest.raises(UnreadableError):
        decode(STRUCTURED, body)


def test_an_empty_object_is_no_event() -> None:
    with pytest.raises(NotAnEventError):
        decode(STRUCTURED, b" { } ")


def test_a_header_that_is_not_utf_8_is_unreadable() -> None:
    with pytest.raises(UnreadableError, match="not UTF-8"):
        decode([(b"ce-specversion", b"1.0"), (b"ce-id", b"\xff")], b"")


def test_percent_signs_travel_as_they_came() -> None:
    event = decode([(b"ce-specversion", b"1.0"), (b"ce-subject", b"a%20b")], b"")
    assert (b"Ce-subject", b"a%20b") in event.wire_headers()


def test_a_null_attribute_is_none() -> None:
    assert "subject" not in structured(',"subject":null').attributes


@pytest.mark.parametrize(
    ("data", "content_type", "document"),
    [
        (b'{"x": 1}', "application/json", {"data": {"x": 1}}),
        (b'{"x": 1}', "", {"data": {"x": 1}}),
        (b"text", "text/plain; charset=utf-8", {"data": "text"}),
        (b"{broken", "application/json", {"data_base64": "e2Jyb2tlbg=="}),
        (b"\xff", "text/plain", {"data_base64": "/w=="}),
        (b"", "application/json", {}),
    ],
)
def test_structured_data_keeps_its_meaning(
    data: bytes, content_type: str, document: dict[str, object]
) -> None:
    attributes = BASE | ({"datacontenttype": content_type} if content_type else {})
    assert json.loads(Event(attributes, data).structured()) == attributes | document


@given(
    data=st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=5,
    ),
    indent=st.sampled_from([None, 2]),
    word=st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"])),
)
def test_any_structured_event_is_read_as_json_reads_it(
    data: object, indent: int | None, word: str
) -> None:
    document = BASE | {"data": data, "word": word}
    event = decode(STRUCTURED, json.dumps(document, indent=indent).encode())
    assert json.loads(event.data) == data
    assert event.attributes == BASE | {"word": word}


@pytest.mark.parametrize("number", ["1e400", "0.10000000000000000000001", "12345678901234567890"])
def test_a_number_leaves_in_structured_mode_as_it_was_written(number: str) -> None:
    attributes = {"specversion": "1.0", "id": "1", "datacontenttype": "application/json"}
    sent = Event(attributes, f'{{"n": {number}}}'.encode()).structured().decode()
    assert f'"data":{{"n": {number}}}}}' in sent
