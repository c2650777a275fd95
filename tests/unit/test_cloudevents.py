"""The codec: strict about what it takes, exact about what it sends."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace

import cloudevents.http as sdk
import pytest
from cloudevents.conversion import to_binary, to_structured
from hypothesis import assume, given
from hypothesis import strategies as st

from functions.kit import cloudevents

REQUIRED = {"ce-id": "1", "ce-source": "/s", "ce-type": "t", "ce-specversion": "1.0"}


def raw(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.encode(), value.encode()) for name, value in headers.items()]


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"ce-id": ""}, "attribute id is missing or empty"),
        ({"ce-source": ""}, "attribute source is missing or empty"),
        ({"ce-type": ""}, "attribute type is missing or empty"),
        ({"ce-specversion": ""}, "attribute specversion is missing or empty"),
        ({"ce-specversion": "0.3"}, "specversion '0.3' is not supported"),
        ({"ce-specversion": "2.0"}, "specversion '2.0' is not supported"),
        ({"ce-source": "a b"}, "source 'a b' is no URI reference"),
        ({"ce-time": "yesterday"}, "time 'yesterday' is no RFC 3339"),
        ({"ce-time": "2026-02-30T00:00:00Z"}, "is no RFC 3339"),
        ({"ce-time": "2026-02-03 00:00:00Z"}, "is no RFC 3339"),
        ({"ce-time": "2026-02-03T00:00:00"}, "is no RFC 3339"),
        ({"ce-dataschema": "relative"}, "is no absolute URI"),
        ({"ce-my_name": "x"}, "attribute name 'my_name'"),
        ({"ce-my-name": "x"}, "attribute name 'my-name'"),
        ({"ce-data": "x"}, "attribute name 'data'"),
        ({"ce-subject": ""}, "subject is empty"),
        ({"content-type": "application/cloudevents-batch+json"}, "send one event"),
        ({"content-type": "application/cloudevents+xml"}, "is not supported"),
        ({"content-type": "application/cloudevents+json"}, "not valid JSON"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, dict) else None,
)
def test_what_is_wrong_is_named(change: dict[str, str], problem: str) -> None:
    with pytest.raises(cloudevents.NotAnEvent, match=problem.replace("+", r"\+")):
        cloudevents.decode(raw(REQUIRED | change), b"")


def test_all_problems_are_named_at_once() -> None:
    with pytest.raises(cloudevents.NotAnEvent) as caught:
        cloudevents.decode(raw({"ce-time": "x"}), b"")
    assert len(caught.value.problems) == 5


def test_an_attribute_that_is_there_twice_is_refused() -> None:
    with pytest.raises(cloudevents.NotAnEvent, match="ce-id is there twice"):
        cloudevents.decode([*raw(REQUIRED), (b"ce-id", b"2")], b"")


@pytest.mark.parametrize(
    ("document", "problem"),
    [
        ([], "must be a JSON object"),
        ({"extra": {"a": 1}}, "attribute extra must be"),
        ({"data": 1, "data_base64": ""}, "exclude each other"),
        ({"data_base64": "§"}, "not valid base64"),
        ({"data_base64": 3}, "not valid base64"),
    ],
)
def test_what_is_wrong_in_structured_mode_is_named(document: object, problem: str) -> None:
    with pytest.raises(cloudevents.NotAnEvent, match=problem):
        cloudevents.from_json(document)


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ("Euro%20%E2%82%AC%20%F0%9F%98%80", "Euro € 😀"),
        ("100%25", "100%"),
        ('"quoted \\" text"', 'quoted " text'),
        ("plain", "plain"),
        ("Zoë 火", "Zoë 火"),
        ("Zo%c3%ab", "Zoë"),
        ("50%41", "50%41"),
        ("50%2541", "50%41"),
        ("my%2Ffile.txt", "my%2Ffile.txt"),
        ("100% of %zz", "100% of %zz"),
        ("line%0Abreak", "line\nbreak"),
    ],
)
def test_header_values_are_percent_decoded(header: str, text: str) -> None:
    message = cloudevents.decode(raw(REQUIRED | {"ce-subject": header}), b"")
    assert message.subject == text


@pytest.mark.parametrize("header", [b"%ff%fe", b"%E7%81", b"\xff", b"ok%C3"])
def test_what_is_no_utf_8_is_refused(header: bytes) -> None:
    with pytest.raises(cloudevents.NotAnEvent, match="header ce-subject is no UTF-8"):
        cloudevents.decode([*raw(REQUIRED), (b"ce-subject", header)], b"")


@pytest.mark.parametrize("uri", ["https://example.com/a%20b", "/buckets/x%2Fy", "/%C3%A9", "/%ff"])
def test_a_uri_is_read_and_written_as_it_stands(uri: str) -> None:
    binary = cloudevents.decode(raw(REQUIRED | {"ce-source": uri}), b"")
    document = {"specversion": "1.0", "id": "1", "type": "t", "source": uri}
    assert binary.source == cloudevents.from_json(document).source == uri
    assert ("ce-source", uri) in cloudevents.encode(binary)[0]


@pytest.mark.parametrize(
    ("members", "data"),
    [
        ({"data": {}, "data_base64": None}, b"{}"),
        ({"data_base64": None}, b""),
        ({"data": None, "data_base64": "eA=="}, b"x"),
        ({"data": "a", "datacontenttype": "text/plain"}, b"a"),
        ({"data": "a", "datacontenttype": "application/json"}, b'"a"'),
        ({"data": "a"}, b'"a"'),
        ({"data": {"a": 1}, "datacontenttype": "application/vnd.x+json"}, b'{"a":1}'),
    ],
)
def test_structured_data(members: dict[str, object], data: bytes) -> None:
    document = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", **members}
    assert cloudevents.from_json(document).data == data


@pytest.mark.parametrize("data", ['{"n": NaN}', "1e999", '"half \\ud83d"', "[" * 20_000])
def test_structured_data_that_json_cannot_say_is_refused(data: str) -> None:
    body = f'{{"specversion":"1.0","id":"1","source":"/s","type":"t","data":{data}}}'
    with pytest.raises(cloudevents.NotAnEvent):
        cloudevents.decode([(b"content-type", b"application/cloudevents+json")], body.encode())


def test_extension_attributes_travel_on() -> None:
    given_ = raw(REQUIRED | {"ce-unheardof": "x", "ce-traceparent": "00-1-2-01"})
    headers, _ = cloudevents.encode(cloudevents.decode(given_, b""))
    assert ("ce-unheardof", "x") in headers
    assert ("ce-traceparent", "00-1-2-01") in headers


def test_nanoseconds_are_a_time() -> None:
    message = cloudevents.decode(raw(REQUIRED | {"ce-time": "2026-01-02T03:04:05.123456789Z"}), b"")
    assert message.sent_at is not None
    assert message.sent_at.microsecond == 123456


text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1)
json_data = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
).map(lambda value: json.dumps(value).encode())
messages = st.builds(
    cloudevents.Message,
    id=text,
    source=st.from_regex(r"/[a-z0-9/.]{0,20}", fullmatch=True),
    type=text,
    data=st.binary() | json_data | st.integers(0, 3000).map(lambda deep: b"[" * deep + b"]" * deep),
    subject=st.none() | text,
    time=st.none() | st.datetimes().map(lambda t: f"{t.isoformat()}Z"),
    datacontenttype=st.sampled_from(["application/octet-stream", "text/plain", "text/xml"]),
    extensions=st.dictionaries(st.from_regex(r"x[a-z0-9]{1,12}", fullmatch=True), text, max_size=3),
)


@given(messages)
def test_what_is_encoded_decodes_to_the_same(message: cloudevents.Message) -> None:
    headers, body = cloudevents.encode(message)
    assert (
        cloudevents.decode([(n.encode(), v.encode("ascii")) for n, v in headers], body) == message
    )


@given(messages)
def test_the_json_format_keeps_everything(message: cloudevents.Message) -> None:
    assert cloudevents.from_json(json.loads(json.dumps(cloudevents.to_json(message)))) == message


@given(messages, st.sampled_from(["application/json", "application/x+json", None]))
def test_any_reader_of_json_reads_what_we_list(
    message: cloudevents.Message, content_type: str | None
) -> None:
    listed = cloudevents.to_json(replace(message, datacontenttype=content_type))
    again = json.loads(json.dumps(listed, allow_nan=False, ensure_ascii=False).encode())
    assert again == listed
    assert cloudevents.from_json(listed).id == message.id


@given(messages, json_data, st.sampled_from(["application/json", "application/x+json", "text/x"]))
def test_the_json_format_is_the_same_as_a_text(
    message: cloudevents.Message, data: bytes, content_type: str
) -> None:
    for given_ in (message, replace(message, data=data, datacontenttype=content_type)):
        assert json.loads(cloudevents.to_json_text(given_)) == cloudevents.to_json(given_)


header_text = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from('%"0Af'), min_size=1
)


@given(
    st.dictionaries(
        st.sampled_from([*REQUIRED, "ce-time", "ce-subject", "ce-x", "ce-a_b", "content-type"]),
        header_text,
    ),
    st.binary() | json_data,
)
def test_what_is_only_kept_is_sent_on_as_it_came(headers: dict[str, str], body: bytes) -> None:
    given_ = REQUIRED | headers
    message = cloudevents.received(raw(given_), body)
    assert all((message.id, message.source, message.type))
    kept = cloudevents.as_received(message.verbatim or {}, message.data)
    assert dict(cloudevents.encode(kept)[0]) == given_
    assert cloudevents.encode(kept)[1] == message.data == body


@given(st.lists(st.tuples(st.sampled_from([b"ce-id", b"ce-x", b"content-type"]), st.binary())))
def test_no_event_of_a_broker_is_too_odd_to_be_kept(headers: list[tuple[bytes, bytes]]) -> None:
    structured = b"application/cloudevents"  # that is in the body, which is none here
    assume(not any(value.lower().startswith(structured) for _, value in headers))
    message = cloudevents.received([*raw(REQUIRED), *headers], b"x")
    json.dumps(cloudevents.to_json(message), ensure_ascii=False).encode()
    headers_again, _ = cloudevents.encode(message)
    assert not any(set(value) & set(map(chr, [*range(32), 127])) for _, value in headers_again)


@given(st.dictionaries(st.text(st.characters()), json_data.map(json.loads)))
def test_no_structured_event_is_too_odd_to_be_kept(document: dict[str, object]) -> None:
    required = {name.removeprefix("ce-"): text for name, text in REQUIRED.items()}
    body = json.dumps(document | required).encode()
    message = cloudevents.received([(b"content-type", b"application/cloudevents+json")], body)
    listed = cloudevents.to_json(message)
    json.dumps(listed, ensure_ascii=False, allow_nan=False).encode()
    assert cloudevents.as_received(message.verbatim or {}, message.data).data == message.data


@given(messages)
def test_the_sdk_reads_what_we_write(message: cloudevents.Message) -> None:
    headers, body = cloudevents.encode(message)
    event = sdk.from_http(dict(headers), body, data_unmarshaller=lambda data: data)
    assert event["specversion"] == "1.0"
    assert cloudevents.decode(raw({"ce-id": event["id"], **_rest()}), b"").id == message.id
    assert event.data == (message.data or None)


def test_we_read_what_the_sdk_writes() -> None:
    event = sdk.CloudEvent({"type": "t", "source": "/s", "subject": "x"}, {"a": 1})
    for headers, body in (to_binary(event), to_structured(event)):
        lower = [(n.lower().encode(), str(v).encode()) for n, v in headers.items()]
        message = cloudevents.decode(lower, body)
        assert (message.id, message.type, message.json()) == (event["id"], "t", {"a": 1})


@given(st.dictionaries(st.sampled_from([*REQUIRED, "ce-time", "ce-x", "content-type"]), st.text()))
def test_no_headers_break_the_decoder(headers: dict[str, str]) -> None:
    given_ = [(name.encode(), value.encode()) for name, value in headers.items()]
    with contextlib.suppress(cloudevents.NotAnEvent):
        message = cloudevents.decode(given_, b"{}")
        assert all((message.id, message.source, message.type))


def _rest() -> dict[str, str]:
    return {name: value for name, value in REQUIRED.items() if name != "ce-id"}
