"""What the ingress takes, and what it answers."""

from __future__ import annotations

import asyncio
import json
import uuid

import httpx
import pytest

from tests.conformance.conftest import Wire
from tests.support.receiver import Say

GOOD = {
    "ce-specversion": "1.0",
    "ce-id": "1",
    "ce-source": "/conformance",
    "ce-type": "conformance.nobody",
}
DOCUMENT = {"specversion": "1.0", "id": "1", "source": "/x", "type": "conformance.nobody"}
JSON = {"content-type": "application/cloudevents+json"}


def without(name: str) -> dict[str, str]:
    return {k: v for k, v in GOOD.items() if k != name}


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        pytest.param({}, b"{}", 400, id="no event"),
        pytest.param(without("ce-id"), b"", 400, id="no id"),
        pytest.param(without("ce-type"), b"", 400, id="no type"),
        pytest.param(without("ce-source"), b"", 400, id="no source"),
        pytest.param(without("ce-specversion"), b"", 400, id="no specversion"),
        pytest.param(GOOD | {"ce-time": "yesterday"}, b"", 400, id="a time that is none"),
        pytest.param(GOOD | {"ce-specversion": "2.0"}, b"", 400, id="specversion 2.0"),
        pytest.param(GOOD | {"ce-type": ""}, b"", 400, id="an empty type"),
        pytest.param(GOOD | {"ce-a_b": "1"}, b"", 400, id="an underscore in a name"),
        pytest.param(GOOD | {"ce-a-b": "1"}, b"", 400, id="a dash in a name"),
        pytest.param(JSON, b"{", 400, id="structured: broken JSON"),
        pytest.param(JSON, b'{"specversion":"1.0"}', 400, id="structured: no id"),
        pytest.param(JSON, json.dumps(DOCUMENT).encode(), 202, id="structured"),
        pytest.param(
            {"content-type": "application/cloudevents-batch+json"},
            json.dumps([DOCUMENT]).encode(),
            400,
            id="a batch",
        ),
        pytest.param(GOOD | {"ce-specversion": "0.3"}, b"", 202, id="specversion 0.3"),
        pytest.param(
            GOOD | {"content-type": "application/json"}, b"{", 202, id="binary data that is no JSON"
        ),
        pytest.param(GOOD, b"", 202, id="no data"),
        pytest.param(GOOD, b"x", 202, id="no content type"),
        pytest.param(GOOD | {"ce-" + "a" * 60: "1"}, b"", 202, id="a long name"),
        pytest.param(GOOD | {"ce-source": "/a b"}, b"", 202, id="a source with a space"),
        pytest.param(GOOD | {"ce-knativebrokerttl": "1"}, b"", 400, id="no time to live left"),
    ],
)
async def test_the_ingress_is_as_strict_as_this_and_no_stricter(
    wire: Wire, headers: dict[str, str], body: bytes, status: int
) -> None:
    answer = await wire.client.post(wire.url, headers=headers, content=body)
    assert (answer.status_code, answer.content) == (status, b"")
    assert answer.headers["allow"] == "POST, OPTIONS"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        pytest.param("/{ns}/{name}", 202, id="namespace and broker"),
        pytest.param("/{ns}/{name}/", 202, id="a slash at the end"),
        pytest.param("/{ns}", 400, id="one segment"),
        pytest.param("/{ns}/{name}/more", 400, id="three segments"),
        pytest.param("/", 404, id="none"),
        pytest.param("/{ns}/nosuch", 404, id="an unknown broker"),
        pytest.param("/nosuch/{name}", 404, id="an unknown namespace"),
        pytest.param("/{ns}/{name}?a=b", 404, id="a query"),
    ],
)
async def test_the_address_names_a_namespace_and_a_broker(
    wire: Wire, path: str, status: int
) -> None:
    namespace, name = wire.url.rsplit("/", 2)[1:]
    address = wire.base + path.format(ns=namespace, name=name)
    answer = await wire.client.post(address, headers=GOOD)
    assert answer.status_code == status


