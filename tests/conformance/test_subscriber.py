"""What a subscriber receives."""

from __future__ import annotations

import base64
import json
import re
import uuid
from collections.abc import Mapping

import pytest

from tests.conformance.conftest import Wire

STRUCTURED = {"content-type": "application/cloudevents+json; charset=utf-8"}


TRACEPARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


async def structured(wire: Wire, members: str, given: Mapping[str, str] | None = None) -> str:
    """Post a structured event of type conformance.plain with further `members`; returns its id."""
    event = str(uuid.uuid4())
    source = "" if given and "source" in given else ',"source":"/s"'
    document = f'{{"specversion":"1.0","id":"{event}"{source},"type":"conformance.plain"{members}}}'
    answer = await wire.client.post(wire.url, headers=STRUCTURED, content=document)
    assert answer.status_code == 202
    return event


async def test_a_request_is_binary_and_prefers_a_reply(wire: Wire) -> None:
    event, _ = await wire.publish(
        "plain", data=b'{"x": 1}', subject="s", time="2024-05-01T00:00:00Z"
    )
    (seen,) = wire.receiver.requests("/plain", event)
    assert seen.method == "POST"
    assert seen.body == b'{"x": 1}'
    expected = {
        "ce-specversion": "1.0",
        "ce-type": "conformance.plain",
        "ce-source": "/conformance",
        "ce-subject": "s",
        "ce-time": "2024-05-01T00:00:00Z",
        "content-type": "application/json",
        "prefer": "reply",
        "kn-namespace": wire.url.rsplit("/", 2)[1],
        "user-agent": "Go-http-client/1.1",
        "accept-encoding": "gzip",
        "content-length": "8",
    }
    assert expected.items() <= seen.headers.items()


async def test_the_arrival_time_is_set_anew_and_the_time_to_live_stays_hidden(wire: Wire) -> None:
    event, _ = await wire.publish("plain", knativearrivaltime="never", knativebrokerttl="9")
    headers = wire.receiver.requests("/plain", event)[0].headers
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z"
    assert re.fullmatch(stamp, headers["ce-knativearrivaltime"])
    assert "ce-knativebrokerttl" not in headers


@pytest.mark.parametrize(
    "name",
    [
        "X-Request-Id",
        "Retry-After",
        "Knative-Anything",
        "X-B3-TraceId",
        "X-B3-Sampled",
        "traceparent",
        "tracestate",
    ],
)
async def test_this_header_travels_to_the_subscriber(wire: Wire, name: str) -> None:
    sent = {name: "a=1"}
    if name.startswith("trace"):
        sent |= {"traceparent": TRACEPARENT}
    assert (await travelled(wire, sent)).items() >= {k.lower(): v for k, v in sent.items()}.items()


@pytest.mark.parametrize(
    "parent",
    [
        None,
        "a=1",
        TRACEPARENT.replace("00-", "ff-", 1),
        f"{TRACEPARENT}-more",
        TRACEPARENT.replace("b7ad6b7169203331", "0" * 16),
        TRACEPARENT.upper(),
    ],
    ids=["none", "nonsense", "version ff", "too long", "no span", "capitals"],
)
async def test_a_trace_state_does_not_travel_without_a_valid_parent(
    wire: Wire, parent: str | None
) -> None:
    sent = {"tracestate": "a=1"} | ({"traceparent": parent} if parent else {})
    seen = await travelled(wire, sent)
    assert "tracestate" not in seen
    assert parent is None or seen.get("traceparent") != parent


@pytest.mark.parametrize("name", ["X-Other", "Authorization", "Cookie"])
async def test_any_other_header_is_dropped(wire: Wire, name: str) -> None:
    assert name.lower() not in await travelled(wire, {name: "secret"})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("source", "https://example.com/a%20b"),
        ("source", "/buckets/x%2Fy"),
        ("subject", "my%20file.txt"),
        ("subject", "Zoë 火"),
        ("subject", '"quoted"'),
        ("word", "100 % of ß"),
    ],
)
async def test_an_attribute_is_neither_encoded_nor_decoded(
    wire: Wire, name: str, text: str
) -> None:
    event = await structured(wire, f',"{name}":{json.dumps(text)}', {name: text})
    again = str(uuid.uuid4())
    assert (await wire.post(again, "conformance.plain", b"", {name: text})).status_code == 202
    for sent in (event, again):
        (seen,) = wire.receiver.requests("/plain", sent)
        assert seen.headers[f"ce-{name}"] == text


async def travelled(wire: Wire, given: Mapping[str, str]) -> Mapping[str, str]:
    """The headers that reach the subscriber when these are sent along."""
    event = str(uuid.uuid4())
    headers = {
        "ce-specversion": "1.0",
        "ce-id": event,
        "ce-source": "/s",
        "ce-type": "conformance.plain",
        **given,
    }
    assert (await wire.client.post(wire.url, headers=headers)).status_code == 202
    return wire.receiver.requests("/plain", event)[0].headers


async def test_extensions_arrive_as_text(wire: Wire) -> None:
    event = await structured(wire, ',"number":5,"flag":true,"word":"w"')
    headers = wire.receiver.requests("/plain", event)[0].headers
    found = [headers[f"ce-{n}"] for n in ("number", "flag", "word")]
    assert found == ["5", "true", "w"]


@pytest.mark.parametrize(
    ("members", "body", "content_type"),
    [
        pytest.param("", b"", None, id="no data"),
        pytest.param(
            ',"datacontenttype":"application/json","data": {"x":1}',
            b' {"x":1}',
            "application/json",
            id="JSON, with its leading space",
        ),
        pytest.param(',"data":"text"', b'"text"', None, id="text keeps its quotes"),
        pytest.param(
            ',"datacontenttype":"text/plain","data":"a\\nb"',
            b"a\nb",
            "text/plain",
            id="text of a text type",
        ),
        pytest.param(
            f',"data_base64":"{base64.b64encode(bytes(range(256))).decode()}"',
            bytes(range(256)),
            None,
            id="base64 is decoded",
        ),
    ],
)
async def test_data_of_a_structured_event_arrives_as_it_was_written(
    wire: Wire, members: str, body: bytes, content_type: str | None
) -> None:
    event = await structured(wire, members)
    (seen,) = wire.receiver.requests("/plain", event)
    assert (seen.body, seen.headers.get("content-type")) == (body, content_type)


async def test_format_json_makes_the_request_structured(wire: Wire) -> None:
    event, _ = await wire.publish("as-json", data=b'{"x": [1]}', word="w")
    (seen,) = [
        s for s in wire.receiver.requests("/as-json", "*") if json.loads(s.body)["id"] == event
    ]
    document = json.loads(seen.body)
    assert seen.headers["content-type"].startswith("application/cloudevents+json")
    assert document["type"] == "conformance.as-json"
    assert (document["data"], document["word"]) == ({"x": [1]}, "w")
    assert "ce-id" not in seen.headers
