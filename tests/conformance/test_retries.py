"""When a delivery is made again, when it is given up, and what the dead letter says."""

from __future__ import annotations

import base64
import itertools
import uuid

import pytest

from tests.conformance.conftest import Wire
from tests.support import eventually
from tests.support.receiver import Say

# A busy machine only ever adds to a pause: some attempt shows it as it is.
SLACK_S = 0.15


@pytest.mark.parametrize("status", [404, 408, 409, 429, 500, 501, 502, 503, 504, 599])
async def test_this_status_is_retried(wire: Wire, status: int) -> None:
    event, answer = await wire.publish("once-more", Say(status), Say(202))
    assert answer.status_code == 202
    assert len(wire.receiver.requests("/once-more", event)) == 2
    assert not wire.receiver.requests("/dead/once-more", event)


@pytest.mark.parametrize(
    "status",
    [300, 304, 400, 401, 403, 405, 406, 410, 412, 413, 415, 418, 422, 423, 425, 428, 431, 451, 499],
)
async def test_this_status_goes_straight_to_the_dead_letter(wire: Wire, status: int) -> None:
    event, answer = await wire.publish("once-more", Say(status))
    assert answer.status_code == 202
    assert len(wire.receiver.requests("/once-more", event)) == 1
    (dead_letter,) = wire.receiver.requests("/dead/once-more", event)
    # Of a 304 alone, Knative's dead letter says nothing.
    expected = None if status == 304 else str(status)
    assert dead_letter.headers.get("ce-knativeerrorcode") == expected
    assert ("ce-knativeerrordest" in dead_letter.headers) == (status != 304)


@pytest.mark.parametrize(
    ("path", "pauses_s"),
    [
        pytest.param("exponential", [0.2, 0.4, 0.8], id="exponential doubles"),
        pytest.param("linear", [0.0, 0.2, 0.4], id="linear begins at once"),
    ],
)
async def test_retries_wait_as_the_policy_says(
    wire: Wire, path: str, pauses_s: list[float]
) -> None:
    async def waits_no_longer() -> bool:
        event, _ = await wire.publish(path, Say(503))
        seen = wire.receiver.requests(f"/{path}", event)
        gaps = [after.at - before.at for before, after in itertools.pairwise(seen)]
        over = [gap - pause for gap, pause in zip(gaps, pauses_s, strict=True)]
        assert min(over) >= -0.01
        return max(over) <= SLACK_S

    await eventually(waits_no_longer)


async def test_a_lost_connection_is_retried_and_dead_lettered_as_500(wire: Wire) -> None:
    event, _ = await wire.publish("once-more", Say(hang_up=True))
    assert len(wire.receiver.requests("/once-more", event)) == 2
    (dead_letter,) = wire.receiver.requests("/dead/once-more", event)
    assert dead_letter.headers["ce-knativeerrorcode"] == "500"
    data = base64.b64decode(dead_letter.headers["ce-knativeerrordata"]).decode()
    assert data.startswith("dispatch error: Post ")


async def test_a_timeout_is_retried_and_dead_lettered_without_error_attributes(wire: Wire) -> None:
    event, answer = await wire.publish("timeout", Say(hold_s=30.0))
    assert answer.elapsed.total_seconds() < 30.0
    assert len(wire.receiver.requests("/timeout", event)) == 2
    (dead_letter,) = wire.receiver.requests("/dead/timeout", event)
    assert not [name for name in dead_letter.headers if name.startswith("ce-knativeerror")]


async def test_a_delivery_of_a_dead_letter_sink_alone_has_no_retries(wire: Wire) -> None:
    event, _ = await wire.publish("only-sink", Say(503))
    assert len(wire.receiver.requests("/only-sink", event)) == 1


async def test_retry_after_is_ignored(wire: Wire) -> None:
    _, answer = await wire.publish("once-more", Say(503, {"Retry-After": "30"}), Say())
    assert answer.elapsed.total_seconds() < 30


async def test_a_dead_letter_is_the_event_with_the_reason_and_its_time_to_live(wire: Wire) -> None:
    say = Say(422, {"Content-Type": "application/json"}, b'{"detail": "no"}')
    event, _ = await wire.publish("plain", say, data=b'{"x": 1}', subject="s")
    (dead_letter,) = wire.receiver.requests("/dead/plain", event)
    headers = dead_letter.headers
    assert dead_letter.body == b'{"x": 1}'
    assert (headers["ce-type"], headers["ce-subject"]) == ("conformance.plain", "s")
    assert headers["content-type"] == "application/json"
    assert headers["ce-knativeerrordest"].endswith("/plain")
    assert headers["ce-knativeerrorcode"] == "422"
    assert base64.b64decode(headers["ce-knativeerrordata"]) == b'{"detail": "no"}'
    assert headers["ce-knativebrokerttl"] == "255"
    assert "prefer" not in headers


async def test_an_error_body_of_768_bytes_still_fits(wire: Wire) -> None:
    event, answer = await wire.publish("plain", Say(422, body=b"x" * 768))
    (dead_letter,) = wire.receiver.requests("/dead/plain", event)
    assert answer.status_code == 202
    assert len(dead_letter.headers["ce-knativeerrordata"]) == 1024


async def test_the_dead_letter_of_a_json_delivery_is_binary(wire: Wire) -> None:
    event = str(uuid.uuid4())
    # A structured request has no ce-id header, so the receiver knows it by the empty one.
    wire.receiver.will_say("/as-json", "", Say(422), Say(202))
    await wire.post(event, "conformance.as-json", b'{"x": 1}', {})
    (dead_letter,) = wire.receiver.requests("/dead/as-json", event)
    assert dead_letter.body == b'{"x": 1}'


async def test_the_sinks_own_reply_is_discarded(wire: Wire) -> None:
    event, reply = str(uuid.uuid4()), str(uuid.uuid4())
    wire.receiver.will_say("/plain", event, Say(422))
    answer = {
        "ce-specversion": "1.0",
        "ce-id": reply,
        "ce-source": "/r",
        "ce-type": "conformance.answer",
    }
    wire.receiver.will_say("/dead/plain", event, Say(200, answer))
    await wire.post(event, "conformance.plain", b"", {})
    assert not wire.receiver.requests("/answer", reply)
