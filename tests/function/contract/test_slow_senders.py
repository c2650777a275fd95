"""What comes in small pieces, in halves, or with another method: ten inputs at their four fronts.

Each front is a real process. No sender holds a connection for longer than its deadline, none that
leaves has changed anything, and everybody else is answered meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib

import asyncpg
import httpx
import pytest

from functions.kit.contract import upload
from functions.kit.process.bounded_head import MAX_HEAD_BYTES
from tests.support.front_inputs import COUNTED, FRONTS, INPUTS, Input

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

# Of every process here; a webhook's body has upload.DEADLINE_S.
SETTINGS = {"HEAD_TIMEOUT_S": "2", "BODY_TIMEOUT_S": "1", "TIMEOUT_SECONDS": "30"}
SLACK_S = 20.0  # of a machine that does much else


async def sent(url: str, *parts: bytes, trickle: bool = False, eof: bool = False) -> bytes:
    """The first line of the answer to what is sent: parts, then a byte now and then, or no more."""
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
    answer = asyncio.create_task(reader.readline())
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if eof:
            writer.write_eof()
        async with asyncio.timeout(upload.DEADLINE_S + SLACK_S):
            while not answer.done():
                if trickle:
                    writer.write(b"x")
                await asyncio.wait([answer], timeout=0.5)
        return answer.result()
    except ConnectionError:
        return b""
    finally:
        answer.cancel()
        writer.close()


async def is_up(url: str) -> None:
    async with httpx.AsyncClient(trust_env=False, timeout=5) as client:
        assert (await client.get(f"{url}/health")).status_code == 200


@pytest.mark.parametrize("front", FRONTS)
async def test_a_head_that_does_not_end_is_given_up(fronts: dict[str, str], front: str) -> None:
    url = fronts[front]
    starts = (b"", b"P", b"POST / HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nhost: x\r\nx-a: ")
    waiting = [asyncio.create_task(sent(url, start)) for start in starts * 20]
    waiting += [asyncio.create_task(sent(url, starts[-1], trickle=True)) for _ in range(20)]
    await is_up(url)
    answers = await asyncio.gather(*waiting)
    assert {line.split()[1] for line in answers} == {b"408"}
    await is_up(url)


@pytest.mark.parametrize("front", FRONTS)
async def test_a_blank_line_after_a_request_keeps_no_connection(
    fronts: dict[str, str], front: str
) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(fronts[front]).port)
    body = b"x" * (2 * MAX_HEAD_BYTES)  # counts for no head
    for method, more in ((b"GET", b""), (b"POST", body)):
        length = b"content-length: %d" % len(more)
        writer.write(b"%b /health/live HTTP/1.1\r\nhost: x\r\n%b\r\n\r\n" % (method, length) + more)
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.split()[1] == b"200"
        await reader.readexactly(len(b'{"status":"ok"}'))
    writer.write(b"\r\n")
    async with asyncio.timeout(SLACK_S):
        assert (await reader.readline()).split()[1] == b"408"
        await reader.read()
    writer.close()


@pytest.mark.parametrize("front", FRONTS)
async def test_a_head_without_bounds_is_refused(fronts: dict[str, str], front: str) -> None:
    endless = b"GET / HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " + b"x" * (4 * MAX_HEAD_BYTES)
    assert (await sent(fronts[front], endless)).split()[1:2] in ([b"431"], [])
    many = b"GET / HTTP/1.1\r\nhost: x\r\n" + b"a: b\r\n" * MAX_HEAD_BYTES
    assert (await sent(fronts[front], many)).split()[1:2] in ([b"431"], [])
    await is_up(fronts[front])


async def test_a_body_that_does_not_end_is_given_up(fronts: dict[str, str]) -> None:
    async def half(one: Input) -> bytes:
        async with httpx.AsyncClient(base_url=fronts[one.front], trust_env=False) as client:
            made = await one.new(client)
        head = made.head.replace(b"content-length: ", b"content-length: 9")
        return await sent(fronts[one.front], head, made.body[: len(made.body) // 2], trickle=True)

    waiting = {name: asyncio.create_task(half(one)) for name, one in INPUTS.items()}
    for url in fronts.values():
        await is_up(url)
    # Nothing where what is unread at the end has taken the answer with it.
    answers = {name: (await task).split()[1:2] or [b"408"] for name, task in waiting.items()}
    assert set(map(tuple, answers.values())) == {(b"408",)}, answers


@pytest.mark.parametrize("path", ["/", "/webhook/github"])
async def test_who_is_refused_within_the_body_gets_the_answer_and_goes(
    fronts: dict[str, str], path: str
) -> None:
    url = fronts["webhook_receiver"]
    for length in (b"content-length: 99999999999", b"transfer-encoding: chunked"):
        reader, writer = await asyncio.open_connection("127.0.0.1", httpx.URL(url).port)
        writer.write(b"POST %b HTTP/1.1\r\nhost: x\r\n%b\r\n\r\n" % (path.encode(), length))
        writer.write(b"ffffff\r\n" + b"x" * 4_000_000)  # it reads nothing until that is sent
        await writer.drain()
        async with asyncio.timeout(SLACK_S):
            assert (await reader.readline()).split()[1] in (b"401", b"408", b"413")
            while not reader.at_eof():  # though it sends on and on
                with contextlib.suppress(ConnectionError):
                    writer.write(b"x")
                    await reader.read(1)
        writer.close()
    await is_up(url)


async def rows(database: str, front: str) -> dict[str, int]:
    db = await asyncpg.connect(database)
    try:
        return {t: await db.fetchval(f"SELECT count(*) FROM {t}") for t in COUNTED[front]}
    finally:
        await db.close()


@pytest.mark.parametrize("name", INPUTS)
async def test_half_a_request_and_other_methods_change_nothing(
    fronts: dict[str, str], stores: dict[str, str], name: str
) -> None:
    kind = INPUTS[name]
    url, database = fronts[kind.front], stores[kind.front]
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        one = await kind.new(client)
        before = await rows(database, kind.front)
        for part in (0, len(one.body) // 2, len(one.body) - 1):
            assert b" 2" not in await sent(url, one.head, one.body[:part], eof=True)
            assert await rows(database, kind.front) == before, f"{part} bytes of {len(one.body)}"
        for method in ("HEAD", "OPTIONS", "PUT", "PATCH", "DELETE", "TRACE"):
            answer = await client.request(method, one.path, headers=one.headers)
            assert answer.status_code == (200 if method == "HEAD" and kind.get else 405), method
            assert len(answer.content) <= 512
            if method == "HEAD":
                assert answer.content == b""
        assert await rows(database, kind.front) == before
        whole = await client.post(one.path, headers=one.headers, content=one.body)
    assert whole.is_success, whole.text
    assert '"repeated":true' not in whole.text
    assert await rows(database, kind.front) != before, "a whole one is seen in what is counted"
