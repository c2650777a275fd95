"""The console over HTTP, with real functions behind it."""

from __future__ import annotations

import asyncio
import base64
import csv
import hashlib
import html
import json
import re
import shlex
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from functions.console.main import console
from functions.console.rendering import FOLDER, SCRIPTS
from functions.cycle_trigger.main import cycle_trigger
from functions.dead_letter.main import dead_letter
from functions.events.cycle import CycleRequested
from functions.kit import cloudevents
from knative.local.cli.parser import parser
from tests.function.conftest import lost
from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.console_browser import LOCAL, browser, press

NOW = datetime(2026, 3, 2, 15, tzinfo=UTC)
POLL = {"X-Panels": "navigation=another"}
REDRIVE = "/dead-letters/1/redrive"


def _asked(cluster: Cluster) -> set[str]:
    """The services that the console has asked."""
    return {request.url.host.split(".")[0] for request in cluster.requests} - {"console"}


class TestAnyPage:
    async def test_every_answer_forbids_inline_scripts_and_foreign_content(
        self, dead_letters: Cluster
    ) -> None:
        async with browser(dead_letters) as client:
            for path in ("/", "/dead-letters", "/nowhere", "/static/console.css"):
                policy = (await client.get(path)).headers["content-security-policy"]
                assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
                assert "unsafe" not in policy

    async def test_no_page_has_an_inline_script_or_style(self, dead_letters: Cluster) -> None:
        async with browser(dead_letters) as client:
            for path in ("/", "/dead-letters", "/dead-letters/1", REDRIVE, "/sign-in"):
                page = (await client.get(path)).text
                assert not re.search(r"<style|\sstyle=|\son[a-z]+=|<script(?! src=)", page), path

    async def test_what_others_say_is_escaped(self, dead_letters: Cluster) -> None:
        async with browser(dead_letters) as client:
            page = (await client.get("/dead-letters/1")).text
        assert "<b>NOBODY" not in page
        assert "&lt;b&gt;NOBODY" in page

    async def test_a_panel_that_shows_the_same_is_not_sent_again(
        self, dead_letters: Cluster
    ) -> None:
        async with browser(dead_letters) as client:

            async def opened() -> str:
                """A page that has its counts at once, for which it waits but a moment."""
                page = (await client.get("/dead-letters")).text
                return page if 'data-part="navigation"' in page else ""

            page = await eventually(opened)
            part = r'data-part="(\w+)" data-refresh="\d+" data-digest="([\w-]+)"'
            shown = dict(re.findall(part, page))
            assert shown.keys() == {"dead_letters", "navigation"}
            at = re.search(r'data-changed="([^"]+)"', page)
            assert at
            headers = {"X-Panels": " ".join(f"{name}={shown[name]}" for name in shown)}
            same = await client.get(at[1], headers=headers)
            assert (same.status_code, same.content) == (204, b"")
            await press(client, "/dead-letters/1/dismiss")
            changed = (await client.get(at[1], headers=headers)).text
            assert 'id="panel-dead_letters"' in changed
            assert 'id="pages"' in changed
            assert 'href="/dead-letters" aria-current="page"' in changed
            # Only what is asked for.
            headers = {"X-Panels": f"navigation={shown['navigation']}"}
            changed = (await client.get(at[1], headers=headers)).text
            assert 'id="panel-dead_letters"' not in changed
            assert 'id="pages"' in changed

    async def test_a_page_that_is_no_list_asks_nothing_of_other_services(
        self, dead_letters: Cluster
    ) -> None:
        headers = {"X-Panels": "dead_letter=another"}
        async with browser(dead_letters) as client:
            assert (await client.get("/navigation")).is_success
            dead_letters.requests.clear()
            changed = await client.get("/dead-letters/1/panels/changed", headers=headers)
        assert 'id="panel-dead_letter"' in changed.text
        assert 'id="pages"' not in changed.text
        assert _asked(dead_letters) == {"dead-letter"}

    async def test_a_list_that_changes_brings_its_own_count_and_asks_for_no_other(
        self, dead_letters: Cluster
    ) -> None:
        async with browser(dead_letters) as client:
            assert 'count">3<' in (await client.get("/navigation")).text
            assert (await dead_letters.tell("dead-letter", lost(7))).status_code == 202
            dead_letters.requests.clear()
            headers = {"X-Panels": "dead_letters=another"}
            changed = await client.get("/dead-letters/panels/changed", headers=headers)
            assert 'count">4<' in changed.text
            assert _asked(dead_letters) == {"dead-letter"}
            digest = re.findall(r'"dead_letters" [^>]*data-digest="(\w+)"', changed.text)[0]
            headers = {"X-Panels": f"dead_letters={digest}"}
            same = await client.get("/dead-letters/panels/changed", headers=headers)
            assert same.status_code == 204

    @pytest.mark.parametrize(
        ("at", "headers"),
        [
            ("/dead-letters/panels/dead_letters", {"If-None-Match": "0123456789abcdef"}),
            ("/navigation?here=/dead-letters&polls=1", {}),
        ],
    )
    async def test_a_page_of_the_release_before_is_loaded_anew(
        self, dead_letters: Cluster, at: str, headers: dict[str, str]
    ) -> None:
        async with browser(dead_letters) as client:
            answer = await client.get(at, headers=headers)
        assert (answer.status_code, answer.headers["hx-refresh"]) == (204, "true")

    async def test_an_age_that_grows_is_no_change(self, dead_letters: Cluster) -> None:
        later = NOW
        dead_letters.deploy(console, LOCAL, now=lambda: later)
        at = "/dead-letters/panels/dead_letters"
        async with browser(dead_letters) as client:
            before = (await client.get(at)).text
            later += timedelta(days=30)
            after = (await client.get(at)).text
        digests = [re.findall(r'data-digest="(\w+)"', panel) for panel in (before, after)]
        assert digests[0] == digests[1]
        assert before != after

    async def test_an_old_address_leads_to_the_new_one(self, dead_letters: Cluster) -> None:
        async with browser(dead_letters) as client:
            answer = await client.get("/events/chain?correlation=a%20b")
        assert (answer.status_code, answer.headers["location"]) == (
            308,
            "/events/trace?correlation=a%20b",
        )

    async def test_an_unknown_page_is_a_page_that_says_so(self, dead_letters: Cluster) -> None:
        async with browser(dead_letters) as client:
            answer = await client.get("/nowhere")
        assert answer.status_code == 404
        assert "There is no page at /nowhere" in answer.text

    async def test_a_service_that_is_away_takes_only_its_panel_with_it(
        self, dead_letters: Cluster
    ) -> None:
        dead_letters.down.add("dead-letter")
        async with browser(dead_letters) as client:
            await client.get("/dead-letters")
            answer = await client.get("/dead-letters/panels/dead_letters")
        assert answer.status_code == 200
        assert "Unavailable" in answer.text
        assert "connection refused: dead-letter" in answer.text

    async def test_a_peer_of_another_version_takes_only_its_panel_with_it(
        self, dead_letters: Cluster
    ) -> None:
        async def odd(request: Request) -> Response:
            return JSONResponse({"dead_letters": [{"number": 1}], "next": None, "total": 1})

        dead_letters.add("dead-letter", Starlette(routes=[Route("/dead-letters", odd)]))
        async with browser(dead_letters) as client:
            page = await client.get("/dead-letters")
            today = await client.get("/")
        assert page.status_code == today.status_code == 200
        assert "An answer could not be understood (KeyError)" in page.text
        assert "Needs attention" in today.text

    async def test_a_page_that_fails_is_a_page_that_says_so(self, dead_letters: Cluster) -> None:
        async def odd(request: Request) -> Response:
            return JSONResponse({"number": 1})

        dead_letters.add("dead-letter", Starlette(routes=[Route("/dead-letters/1", odd)]))
        async with browser(dead_letters) as client:
            answer = await client.get(REDRIVE)
        assert answer.status_code == 500
        assert "This page failed (KeyError)" in answer.text
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")

    @pytest.mark.parametrize(
        ("name", "published"),
        [
            # dist/htmx.min.js of htmx.org 2.0.11, dist/idiomorph-ext.min.js of idiomorph 0.7.4.
            (SCRIPTS[0], "2OatzQy1H+Zd/IIrjr1TcuDGqLXeHhbooAyJY1KdQMKnr4LZ22k31GBLdYKHmVjg"),
            (SCRIPTS[1], "SsScJKzATF/w6suEEdLbgYGsYFLzeKfOA6PY+/C5ZPxOSuA+ARquqtz/BZz9JWU8"),
        ],
    )
    def test_what_others_wrote_is_as_they_published_it(self, name: str, published: str) -> None:
        digest = hashlib.sha384((FOLDER / "static" / name).read_bytes()).digest()
        assert base64.b64encode(digest).decode() == published

    async def test_assets_may_be_kept_for_ever_as_their_address_names_their_content(
        self, dead_letters: Cluster
    ) -> None:
        async with browser(dead_letters) as client:
            page = (await client.get("/sign-in")).text
            found = re.findall(r'(?:href|src)="(/static/[^"]+)"', page)
            assert len(found) == 10
            for address in found:
                kept = (await client.get(address)).headers["cache-control"]
                assert kept == "public, max-age=31536000, immutable", address
            bare = await client.get("/static/console.css")
        assert "immutable" not in bare.headers.get("cache-control", "")

    async def test_pages_and_assets_are_compressed(self, dead_letters: Cluster) -> None:
        async with browser(dead_letters) as client:
            for path in ("/", "/sign-in", "/static/console.css?v=1"):
                answer = await client.get(path)
                assert answer.headers["content-encoding"] == "gzip", path


