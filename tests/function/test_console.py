"""The console over HTTP, with real functions behind it."""

from __future__ import annotations

import base64
import hashlib
import re
from datetime import UTC, datetime

import pytest

from functions.console.main import console
from functions.console.pages import FOLDER, HTMX
from functions.cycle_trigger.main import cycle_trigger
from functions.dead_letter.main import dead_letter
from functions.kit import wire
from tests.cluster import Cluster
from tests.function.console_browser import browser, press

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)
REDRIVE = "/dead-letters/1/redrive"


def lost(number: int) -> wire.Message:
    """An event as the dead letter sink gets it."""
    return wire.Message(
        id=f"lost-{number}",
        source="/people/ada",
        type="io.dsm.cycle.requested.v1",
        data=b'{"project_id":"<b>NOBODY</b>"}',
        datacontenttype="application/json",
        extensions={
            "knativeerrordest": "http://cycle-trigger.dsm.svc.cluster.local/",
            "knativeerrorcode": "422",
            "knativeerrordata": "eyJkZXRhaWwiOiAibm8gc3VjaCBwcm9qZWN0In0=",
        },
    )


@pytest.fixture
async def letters(cluster: Cluster, functions_database: str) -> Cluster:
    """The console, and dead-letter with three letters."""
    cluster.deploy(console, now=lambda: NOW)
    cluster.deploy(dead_letter, {"DATABASE_URL": functions_database})
    for number in range(3):
        assert (await cluster.tell("dead-letter", lost(number))).status_code == 202
    return cluster


class TestAnyPage:
    async def test_every_answer_forbids_inline_scripts_and_foreign_content(
        self, letters: Cluster
    ) -> None:
        async with browser(letters) as client:
            for path in ("/", "/dead-letters", "/nowhere", "/static/console.css"):
                policy = (await client.get(path)).headers["content-security-policy"]
                assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
                assert "unsafe" not in policy

    async def test_no_page_has_an_inline_script_or_style(self, letters: Cluster) -> None:
        async with browser(letters) as client:
            for path in ("/", "/dead-letters", "/dead-letters/1", REDRIVE, "/sign-in"):
                page = (await client.get(path)).text
                assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?! src=)", page), path

    async def test_what_others_say_is_escaped(self, letters: Cluster) -> None:
        async with browser(letters) as client:
            page = (await client.get("/dead-letters/1")).text
        assert "<b>NOBODY" not in page
        assert "&lt;b&gt;NOBODY" in page

    async def test_an_unknown_page_is_a_page_that_says_so(self, letters: Cluster) -> None:
        async with browser(letters) as client:
            answer = await client.get("/nowhere")
        assert answer.status_code == 404
        assert "There is no page at /nowhere" in answer.text

    async def test_a_service_that_is_away_takes_only_its_panel_with_it(
        self, letters: Cluster
    ) -> None:
        letters.down.add("dead-letter")
        async with browser(letters) as client:
            await client.get("/dead-letters")
            answer = await client.get("/dead-letters/panels/letters")
        assert answer.status_code == 200
        assert "The service is away" in answer.text
        assert "connection refused: dead-letter" in answer.text

    def test_htmx_is_the_published_file(self) -> None:
        # dist/htmx.min.js in htmx.org 2.0.11 on the npm registry.
        digest = hashlib.sha384((FOLDER / "static" / HTMX).read_bytes()).digest()
        published = "2OatzQy1H+Zd/IIrjr1TcuDGqLXeHhbooAyJY1KdQMKnr4LZ22k31GBLdYKHmVjg"
        assert base64.b64encode(digest).decode() == published


class TestToday:
    async def test_a_day_without_runs_says_so(
        self, cluster: Cluster, functions_database: str
    ) -> None:
        cluster.deploy(console, now=lambda: NOW)
        cluster.deploy(cycle_trigger, {"DATABASE_URL": functions_database})
        async with browser(cluster) as client:
            page = (await client.get("/panels/cycles")).text
        assert "No cycle on this day" in page

    async def test_a_day_that_is_none_is_refused_in_words(self, letters: Cluster) -> None:
        async with browser(letters) as client:
            page = (await client.get("/panels/report?day=yesterday")).text
        assert "yesterday is no day such as 2026-03-02" in page


