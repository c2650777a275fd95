"""What a subscriber receives."""

from __future__ import annotations

import base64
import json
import re
import uuid

import pytest

from tests.conformance.conftest import Wire

STRUCTURED = {"content-type": "application/cloudevents+json; charset=utf-8"}


async def structured(wire: Wire, members: str) -> str:
    """Post a structured event of type conformance.plain with further `members`; returns its id."""
    event = str(uuid.uuid4())
    document = (
        f'{{"specversion":"1.0","id":"{event}","source":"/s","type":"conformance.plain"{members}}}'
    )
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
    values = {"traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}
    value = values.get(name, "a=1")
    assert (await travelled(wire, name, value)) == value


@pytest.mark.parametrize("name", ["X-Other", "Authorization", "Cookie"])
async def test_any_other_header_is_dropped(wire: Wire, name: str) -> None:
    assert await travelled(wire, name, "secret") is None


async def travelled(wire: Wire, name: str, value: str) -> str | None:
    event = str(uuid.uuid4())
    headers = {
        "ce-specversion": "1.0",
        "ce-id": event,
        "ce-source": "/s",
        "ce-type": "conformance.plain",
        name: value,
    }
    assert (await wire.client.post(wire.url, headers=headers)).status_code == 202
    return wire.receiver.requests("/plain", event)[0].headers.get(name.lower())


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
