"""Ids of other alphabets, control characters and markup: in events and their extensions, in headers
of calls and answers, and in lines of the log."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, ClassVar
from urllib.parse import quote

import httpx
import pytest

from functions.events.base import Event, Request
from functions.kit.context import Context
from functions.kit.contract import function
from functions.kit.telemetry import correlation
from tests.support import webhook_requests as make
from tests.support.cluster import Cluster, message_of
from tests.support.front_inputs import INPUTS, Process

SETTINGS: dict[str, str] = {}
IDS = {
    "other alphabets": "Ü漢🎉ع\u0301",
    "markup": "<script>alert('1')</script>&amp;\"{{7*7}}$(id)%00",
    "ends of lines": 'a\r\nx-injected: 1\n{"level":"info"}\x85\u2028b',
    "a terminal's": "\x1b[2J\x9b2J\x07\x7f",
    "directions": "\u202egnirts\u2066\u200f\ufeff",
}


class NamesAsked(Request):
    type: ClassVar[str] = "test.names.asked.v1"
    name: str


class Named(Event):
    type: ClassVar[str] = "test.named.v1"
    name: str

    def subject(self) -> str:
        return self.name


@function(emits=[Named], inbox=True)
async def namer(event: NamesAsked, ctx: Context) -> Named:
    """It calls a service with what its event carried, and names its own event by what it got."""
    answer = await ctx.http.get("http://names/", headers=correlation.headers())
    answer.raise_for_status()
    return Named(name=answer.json()["name"])


class Names:
    """A service whose answer holds an id, and that keeps what it was sent."""

    def __init__(self, id: str) -> None:
        self.id = id
        self.headers: list[tuple[bytes, bytes]] = []

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.headers = list(scope["headers"])
        head = [(b"content-type", b"application/json")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        body = json.dumps({"name": self.id}).encode()
        await send({"type": "http.response.body", "body": body})


@pytest.mark.parametrize("id", IDS.values(), ids=IDS)
async def test_an_event_and_the_calls_that_it_causes_carry_any_id(
    cluster: Cluster, functions_database: str, id: str
) -> None:
    names = Names(id)
    cluster.add("names", names)
    cluster.deploy(namer, {"DATABASE_URL": functions_database})
    message = message_of(NamesAsked(name=id), id=f"id {id}", source="/tests")
    carried = {"correlationid": id, "partitionkey": id, "traceparent": id, "tracestate": id}
    given = replace(message, extensions=carried)
    answer = await cluster.tell("namer", given)
    assert answer.status_code == 202, answer.text

    (sent,) = cluster.sink.messages
    assert (sent.subject, sent.extensions["partitionkey"]) == (id, id)
    assert sent.extensions["correlationid"] == id
    assert sent.extensions["causationid"] == message.id
    assert not {"traceparent", "tracestate"} & set(sent.extensions), "what is none goes no further"
    for _, value in names.headers:
        assert value.isascii()
        assert value.decode().isprintable()


@pytest.mark.slow
async def test_headers_of_requests_come_back_in_no_header_or_log_as_they_are(
    processes: dict[str, Process],
) -> None:
    """The fronts: each answers, with a problem or a success, and its log is lines of JSON."""
    names = (
        "X-Service-Name",
        "X-User",
        "Idempotency-Key",
        "traceparent",
        "baggage",
        "X-Request-Id",
    )
    for input in INPUTS.values():
        url = processes[input.front].url
        async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client:
            for id in IDS.values():
                # What no header may hold, no server of HTTP reads.
                value = id.encode().translate(None, delete=b"\r\n\0")
                sent = await input.new(client)
                for name in names:
                    given = [(n.encode(), v.encode()) for n, v in sent.headers]
                    answer = await client.post(
                        sent.path, headers=[*given, (name.encode(), value)], content=sent.body
                    )
                    assert answer.status_code < 500, (name, answer.text)
                    for _, shown in answer.headers.raw:
                        assert b"\x1b" not in shown, (name, answer.headers)
                path = f"{input.path.rstrip('/')}/{quote(id, safe='')}"
                assert (await client.post(path, content=sent.body)).status_code < 500
                assert (await client.get(path)).status_code < 500
    await ids_in_bodies(processes)
    for name, process in processes.items():
        for line in b"".join(process.logged).decode().splitlines():
            assert line.isprintable(), (name, line)
            json.loads(line)


async def ids_in_bodies(processes: dict[str, Process]) -> None:
    """What is logged of an event names it."""
    for id in IDS.values():
        event = {"specversion": "1.0", "id": id, "source": "/x", "type": id, "data": {}}
        for process in processes.values():
            async with httpx.AsyncClient(base_url=process.url, trust_env=False) as client:
                kind = {"content-type": "application/cloudevents+json"}
                for type_ in (id, "io.dsm.saga.step.answered.v1", "dev.knative.sources.ping"):
                    body = json.dumps(event | {"type": type_, "schedule": id})
                    answer = await client.post("/", headers=kind, content=body)
                    assert answer.status_code < 500
        made = make.from_github({**make.ISSUE, "action": id, "repository": {"full_name": id}})
        receiver = processes["webhook_receiver"].url
        async with httpx.AsyncClient(base_url=receiver, trust_env=False) as client:
            assert (await make.post(client, made)).status_code < 500