@pytest.mark.parametrize(("method", "status"), [("GET", 405), ("OPTIONS", 200)])
@pytest.mark.parametrize("path", ["/", "/one", "/a/b/c"])
async def test_the_method_is_judged_before_the_path(
    wire: Wire, path: str, method: str, status: int
) -> None:
    answer = await wire.client.request(method, wire.base + path)
    assert answer.status_code == status


async def test_an_event_is_checked_before_its_broker(wire: Wire) -> None:
    answer = await wire.client.post(f"{wire.base}/no/such", headers=without("ce-id"))
    assert answer.status_code == 400


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "PATCH"])
async def test_only_post_is_allowed(wire: Wire, method: str) -> None:
    answer = await wire.client.request(method, wire.url)
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST, OPTIONS")


async def test_options_answers_the_webhook_handshake(wire: Wire) -> None:
    answer = await wire.client.options(wire.url)
    assert answer.status_code == 200
    assert answer.headers["webhook-allowed-origin"] == "*"
    assert answer.headers["webhook-allowed-rate"] == "*"


async def test_a_large_event_is_taken(wire: Wire) -> None:
    data = b"[" + b"0," * 4_000_000 + b"0]"
    event, answer = await wire.publish("plain", data=data)
    assert answer.status_code == 202
    assert wire.receiver.requests("/plain", event)[0].body == data


async def test_the_answer_comes_after_all_deliveries(wire: Wire) -> None:
    event, answer = await wire.publish("plain", Say(hold_s=0.3))
    assert answer.status_code == 202
    assert answer.elapsed.total_seconds() >= 0.3
    assert len(wire.receiver.requests("/plain", event)) == 1


async def test_a_successful_dead_letter_is_a_success(wire: Wire) -> None:
    _, answer = await wire.publish("plain", Say(422))
    assert answer.status_code == 202


async def test_a_final_failure_without_dead_letter_sink_is_500_though_others_succeeded(
    wire: Wire,
) -> None:
    event, answer = await wire.publish("lonely", Say(422))
    assert answer.status_code == 500
    assert len(wire.receiver.requests("/lonely-peer", event)) == 1


async def test_a_failing_dead_letter_sink_is_retried_and_then_500(wire: Wire) -> None:
    event = str(uuid.uuid4())
    wire.receiver.will_say("/once-more", event, Say(422))
    wire.receiver.will_say("/dead/once-more", event, Say(503))
    answer = await wire.post(event, "conformance.once-more", b"", {})
    assert answer.status_code == 500
    assert len(wire.receiver.requests("/once-more", event)) == 1
    assert len(wire.receiver.requests("/dead/once-more", event)) == 2


async def test_the_same_event_twice_is_delivered_twice(wire: Wire) -> None:
    event, _ = await wire.publish("plain")
    await wire.post(event, "conformance.plain", b"", {})
    assert len(wire.receiver.requests("/plain", event)) == 2


async def test_all_triggers_are_called_at_once(wire: Wire) -> None:
    event = str(uuid.uuid4())
    for path in ("/plain-too", "/plain-three"):
        wire.receiver.will_say(path, event, Say(hold_s=1.0))
    await wire.post(event, "conformance.both", b"", {})
    first, second = (
        wire.receiver.requests(path, event)[0].at for path in ("/plain-too", "/plain-three")
    )
    assert abs(first - second) < 1.0, "neither waited for the other's answer"


async def test_an_event_whose_producer_hangs_up_in_the_middle_is_not_delivered(wire: Wire) -> None:
    event, url = str(uuid.uuid4()), httpx.URL(wire.url)
    head = {**GOOD, "ce-id": event, "ce-type": "conformance.plain"}
    head["host"] = wire.client.headers.get("host", url.netloc.decode())
    lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
    reader, writer = await asyncio.open_connection(url.host, url.port or 80)
    writer.write(f"POST {url.path} HTTP/1.1\r\n{lines}content-length: 9\r\n\r\nhalf".encode())
    writer.write_eof()
    await reader.read()
    writer.close()
    await wire.publish("plain")  # would come after it
    assert wire.receiver.requests("/plain", event) == []
