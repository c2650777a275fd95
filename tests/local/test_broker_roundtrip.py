"""What one function sends, another reads unchanged: through the local Broker, over sockets."""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from functions.kit import cloudevents
from tests.conformance.conftest import Wire, serve_local
from tests.support.receiver import Receiver

ADDED = ("knativearrivaltime", "knativebrokerttl")
# Each example is a few requests over sockets; one broker serves them all.
several = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(scope="module")
async def wired(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Wire]:
    receiver = Receiver()
    await receiver.start()
    home: Path = tmp_path_factory.mktemp("roundtrip")
    async with (
        httpx.AsyncClient(timeout=60, trust_env=False) as client,
        serve_local(home, receiver.port) as url,
    ):
        yield Wire(url, client, receiver)
    await receiver.stop()


def messages(text: st.SearchStrategy[str]) -> st.SearchStrategy[cloudevents.Message]:
    json_data = st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
    nested = st.integers(0, 90).map(lambda depth: b"[" * depth + b"]" * depth)
    data = json_data.map(lambda value: json.dumps(value, separators=(",", ":")).encode())
    return st.builds(
        cloudevents.Message,
        id=text,
        source=st.from_regex(r"/([a-z0-9/.]|%[0-9A-F]{2}){1,300}", fullmatch=True),
        type=st.just("conformance.plain"),
        data=data | nested | st.binary(),
        subject=st.none() | text,
        datacontenttype=st.sampled_from(["application/json", "application/octet-stream"]),
        extensions=st.dictionaries(
            st.from_regex(r"x[a-z0-9]{1,12}", fullmatch=True), text, max_size=3
        ),
    )


# In binary mode every text is encoded, control characters too.
any_text = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=300)
# A structured one becomes a header as it stands: HTTP trims its ends, and what looks as if the
# binding had encoded it cannot be distinguished from that.
plain_text = any_text.map(
    lambda text: "".join(c for c in text if c.isprintable() and c not in '%"').strip() or "x"
)


async def arrived(wired: Wire, headers: dict[str, str], body: bytes) -> cloudevents.Message:
    token = uuid.uuid4().hex
    answer = await wired.client.post(
        wired.url, headers={**headers, "x-request-id": token}, content=body
    )
    assert answer.status_code == 202
    (seen,) = [s for s in wired.receiver.seen if s.headers.get("x-request-id") == token]
    raw = [(n.encode(), v.encode("utf-8", "surrogateescape")) for n, v in seen.headers.items()]
    message = cloudevents.decode(raw, seen.body)
    kept = {name: text for name, text in message.extensions.items() if name not in ADDED}
    return replace(message, extensions=kept)


@several
@given(messages(any_text))
async def test_a_binary_event_arrives_as_it_was_sent(
    wired: Wire, message: cloudevents.Message
) -> None:
    headers, body = cloudevents.encode(message)
    assert await arrived(wired, dict(headers), body) == message


@several
@given(messages(plain_text))
async def test_a_structured_event_arrives_as_it_was_sent(
    wired: Wire, message: cloudevents.Message
) -> None:
    body = json.dumps(cloudevents.to_json(message)).encode()
    received = await arrived(wired, {"content-type": cloudevents.STRUCTURED}, body)
    assert replace(received, data=b"") == replace(message, data=b"")
    if "data_base64" in json.loads(body):
        assert received.data == message.data
    else:
        assert received.json() == message.json()
