"""The receiver as a process: what it says of itself, and what keeps it from starting."""

from __future__ import annotations

import asyncio

import httpx

from functions.webhook_receiver.settings import SOURCES
from tests.function.contract.test_serve import served, start
from tests.support import webhook_requests as make

TARGET = {"FUNCTION_SOURCE": "", "FUNCTION_TARGET": "webhook_receiver"}


async def test_health_says_which_sources_are_configured(webhook_database: str) -> None:
    environ = {"DATABASE_URL": webhook_database, "GITHUB_WEBHOOK_SECRETS": make.GITHUB}
    async with served(**environ, **TARGET) as (_, url), httpx.AsyncClient(timeout=60) as client:
        answer = (await client.get(f"{url}/health")).json()
    assert answer == {
        "status": "ok",
        "sources": dict.fromkeys(SOURCES, "refused") | {"github": "configured"},
        "actors": "unknown: there are no credentials for GitHub",
    }


async def test_a_bad_secret_keeps_it_from_starting_and_is_named() -> None:
    process = await start(CLI_WEBHOOK_SECRETS="whsec_!", **TARGET)
    _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 3
    assert "setting CLI_WEBHOOK_SECRETS: a secret must be whsec_ and base64" in errors.decode()


async def test_allowing_the_unsigned_is_loud(webhook_database: str) -> None:
    environ = {"DATABASE_URL": webhook_database, "ALLOW_UNSIGNED": "true"}
    async with served(**environ, **TARGET) as (process, _):
        process.terminate()
        output, _ = await process.communicate()
    assert b'"level": "warning"' in output
    assert b"ANYBODY can start agents" in output
