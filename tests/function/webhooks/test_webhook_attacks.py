"""Strangers hold up no other and fill no memory, however slowly or largely they send."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from functions.events.schedule import ScheduleDue
from functions.kit import cloudevents
from functions.kit.contract import upload
from tests.function.contract.test_serve import served
from tests.support import webhook_requests as make
from tests.support.cluster import Cluster, message_of

SLOW_SOCKETS = 80
LARGE_BODIES = 30
MAX_MEMORY_MB = 300


@pytest.fixture
async def attacked(webhook_database: str) -> AsyncIterator[tuple[int, str]]:
    """A receiver as a real process: its number and its URL."""
    environ = {"FUNCTION_SOURCE": "", "FUNCTION_TARGET": "webhook_receiver", **make.SECRETS}
    async with served(DATABASE_URL=webhook_database, **environ) as (process, url):
        yield process.pid, url


async def is_served(url: str) -> None:
    """A signed delivery is accepted as if nothing were."""
    path, headers, body = make.from_github()
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        answer = await client.post(url + path, headers=headers, content=body)
    assert answer.status_code == 202, answer.text


async def trickle(url: str) -> bytes:
    """Send a byte every two seconds; returns the first line of the answer."""
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
    writer.write(b"POST /webhook/github HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n")
    writer.write(b"X-Hub-Signature-256: sha256=00\r\n\r\n")
    answer = asyncio.create_task(reader.readline())
    try:
        async with asyncio.timeout(upload.DEADLINE_S + 60):
            while not answer.done():
                writer.write(b"x")
                await asyncio.wait([answer], timeout=2)
        return await answer
    finally:
        answer.cancel()
        writer.close()


async def test_eighty_sockets_that_trickle_are_cut_off_and_hold_up_no_other(
    attacked: tuple[int, str],
) -> None:
    _, url = attacked
    trickling = [asyncio.create_task(trickle(url)) for _ in range(SLOW_SOCKETS)]
    await is_served(url)
    assert not any(one.done() for one in trickling)

    answers = await asyncio.gather(*trickling)

    assert [line.split()[1] for line in answers] == [b"408"] * SLOW_SOCKETS
    await is_served(url)


async def test_thirty_large_bodies_with_a_wrong_signature_fill_no_memory(
    attacked: tuple[int, str],
) -> None:
    number, url = attacked
    body = bytes(26_000_000)
    path, headers, _ = make.from_github(body=body, secret="another")

    async def attack() -> int | None:
        async with httpx.AsyncClient(trust_env=False, timeout=120) as client:
            try:
                return (await client.post(url + path, headers=headers, content=body)).status_code
            except httpx.TransportError:  # refused before it has sent all
                return None

    attacks = [asyncio.create_task(attack()) for _ in range(LARGE_BODIES)]
    served_times = 0
    while not all(one.done() for one in attacks):
        await is_served(url)
        served_times += 1

    assert {one.result() for one in attacks} <= {401, 408, 503, None}
    assert served_times
    assert peak_mb(number) < MAX_MEMORY_MB


def peak_mb(number: int) -> int:
    """The most memory that a process has had, in MB."""
    lines = Path(f"/proc/{number}/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) // 1024


OUTSIDE = {
    "the gateway": {"host": "webhook-receiver.dsm.example.com"},
    "a laptop's gateway": {"host": "webhook-receiver.dsm.localhost:8080"},
    "a mapped domain": {"k-original-host": "hooks.example.com"},
    "another proxy": {"x-forwarded-host": "hooks.example.com"},
}


async def runs_of(receiver: httpx.AsyncClient) -> list[object]:
    return list((await receiver.get("/runs")).json()["runs"])


@pytest.mark.parametrize("headers", OUTSIDE.values(), ids=OUTSIDE.keys())
async def test_a_stranger_reaches_only_public_paths(
    cluster: Cluster, receiver: httpx.AsyncClient, headers: dict[str, str]
) -> None:
    before = await runs_of(receiver)
    tick, data = cloudevents.encode(
        message_of(ScheduleDue(schedule="webhook-relay", time=make.NOW))
    )

    ticked = await receiver.post("/", headers={**dict(tick), **headers}, content=data)
    runs = await receiver.get("/runs", headers=headers)
    assert (ticked.status_code, runs.status_code) == (404, 404)
    listed = await receiver.get("/deliveries", headers=headers)
    assert listed.status_code == 401
    path, signed, body = make.from_github()
    accepted = await receiver.post(path, headers={**signed, **headers}, content=body)
    assert accepted.status_code == 202

    due = ScheduleDue(schedule="webhook-relay", time=make.NOW)
    assert (await cluster.tell("webhook-receiver", due)).is_success
    assert len(await runs_of(receiver)) == len(before) + 1


class TestUpload:
    async def test_all_bodies_together_have_one_budget_which_is_given_back(self) -> None:
        memory, disk = upload.Budget(10), upload.Budget(upload.SPOOL_BYTES + 10)
        one, other = (upload.Upload(memory, disk, asyncio.Lock()) for _ in range(2))
        one.add(b"12345678")
        with pytest.raises(Exception, match="too much"):
            other.add(b"123")
        one.close()
        other.add(b"123")
        other.close()
        memory.take(10)

    async def test_what_is_large_is_in_a_file_and_comes_back_whole(self) -> None:
        memory, disk = upload.Budget(upload.SPOOL_BYTES), upload.Budget(10**7)
        body = bytes(range(256)) * 4096
        one = upload.Upload(memory, disk, asyncio.Lock())
        for at in range(0, len(body), 65536):
            one.add(body[at : at + 65536])
        memory.take(upload.SPOOL_BYTES)  # it holds nothing of it any more
        async with one.whole() as found:
            assert found == body
        one.close()
        disk.take(10**7)
