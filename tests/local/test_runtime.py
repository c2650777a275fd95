"""The local Knative end to end: a child process, real HTTP, trivial Services."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support import eventually
from tests.support.local_knative import LocalKnative, local_knative

TINY = Path(__file__).parent / "overlays" / "tiny"


@pytest.fixture(scope="module")
def knative(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalKnative]:
    with local_knative(TINY, tmp_path_factory.mktemp("tiny")) as runtime:
        yield runtime


async def test_a_service_is_reached_by_its_cluster_host_name(knative: LocalKnative) -> None:
    async with knative.client("echo") as client:
        answer = await client.post("/some/path?a=1", content=b"hello")
    sent = answer.json()
    assert (sent["method"], sent["path"], sent["body"]) == ("POST", "/some/path?a=1", "hello")
    assert sent["headers"]["k-proxy-request"] == "activator"
    assert sent["headers"]["x-forwarded-host"] == "echo.dsm.svc.cluster.local"


async def test_the_bytes_of_a_header_arrive_as_they_were_sent(knative: LocalKnative) -> None:
    name = "Zoë"
    async with knative.client("echo") as client:
        answer = await client.get("/", headers={b"x-name": name.encode()})
    seen = answer.json()["headers"]["x-name"]  # http.server reads a byte as a character
    assert seen.encode("latin-1") == name.encode()


async def test_a_process_gets_its_environment_from_the_yaml(knative: LocalKnative) -> None:
    async with knative.client("echo") as client:
        sent = (await client.get("/")).json()
    env = sent["env"]
    expected = {
        "PLAIN": "plain",
        "EXPANDED": "plain and s3cret",
        "GREETING": "hello",
        "TOKEN": "s3cret",
        "K_SERVICE": "echo",
        "K_CONFIGURATION": "echo",
        "K_REVISION": "echo-00001",
        "K_SINK": "http://broker-ingress.knative-eventing.svc.cluster.local/dsm/default",
        "K_CE_OVERRIDES": '{"extensions": {"origin": "tiny"}}',
        "NO_PROXY": "",
    }
    assert {name: env.get(name) for name in expected} == expected
    assert env["HTTP_PROXY"].endswith(f"@127.0.0.1:{httpx.URL(knative.url).port}")
    routes = Path(env["ROUTES"])
    assert routes.read_text() == '{"a": 1}'  # a small local file
    assert sent["argv"][1:] == ["hello", env["ROUTES"]]


async def test_an_event_reaches_the_service_whose_trigger_matches(knative: LocalKnative) -> None:
    assert await knative.send("io.example.greeting.v1", {"to": "you"}) == 202
    events = await knative.ask("events", type="io.example.greeting.v1")
    deliveries = events[-1]["deliveries"]
    assert [(d["trigger"], d["state"]) for d in deliveries] == [
        ("dsm/echo-takes-greetings", "delivered")
    ]


async def test_events_are_searched_newest_first_by_what_they_carry(knative: LocalKnative) -> None:
    kind = "io.example.greeting.v1"
    for subject in ("one", "two"):
        await knative.send(kind, {}, subject=subject, correlationid="c")
    found = await knative.ask("events/search", correlation="c")
    assert [event["attributes"]["subject"] for event in found] == ["two", "one"]
    (one,) = await knative.ask("events/search", type="greeting", trigger="echo", subject="one")
    assert await knative.ask("events/search", correlation="c", before=one["seq"]) == []
    refused = await knative.ask("events/search", typo="x")
    assert refused["detail"] == "typo: no such filter"


async def test_a_refused_event_ends_as_a_dead_letter(knative: LocalKnative) -> None:
    assert await knative.send("io.example.refused.v1", {}) == 202
    dead_letters = await knative.ask("dead-letters")
    assert dead_letters[-1]["attributes"]["type"] == "io.example.refused.v1"
    assert dead_letters[-1]["deliveries"][0]["state"] == "dead-lettered"


async def test_a_fired_schedule_brings_its_tick_and_the_reply(knative: LocalKnative) -> None:
    assert await knative.fire("morning") == 202
    ticks = await knative.ask("events", type="dev.knative.sources.ping")
    attributes = ticks[-1]["attributes"]
    assert attributes["source"] == "/apis/v1/namespaces/dsm/pingsources/morning"
    assert attributes["schedule"] == "morning"
    assert ticks[-1]["data"] == {"hello": 1}
    assert await knative.ask("events", type="io.example.ticked.v1")


async def test_an_unknown_host_is_answered_with_the_known_ones(knative: LocalKnative) -> None:
    async with knative.client("nobody") as client:
        answer = await client.get("/")
    assert answer.status_code == 502
    assert "echo.dsm, letters.dsm" in answer.text


async def test_a_killed_process_comes_back_with_the_next_request(knative: LocalKnative) -> None:
    async with knative.client("echo") as client:
        pid = (await client.get("/")).json()["pid"]
        os.kill(pid, signal.SIGKILL)

        async def another() -> bool:
            answer = await client.get("/")
            return answer.status_code == 200 and answer.json()["pid"] != pid

        assert await eventually(another)


async def test_a_death_in_the_middle_of_a_request_is_502(knative: LocalKnative) -> None:
    async with knative.client("echo") as client:
        answer = await client.get("/?die=1")
    assert answer.status_code == 502


async def test_a_request_longer_than_timeout_seconds_is_504(knative: LocalKnative) -> None:
    async with knative.client("echo") as client:

        async def is_back() -> bool:
            """From the death of the test before."""
            return (await client.get("/")).is_success

        await eventually(is_back)
        answer = await client.get("/?sleep_s=4")
    assert (answer.status_code, answer.text) == (504, "activator request timeout")


async def test_a_process_reaches_others_through_the_gateway_as_its_proxy(
    knative: LocalKnative,
) -> None:
    async with httpx.AsyncClient(proxy=knative.proxy_url, timeout=30, trust_env=False) as client:
        answer = await client.get("http://letters.dsm.svc.cluster.local/who")
    assert answer.json()["env"]["K_SERVICE"] == "letters"


async def test_a_proxys_absolute_url_names_the_host_with_or_without_a_path(
    knative: LocalKnative,
) -> None:
    port = int(knative.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    url = "http://letters.dsm.svc.cluster.local"
    inside = f"proxy-authorization: Bearer {knative.token}\r\nconnection: close\r\n\r\n"
    writer.write(f"GET {url} HTTP/1.1\r\nhost: elsewhere\r\n{inside}".encode())
    answer = (await reader.read()).decode()
    writer.close()
    sent = json.loads(answer.partition("\r\n\r\n")[2])
    assert (sent["env"]["K_SERVICE"], sent["path"]) == ("letters", "/")
    assert sent["headers"]["x-forwarded-host"] == "letters.dsm.svc.cluster.local"


async def test_https_through_the_gateway_is_refused_with_a_reason(knative: LocalKnative) -> None:
    port = int(knative.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"CONNECT example.com:443 HTTP/1.1\r\nhost: example.com:443\r\n\r\n")
    answer = (await reader.read()).decode()
    writer.close()
    assert answer.startswith("HTTP/1.1 400")
    assert "CONNECT is not supported" in answer


async def test_a_job_sink_is_refused_with_a_reason(knative: LocalKnative) -> None:
    async with knative.client("job-sink", "knative-eventing") as client:
        answer = await client.post("/dsm/sink")
    assert (answer.status_code, answer.text) == (
        404,
        "JobSinks are not supported by the local Knative",
    )


async def test_what_a_process_did_not_take_before_its_end_goes_to_the_next(tmp_path: Path) -> None:
    # Of its own: one that has crashed before is not started again at once.
    with local_knative(TINY, tmp_path) as knative:
        async with knative.client("echo") as client:
            pid = (await client.get("/?leave=1")).json()["pid"]
            answer = await client.post("/", content=b"to whom it may concern")
    assert answer.status_code == 200, answer.text
    assert answer.json()["body"] == "to whom it may concern"
    assert answer.json()["pid"] != pid
