"""A sign-out counts in every process of the console; where it cannot be read, no user acts."""

from __future__ import annotations

import re

import httpx
import pytest

from functions.console.authentication import ended_sessions
from functions.console.main import console
from functions.kit.durable import retention
from tests.function.contract.test_serve import served
from tests.support.cluster import Cluster
from tests.support.console_browser import UNHURRIED, browser, press

REDRIVE = "/dead-letters/1/redrive"
TOKEN = {"CONSOLE_TOKEN": "t"}
NOWHERE = "postgresql://x@127.0.0.1:1/x"


async def signed_in(client: httpx.AsyncClient) -> bool:
    page = await client.get("/sign-in")
    assert page.status_code == 200, page.text
    return "Signed in as" in page.text


async def signed_out(client: httpx.AsyncClient) -> httpx.Response:
    found = re.search(r'name="form_token" value="([^"]+)"', (await client.get("/sign-in")).text)
    assert found
    return await client.post("/sign-out", data={"form_token": found[1]})


@pytest.mark.slow
async def test_a_copied_cookie_counts_in_no_other_process(functions_database: str) -> None:
    environ = {
        **{"FUNCTION_SOURCE": "", "FUNCTION_TARGET": "console", "DATABASE_URL": functions_database},
        **TOKEN,
    }
    async with (
        served("/health/live", **environ) as (_, first),
        served("/health/live", **environ) as (_, second),
        httpx.AsyncClient(base_url=first, headers={"Origin": first}, trust_env=False) as client,
        httpx.AsyncClient(base_url=second, headers={"Origin": second}, trust_env=False) as thief,
    ):
        assert (await press(client, "/sign-in", name="Ada", token="t")).status_code == 303
        thief.cookies.update({cookie.name: cookie.value or "" for cookie in client.cookies.jar})
        assert await signed_in(thief)
        assert (await signed_out(client)).status_code == 303
        assert not await signed_in(thief)
        assert (await press(thief, REDRIVE)).status_code == 403


async def test_who_has_signed_in_looks_and_does_not_act_while_the_database_is_away(
    dead_letters: Cluster, functions_database: str
) -> None:
    environ = UNHURRIED | TOKEN
    dead_letters.deploy(console, environ | {"DATABASE_URL": functions_database})
    async with browser(dead_letters) as client:
        assert (await press(client, "/sign-in", name="Ada", token="t")).status_code == 303
        dead_letters.deploy(console, environ | {"DATABASE_URL": NOWHERE})
        assert await signed_in(client)
        refused = await press(client, REDRIVE)
        assert refused.status_code == 403
        assert "while ended sessions cannot be read" in refused.text
        assert dead_letters.sink.messages == []
        for _ in range(2):  # it can be tried again
            assert (await signed_out(client)).status_code == 503, "the others do not know"
        dead_letters.deploy(console, environ | {"DATABASE_URL": functions_database})
        assert (await press(client, REDRIVE)).status_code == 303


async def test_an_ended_session_is_forgotten_after_a_day(
    cluster: Cluster, functions_database: str
) -> None:
    ctx = cluster.deploy(console, TOKEN | {"DATABASE_URL": functions_database})
    ended = ctx.part(ended_sessions.EndedSessions)
    await ended.add("old")
    await ended.add("new")
    async with ctx.store.connection() as connection:
        await connection.execute(
            "UPDATE ended_session SET ended_at = now() - interval '25 hours' WHERE id = 'old'"
        )
        await retention.forget(ctx.store, "console", rules=ended_sessions.retention(ctx))
        kept = await connection.fetch("SELECT id FROM ended_session")
    assert [row["id"] for row in kept] == ["new"]