class TestToday:
    async def test_a_day_of_the_past_is_headed_by_its_date_and_needs_no_attention(
        self, dead_letters: Cluster
    ) -> None:
        dead_letters.deploy(console, LOCAL, now=lambda: NOW)
        async with browser(dead_letters) as client:
            past = (await client.get("/?day=2026-02-27")).text
            today = (await client.get("/?day=2026-03-02")).text
        assert "<h1>Fri 27 Feb 2026</h1>" in past
        assert "Needs attention" not in past
        assert "<h1>Today</h1>" in today
        assert "Needs attention" in today

    async def test_a_day_without_runs_says_so(
        self, cluster: Cluster, functions_database: str
    ) -> None:
        cluster.deploy(console, LOCAL, now=lambda: NOW)
        cluster.deploy(cycle_trigger, {"DATABASE_URL": functions_database})
        async with browser(cluster) as client:
            page = (await client.get("/panels/cycles")).text
        assert "No cycle on this day" in page

    async def test_a_day_that_is_none_is_refused_with_a_reason(self, dead_letters: Cluster) -> None:
        async with browser(dead_letters) as client:
            page = (await client.get("/panels/report?day=yesterday")).text
        assert "yesterday is no day such as 2026-03-02" in page


class TestDeadLetters:
    async def test_on_a_laptop_the_empty_page_has_a_command_that_makes_one(
        self, cluster: Cluster, functions_database: str
    ) -> None:
        cluster.deploy(dead_letter, {"DATABASE_URL": functions_database})
        cluster.deploy(console, LOCAL)
        async with browser(cluster) as client:
            page = html.unescape((await client.get("/dead-letters")).text)
            cluster.deploy(console)
            elsewhere = (await client.get("/dead-letters")).text
        (command,) = re.findall(r"<pre[^>]*>(.*?)</pre>", page)
        python, dash_m, module, *arguments = shlex.split(command)
        assert [python, dash_m, module] == [".venv/bin/python", "-m", "knative.local"]
        asked = parser().parse_args(arguments)
        assert CycleRequested.type == asked.type
        assert CycleRequested.model_validate_json(asked.event_data).project_id == "NOBODY"
        assert "knative.local" not in elsewhere

    async def test_a_table_is_there_as_csv(self, dead_letters: Cluster) -> None:
        async with browser(dead_letters) as client:
            page = (await client.get("/dead-letters?function=cycle-trigger")).text
            [link] = re.findall(r'href="([^"]+\.csv[^"]*)"', page)
            answer = await client.get(html.unescape(link))
        assert answer.headers["content-type"].startswith("text/csv")
        name = "dead-letters-dead_letters.csv"
        assert answer.headers["content-disposition"] == f'attachment; filename="{name}"'
        head, *rows = csv.reader(answer.text.splitlines())
        assert head == ["Event", "Status", "Why", "From", "Times", "Last"]
        assert [row[1] for row in rows] == ["open", "open", "open"]
        assert all(datetime.fromisoformat(row[5]).tzinfo for row in rows)

    async def test_a_dead_letter_names_its_cause(self, dead_letters: Cluster) -> None:
        async with browser(dead_letters) as client:
            page = (await client.get("/dead-letters")).text
        assert "cycle-trigger refused it for good: no such project" in page
        assert 'data-part="dead_letters" data-refresh="3"' in page

    async def test_redriving_one_asks_first_and_records_who(self, dead_letters: Cluster) -> None:
        async with browser(dead_letters) as client:
            answer = await press(client, REDRIVE)
            assert answer.status_code == 303
            page = (await client.get(answer.headers["location"])).text
        assert "Dead letter 1 is being sent again" in page
        assert re.search(r"<td[^>]*>local</td>", page)
        await dead_letters.relayed()
        assert [m.id for m in dead_letters.sink.messages] == ["lost-0"]

    async def test_redriving_a_filter_sends_each_open_one(self, dead_letters: Cluster) -> None:
        async with browser(dead_letters) as client:
            answer = await press(client, "/dead-letters/redrive?function=cycle-trigger")
            assert answer.status_code == 303
            page = (await client.get(answer.headers["location"])).text
        assert page.count('<a id="sent-') == 3  # the outcome of each

        async def all_sent() -> bool:
            return len(dead_letters.sink.messages) == 3

        assert await eventually(all_sent)

    async def test_a_broker_that_takes_its_time_keeps_no_user_waiting(
        self, dead_letters: Cluster
    ) -> None:
        free, whole = asyncio.Event(), dead_letters.apps["broker-ingress"]

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            await free.wait()
            await whole(scope, receive, send)

        dead_letters.add("broker-ingress", slow)
        async with browser(dead_letters) as client:
            answer = await press(client, REDRIVE)
            page = (await client.get(answer.headers["location"])).text
            assert "Dead letter 1 is being sent again" in page

            async def panel() -> str:
                return (await client.get("/dead-letters/1/panels/dead_letter")).text

            async def asked_again() -> bool:
                return ">redriving<" in (text := await panel()) and 'data-refresh="2"' in text

            assert await eventually(asked_again)
            free.set()

            async def settled() -> bool:
                return ">redriven<" in (text := await panel()) and "data-refresh" not in text

            assert await eventually(settled)

    async def test_a_dead_letter_is_dismissed_with_a_reason(self, dead_letters: Cluster) -> None:
        async with browser(dead_letters) as client:
            answer = await press(client, "/dead-letters/1/dismiss", reason="closed by hand")
            page = (await client.get(answer.headers["location"])).text
            left = (await client.get("/dead-letters?state=open")).text
        assert "Dead letter 1 was dismissed." in page
        assert "by <b>local</b>: closed by hand" in page
        assert "/dead-letters/1/redrive" not in page
        assert 'href="/dead-letters/1"' not in left

    @pytest.mark.parametrize("action", ["redrive", "edit", "dismiss", "delete"])
    async def test_without_a_reason_nothing_is_done(
        self, dead_letters: Cluster, action: str
    ) -> None:
        async with browser(dead_letters) as client:
            answer = await press(client, f"/dead-letters/1/{action}", reason=" ")
            page = (await client.get("/dead-letters/1")).text
        assert answer.status_code == 422
        assert "Give a reason" in answer.text
        assert ">open<" in page

    async def test_many_are_dismissed_with_one_reason(self, dead_letters: Cluster) -> None:
        async with browser(dead_letters) as client:
            answer = await press(client, "/dead-letters/dismiss", reason="a drill")
            page = (await client.get(answer.headers["location"])).text
            again = await press(client, "/dead-letters/dismiss", reason="a drill")
        assert "3 dead letters dismissed." in page
        assert "3 dismissed" in page
        assert again.headers["location"] == "/dead-letters?"

    async def test_a_dead_letter_is_edited_and_sent(self, dead_letters: Cluster) -> None:
        async with browser(dead_letters) as client:
            form = (await client.get("/dead-letters/1/edit")).text
            answer = await press(client, "/dead-letters/1/edit", data='{"project_id": "P"}')
            page = (await client.get(answer.headers["location"])).text
        assert "&lt;b&gt;NOBODY" in form
        assert "Dead letter 1 is being sent again" in page
        await dead_letters.relayed()
        [sent] = dead_letters.sink.messages
        assert json.loads(sent.data) == {"project_id": "P"}
        assert sent.extensions["causationid"] == "lost-0"

    async def test_data_that_is_no_json_comes_back_in_the_form(self, dead_letters: Cluster) -> None:
        async with browser(dead_letters) as client:
            answer = await press(client, "/dead-letters/1/edit", data="{broken")
        assert answer.status_code == 422
        assert "The data is no valid JSON" in answer.text
        assert ">{broken</textarea>" in answer.text
        assert dead_letters.sink.messages == []

    async def test_a_deleted_dead_letter_is_gone(self, dead_letters: Cluster) -> None:
        async with browser(dead_letters) as client:
            answer = await press(client, "/dead-letters/1/delete", reason="personal data")
            page = (await client.get(answer.headers["location"])).text
            gone = await client.get("/dead-letters/1")
        assert "Dead letter 1 was deleted." in page
        assert gone.status_code == 404

    async def test_what_failed_again_is_no_success(self, dead_letters: Cluster) -> None:
        async def fails_anew(scope: Any, receive: Any, send: Any) -> None:
            again = replace(lost(0), extensions={**lost(0).extensions, "knativearrivaltime": "t"})
            headers, body = cloudevents.encode(again)
            async with httpx.AsyncClient(transport=dead_letters) as inside:
                await inside.post("http://dead-letter/", headers=headers, content=body)
            await dead_letters.sink(scope, receive, send)

        dead_letters.add("broker-ingress", fails_anew)
        async with browser(dead_letters) as client:
            answer = await press(client, REDRIVE)
            await dead_letters.relayed()
            page = (await client.get(answer.headers["location"])).text
        assert re.search(r">returned<", page)
        assert 'data-label="Detail">failed again: ' in page
        assert "Dead letter 1 is being sent again" in page

    async def test_the_list_names_what_events_are_about_and_counts_what_it_dismisses(
        self, dead_letters: Cluster
    ) -> None:
        async with browser(dead_letters) as client:
            page = (await client.get("/dead-letters")).text
            today = (await client.get("/panels/attention")).text
            form = (await client.get("/dead-letters/dismiss")).text
        named = "cycle.requested · &lt;b&gt;NOBODY&lt;/b&gt;"
        assert page.count(f">{named}</a>") == today.count(f"{named}<") > 1
        assert f"Dismiss all {page.count(named)} open" in page
        assert "Reason (required) <input" in form

    async def test_a_dead_letter_that_is_gone_already_says_so(self, dead_letters: Cluster) -> None:
        async with browser(dead_letters) as client:
            await press(client, REDRIVE)
            again = await press(client, REDRIVE)
        assert again.status_code == 409
        assert "redriven already" in again.text

    async def test_the_navigation_counts_what_the_list_holds(self, dead_letters: Cluster) -> None:
        async with browser(dead_letters) as client:

            async def counted(headers: dict[str, str] | None = None) -> tuple[int, int]:
                """Dead letters by the navigation, and by their list."""
                page = (await client.get("/navigation", headers=headers)).text
                link = re.search(r'href="/dead-letters"[^>]*>Dead letters(.*?)</a>', page)
                assert link, page
                waits = re.search(r'class="count">(\d+)', link[1])
                listed = (await client.get("/dead-letters?state=open")).text
                rows = re.findall(r'<a [^>]*href="/dead-letters/\d+"', listed)
                return int(waits[1]) if waits else 0, len(rows)

            assert await counted() == await counted(POLL) == (3, 3)
            await press(client, "/dead-letters/1/dismiss", reason="closed by hand")
            assert await counted(POLL) == await counted() == (2, 2)
            await press(client, "/dead-letters/2/redrive")
            assert await counted(POLL) == await counted() == (1, 1)
            await dead_letters.tell("dead-letter", lost(7))
            assert await counted() == (2, 2), "a reload shows what came meanwhile"

    async def test_a_page_counts_without_script_too(self, dead_letters: Cluster) -> None:
        async with browser(dead_letters) as client:

            async def counts() -> bool:
                """Other load may keep the counts from the frame, which then asks for them."""
                page = (await client.get("/dead-letters?state=open")).text
                waits = re.findall(r'<li><a id="to-9" .*class="count">(\d+)', page)
                assert waits or 'hx-get="/navigation?here=' in page
                return waits == ["3"]

            assert await eventually(counts)

    async def test_a_frame_does_not_wait_long_for_its_counts(self, dead_letters: Cluster) -> None:
        free = asyncio.Event()

        async def hang(scope: Any, receive: Any, send: Any) -> None:
            await free.wait()

        dead_letters.add("job-launcher", hang)
        async with browser(dead_letters) as client, asyncio.timeout(5):
            page = (await client.get("/dead-letters?state=open")).text
        assert 'hx-get="/navigation?here=' in page
        assert 'id="open-3"' in page
        free.set()

    async def test_a_count_that_was_read_before_an_action_is_not_kept(
        self, dead_letters: Cluster
    ) -> None:
        free, whole = asyncio.Event(), dead_letters.apps["dead-letter"]
        held = 0

        async def slow(scope: Any, receive: Any, send: Any) -> None:
            nonlocal held
            is_first = scope["method"] == "GET" and not held
            answer: list[Any] = []

            async def keep(message: Any) -> None:
                answer.append(message)

            if is_first:
                held += 1
            await whole(scope, receive, keep if is_first else send)
            if is_first:  # it has read, and its answer is slow to come
                held += 1
                await free.wait()
                for message in answer:
                    await send(message)

        dead_letters.add("dead-letter", slow)
        async with browser(dead_letters) as client:
            before = asyncio.create_task(client.get("/navigation"))

            async def has_read() -> bool:
                return held == 2

            assert await eventually(has_read)
            await press(client, "/dead-letters/1/dismiss", reason="closed by hand")
            assert ">2<" in (await client.get("/navigation", headers=POLL)).text
            free.set()
            await before
            assert ">2<" in (await client.get("/navigation", headers=POLL)).text
