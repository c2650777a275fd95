"""A process dies after its commit, before the broker has answered: others send what it left."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import asyncpg
import httpx
import pytest

from functions.kit import cloudevents
from functions.kit.durable.outbox import LEASE_S
from functions.kit.durable.relay import SWEEP_S
from tests.function.contract.test_serve import served
from tests.support import eventually, talker
from tests.support.cluster import Sink, message_of
from tests.support.listening import listening
from tests.support.talker import Repeated, RepeatRequested

TALKER = {
    "FUNCTION_TARGET": "talker",
    "FUNCTION_SOURCE": str(Path(talker.__file__)),
}
ANOTHER = {"FUNCTION_TARGET": "scrum_report", "FUNCTION_SOURCE": ""}
TEXTS = [f"word {number}" for number in range(40)]
PROMISED_S = 70.0
START_S = 15.0  # of a process, where none is awake


class Silence:
    """A broker that takes connections and reads, and never answers."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        server = await asyncio.start_server(self._hear, "127.0.0.1", 0)
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        server.close()

    async def _hear(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            self.heard.append((await reader.readuntil(b"\r\n\r\n")).decode())
            await reader.read()  # until the process is gone
        writer.close()


@pytest.mark.slow
async def test_what_a_killed_process_left_unsent_others_send_once(functions_database: str) -> None:
    silence, sink = Silence(), Sink()
    database = {"DATABASE_URL": functions_database}
    async with (
        silence.listening() as silent_url,
        listening(sink) as broker,
        served("/health/live", **TALKER, **database, K_SINK=silent_url) as (victim, url),
        # Both are awake before it dies, and of one of them it is another function's.
        served("/health/live", **TALKER, **database, K_SINK=broker),
        served("/health/live", **ANOTHER, **database, K_SINK=broker),
        httpx.AsyncClient(timeout=30) as client,
    ):
        headers, body = cloudevents.encode(message_of(RepeatRequested(texts=TEXTS), id="asked"))
        answer = await client.post(url, headers=headers, content=body)
        assert answer.status_code == 202, answer.text

        async def is_sending() -> bool:
            return len(silence.heard) > len(TEXTS) // 2

        await eventually(is_sending)
        assert sink.messages == [], "while it lives, its events are its own"
        victim.kill()

        async def all_is_sent() -> bool:
            return await _unsent(functions_database) == 0

        await eventually(all_is_sent, every_s=0.2)
        emitted: list[Repeated] = sink.of(Repeated)
        assert sorted(one.word for one in emitted) == sorted(TEXTS), "each once"
        assert len({message.id for message in sink.messages}) == len(TEXTS)
        of_all = [one.word for one in emitted if one.about == "all"]
        assert of_all == TEXTS[::2], "in the order of the commit"


def test_what_a_dead_process_left_leaves_in_the_promised_time() -> None:
    """A machine under load may delay the test above; the promise follows from these."""
    assert LEASE_S + SWEEP_S + START_S <= PROMISED_S


async def _unsent(url: str) -> int:
    connection = await asyncpg.connect(url)
    try:
        return int(await connection.fetchval("SELECT count(*) FROM outbox_event"))
    finally:
        await connection.close()
