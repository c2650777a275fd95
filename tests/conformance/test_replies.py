"""What becomes of a subscriber's answer."""

from __future__ import annotations

import json
import uuid

import pytest

from tests.conformance.conftest import Wire
from tests.support.receiver import Say


def reply(event_id: str, type_: str = "conformance.answer", **more: str) -> dict[str, str]:
    """The headers of a binary reply event; as an `id` tells requests apart, it gets its own."""
    return {
        "ce-specversion": "1.0",
        "ce-id": event_id,
        "ce-source": "/replies",
        "ce-type": type_,
    } | more


@pytest.mark.parametrize("status", [200, 201, 202])
async def test_an_event_in_a_success_enters_the_same_broker(wire: Wire, status: int) -> None:
    answer_id = str(uuid.uuid4())
    _, answer = await wire.publish("plain", Say(status, reply(answer_id), b"hello"))
    (seen,) = wire.receiver.requests("/answer", answer_id)
    assert answer.status_code == 202
    assert (seen.body, seen.headers["ce-source"]) == (b"hello", "/replies")


async def test_a_reply_may_be_structured(wire: Wire) -> None:
    answer_id = str(uuid.uuid4())
    document = {"specversion": "1.0", "id": answer_id, "source": "/r", "type": "conformance.answer"}
    body = json.dumps(document | {"data": {"y": 2}}, separators=(",", ":")).encode()
    await wire.publish("plain", Say(200, {"Content-Type": "application/cloudevents+json"}, body))
    assert wire.receiver.requests("/answer", answer_id)[0].body == b'{"y":2}'


async def test_the_producer_waits_for_the_deliveries_of_replies(wire: Wire) -> None:
    answer_id = str(uuid.uuid4())
    wire.receiver.will_say("/answer", answer_id, Say(hold_s=0.3))
    _, answer = await wire.publish("plain", Say(200, reply(answer_id)))
    assert answer.elapsed.total_seconds() >= 0.3


async def test_a_reply_has_the_requests_time_to_live_less_one(wire: Wire) -> None:
    answer_id = str(uuid.uuid4())
    wire.receiver.will_say("/answer", answer_id, Say(422))
    headers = reply(answer_id, **{"ce-knativebrokerttl": "200"})
    await wire.publish("plain", Say(200, headers), knativebrokerttl="50")
    (dead_letter,) = wire.receiver.requests("/dead/answer", answer_id)
    assert dead_letter.headers["ce-knativebrokerttl"] == "48"


async def test_knative_headers_of_a_reply_travel_and_the_requests_do_not(wire: Wire) -> None:
    answer_id = str(uuid.uuid4())
    headers = reply(answer_id) | {"Knative-Mark": "m", "Retry-After": "7"}
    event = str(uuid.uuid4())
    wire.receiver.will_say("/plain", event, Say(200, headers))
    request = reply(event, "conformance.plain") | {"X-Request-Id": "r"}
    await wire.client.post(wire.url, headers=request)
    seen = wire.receiver.requests("/answer", answer_id)[0].headers
    assert (seen["knative-mark"], seen["retry-after"]) == ("m", "7")
    assert "x-request-id" not in seen


@pytest.mark.parametrize("status", [200, 202, 204])
async def test_an_empty_success_is_a_success_without_reply(wire: Wire, status: int) -> None:
    event, answer = await wire.publish("plain", Say(status))
    assert answer.status_code == 202
    assert not wire.receiver.requests("/dead/plain", event)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        pytest.param("text/html", b"OK", id="text"),
        pytest.param("application/json", b'{"ok": true}', id="JSON"),
        pytest.param("application/cloudevents-batch+json", b"[]", id="a batch"),
    ],
)
async def test_a_body_that_is_no_event_is_a_failure_without_error_attributes(
    wire: Wire, content_type: str, body: bytes
) -> None:
    say = Say(200, {"Content-Type": content_type}, body)
    event, answer = await wire.publish("once-more", say)
    assert answer.status_code == 202
    assert len(wire.receiver.requests("/once-more", event)) == 2
    (dead_letter,) = wire.receiver.requests("/dead/once-more", event)
    assert not [name for name in dead_letter.headers if name.startswith("ce-knativeerror")]


async def test_a_reply_that_cannot_be_read_is_retried(wire: Wire) -> None:
    headers = reply("1", **{"ce-time": "yesterday"})
    event, _ = await wire.publish("once-more", Say(200, headers))
    assert len(wire.receiver.requests("/once-more", event)) == 2


async def test_a_reply_without_a_required_attribute_is_dead_lettered_at_once_for_the_ingress(
    wire: Wire,
) -> None:
    event, _ = await wire.publish("once-more", Say(200, {"ce-specversion": "1.0", "ce-id": "1"}))
    assert len(wire.receiver.requests("/once-more", event)) == 1
    (dead_letter,) = wire.receiver.requests("/dead/once-more", event)
    assert dead_letter.headers["ce-knativeerrorcode"] == "400"
    namespace, name = wire.url.rsplit("/", 2)[1:]
    assert dead_letter.headers["ce-knativeerrordest"].endswith(f"/{namespace}/{name}")


async def test_a_redirect_is_followed_by_a_get_without_body(wire: Wire) -> None:
    mark = str(uuid.uuid4())
    event, answer = await wire.publish("plain", Say(302, {"Location": f"/elsewhere/{mark}"}))
    (seen,) = wire.receiver.requests(f"/elsewhere/{mark}")
    assert (seen.method, seen.body, answer.status_code) == ("GET", b"", 202)
    assert not wire.receiver.requests("/dead/plain", event)


async def test_a_trigger_that_answers_itself_stops_after_255_deliveries(wire: Wire) -> None:
    loop = str(uuid.uuid4())
    again = Say(200, reply(loop, "conformance.loop"))
    wire.receiver.will_say("/loop", loop, again)
    answer = await wire.post(loop, "conformance.loop", b"", {})
    assert answer.status_code == 202
    assert len(wire.receiver.requests("/loop", loop)) == 255
    (dead_letter,) = wire.receiver.requests("/dead/loop", loop)
    assert dead_letter.headers["ce-knativeerrorcode"] == "400"