class TestDeadLetters:
    async def test_a_letter_tells_its_cause_in_words(self, letters: Cluster) -> None:
        async with browser(letters) as client:
            page = (await client.get("/dead-letters")).text
        assert "cycle-trigger refused it for good: no such project" in page

    async def test_redriving_one_asks_first_and_writes_down_who(self, letters: Cluster) -> None:
        async with browser(letters) as client:
            answer = await press(client, REDRIVE)
            assert answer.status_code == 303
            page = (await client.get(answer.headers["location"])).text
        assert "Letter 1 was sent again" in page
        assert re.search(r"<td>local</td>", page)
        assert [m.id for m in letters.sink.messages] == ["lost-0"]

    async def test_redriving_a_filter_sends_each_open_letter(self, letters: Cluster) -> None:
        async with browser(letters) as client:
            answer = await press(client, "/dead-letters/redrive?function=cycle-trigger")
            page = (await client.get(answer.headers["location"])).text
        assert "3 sent" in page
        assert len(letters.sink.messages) == 3

    async def test_a_letter_that_is_gone_already_says_so(self, letters: Cluster) -> None:
        async with browser(letters) as client:
            await press(client, REDRIVE)
            again = await press(client, REDRIVE)
        assert again.status_code == 409
        assert "redriven already" in again.text


class TestWhoMayAct:
    @pytest.mark.parametrize(
        "origin",
        ["http://evil.example", "null", ""],
        ids=["another site", "an opaque origin", "no origin"],
    )
    async def test_a_form_from_elsewhere_does_nothing(self, letters: Cluster, origin: str) -> None:
        async with browser(letters) as client:
            client.headers["Origin"] = origin
            answer = await press(client, REDRIVE)
        assert answer.status_code == 403
        assert letters.sink.messages == []

    async def test_a_form_of_another_session_does_nothing(self, letters: Cluster) -> None:
        async with browser(letters) as client, browser(letters) as other:
            page = (await other.get(REDRIVE)).text
            found = re.search(r'name="form_token" value="([^"]+)"', page)
            assert found
            await client.get(REDRIVE)
            answer = await client.post(REDRIVE, data={"form_token": found[1]})
        assert answer.status_code == 403
        assert "out of date" in answer.text
        assert letters.sink.messages == []

    async def test_off_the_loopback_it_only_reads_unless_it_is_told_who_may_act(
        self, letters: Cluster
    ) -> None:
        async with browser(letters, "http://console.example.org") as client:
            page = await client.get("/dead-letters/1")
            answer = await press(client, REDRIVE)
        assert page.status_code == 200
        assert answer.status_code == 403
        assert "set CONSOLE_TOKEN" in answer.text

    async def test_with_a_token_one_signs_in_and_is_named_in_the_audit(
        self, letters: Cluster
    ) -> None:
        letters.deploy(console, {"CONSOLE_TOKEN": "correct horse"})
        async with browser(letters) as client:
            assert (await press(client, REDRIVE)).status_code == 403
            wrong = await press(client, "/sign-in", name="Ada", token="battery staple")
            assert wrong.status_code == 403
            signed = await press(client, "/sign-in", name="Ada", token="correct horse")
            assert signed.status_code == 303
            assert (await press(client, REDRIVE)).status_code == 303
            page = (await client.get("/dead-letters/1")).text
        assert "<td>Ada</td>" in page

    async def test_a_cookie_of_another_token_signs_nobody_in(self, letters: Cluster) -> None:
        letters.deploy(console, {"CONSOLE_TOKEN": "old"})
        async with browser(letters) as client:
            await press(client, "/sign-in", name="Ada", token="old")
            letters.deploy(console, {"CONSOLE_TOKEN": "new"})
            answer = await press(client, REDRIVE)
        assert answer.status_code == 403

    async def test_the_header_of_the_proxy_counts_only_where_it_is_named(
        self, letters: Cluster
    ) -> None:
        named = {"X-Auth-Request-Email": "ada@example.org"}
        async with browser(letters, "http://console.example.org") as client:
            client.headers.update(named)
            assert (await press(client, REDRIVE)).status_code == 403
            letters.deploy(console, {"CONSOLE_USER_HEADER": "X-Auth-Request-Email"})
            assert (await press(client, REDRIVE)).status_code == 303
            page = (await client.get("/dead-letters/1")).text
        assert "<td>ada@example.org</td>" in page

    async def test_signing_in_leads_nowhere_else(self, letters: Cluster) -> None:
        letters.deploy(console, {"CONSOLE_TOKEN": "t"})
        async with browser(letters) as client:
            answer = await press(client, "/sign-in", name="Ada", token="t", next="//evil.example")
        assert answer.headers["location"] == "/"
