"""What a user sends to a function: a key that means one request, and YAML that stays small."""

from __future__ import annotations

from typing import ClassVar

import pytest

from functions.events.base import Event, Request
from functions.kit import cloudevents
from functions.kit.context import Context
from functions.kit.contract import function
from functions.kit.errors import FunctionError, PermanentError, TemporaryError
from tests.support import eventually
from tests.support.cluster import Cluster


class SayAsked(Request):
    type: ClassVar[str] = "test.say.asked.v1"
    word: str = ""
    expected_text: list[list[str]] = []
    fail: bool = False


class Repeated(Event):
    type: ClassVar[str] = "test.said.v1"
    word: str


failing: list[FunctionError] = []


@function(emits=[Repeated], inbox=True)
async def parrot(event: SayAsked, ctx: Context) -> Repeated:
    async def hear() -> str:
        return event.word

    word = (await ctx.checkpoints(ctx.key).step("hear", hear)).result
    if failing:
        raise failing.pop()
    return Repeated(word=word)


@pytest.fixture
def one(cluster: Cluster, functions_database: str) -> Cluster:
    failing.clear()
    cluster.deploy(parrot, {"DATABASE_URL": functions_database})
    return cluster


async def test_a_key_used_for_another_request_is_refused(one: Cluster) -> None:
    key = {"Idempotency-Key": "me2"}
    async with one.client("parrot") as client:
        first = await client.post("/", json={"word": "a"}, headers=key)
        same = await client.post("/", content='{ "word":"a", "fail": false }', headers=key)
        other = await client.post("/", json={"word": "b"}, headers=key)
    assert same.json()["events"] == first.json()["events"]
    assert other.status_code == 422
    assert "'me2' was used for another request" in other.json()["detail"]


async def test_what_a_request_was_made_for_is_in_its_events(one: Cluster) -> None:
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    headers = {"Idempotency-Key": "me3", "traceparent": trace, "baggage": "correlationid=why"}
    async with one.client("parrot") as client:
        (emitted,) = (await client.post("/", json={"word": "a"}, headers=headers)).json()["events"]
    assert (emitted["traceparent"], emitted["correlationid"], emitted["causationid"]) == (
        *(trace, "why"),
        "me3",
    )


async def test_a_request_that_failed_leaves_no_steps_to_another_under_its_key(
    one: Cluster,
) -> None:
    key = {"Idempotency-Key": "me2"}
    failing.append(TemporaryError("later"))
    async with one.client("parrot") as client:
        assert (await client.post("/", json={"word": "a"}, headers=key)).status_code == 503
        answer = await client.post("/", json={"word": "b"}, headers=key)
    assert answer.json()["events"][0]["data"] == {"word": "b"}


@pytest.mark.parametrize(
    ("body", "expected_text"),
    [
        ("a: &a [x]\nwords: [*a, *a]", "aliases"),
        ("words: " + "[" * 5000, "neither JSON nor YAML"),
        ("word: [", "neither JSON nor YAML"),
    ],
    ids=["aliases", "deep", "broken"],
)
async def test_yaml_that_grows_or_breaks_is_refused(
    one: Cluster, body: str, expected_text: str
) -> None:
    async with one.client("parrot") as client:
        answer = await client.post("/", content=body, headers={"Content-Type": "application/yaml"})
    assert answer.status_code == 400
    assert expected_text in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        ("[" * 100_000, {"Content-Type": cloudevents.STRUCTURED}),
        ("[" * 100_000, {"Content-Type": "application/json"}),
        (
            '{"specversion":"1.0","id":"1","source":"/x","type":"test.say.asked.v1",'
            '"data":{"word":"\\ud800"}}',
            {"Content-Type": cloudevents.STRUCTURED},
        ),
        (
            '{"specversion":"1.0","id":"\\ud800","source":"/x","type":"test.say.asked.v1",'
            '"data":{}}',
            {"Content-Type": cloudevents.STRUCTURED},
        ),
    ],
    ids=["deep event", "deep data", "half a pair in data", "half a pair in the id"],
)
async def test_json_that_python_cannot_keep_is_no_event(
    one: Cluster, body: str, headers: dict[str, str]
) -> None:
    async with one.client("parrot") as client:
        answer = await client.post("/", content=body, headers=headers)
    assert answer.status_code == 400
    assert answer.json()["detail"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (PermanentError("one is wrong", events=[Repeated(word="true")]), 422),
        (TemporaryError("one is late", delay_s=7, events=[Repeated(word="true")]), 503),
    ],
    ids=["permanent", "temporary"],
)
async def test_facts_of_a_failed_request_leave_although_the_sink_was_down(
    one: Cluster, error: FunctionError, status: int
) -> None:
    failing.append(error)
    one.sink.statuses = [500]
    async with one.client("parrot") as client:
        answer = await client.post("/", json={})
    assert answer.status_code == status
    assert "one is" in answer.json()["detail"]

    async def left() -> bool:
        return [emitted.word for emitted in one.sink.of(Repeated)] == ["true"]

    assert await eventually(left)


def test_what_python_read_and_cannot_write_stays_bytes() -> None:
    for data in (b'"\\ud800"', b"[" * 100_000):
        message = cloudevents.Message("1", "/x", "t", data, datacontenttype="application/json")
        assert cloudevents.from_json(cloudevents.to_json(message)).data == data
