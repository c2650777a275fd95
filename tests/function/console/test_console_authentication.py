"""Who may act in the console, from where, and what is written down of it."""

from __future__ import annotations

import re

import pytest

from functions.console.authentication import sessions
from functions.console.main import console
from functions.console.settings import ConsoleSettings
from functions.kit.settings import BadSetting
from tests.support.cluster import Cluster
from tests.support.console_browser import REASON, UNHURRIED, browser, press

REDRIVE = "/dead-letters/1/redrive"


class TestWhoMayAct:
    @pytest.mark.parametrize(
        "origin",
        ["http://evil.example", "null", ""],
        ids=["another site", "an opaque origin", "no origin"],
    )
    async def test_a_foreign_form_does_nothing(self, dead_letters: Cluster, origin: str) -> None:
        async with browser(dead_letters) as client:
            client.headers["Origin"] = origin
            answer = await press(client, REDRIVE)
        assert answer.status_code == 403
        assert dead_letters.sink.messages == []

    async def test_a_form_of_another_session_does_nothing(self, dead_letters: Cluster) -> None:
        async with browser(dead_letters) as client, browser(dead_letters) as other:
            page = (await other.get(REDRIVE)).text
            found = re.search(r'name="form_token" value="([^"]+)"', page)
            assert found
            await client.get(REDRIVE)
            answer = await client.post(REDRIVE, data={"form_token": found[1]})
        assert answer.status_code == 403
        assert "out of date" in answer.text
        assert dead_letters.sink.messages == []

    @pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "console.dsm.localhost"])
    async def test_it_only_reads_unless_it_is_configured_who_may_act_whatever_host_is_claimed(
        self, dead_letters: Cluster, host: str
    ) -> None:
        dead_letters.deploy(console)
        async with browser(dead_letters) as client:
            client.headers.update({"Host": host, "Origin": f"http://{host}"})
            page = await client.get("/dead-letters/1")
            answer = await press(client, REDRIVE)
        assert page.status_code == 200
        assert answer.status_code == 403
        assert "set CONSOLE_TOKEN" in answer.text
        assert dead_letters.sink.messages == []

    @pytest.mark.parametrize("host", ["evil.example", "console.dsm.svc.cluster.local", "[::2]"])
    async def test_local_is_no_user_under_a_name_that_a_page_may_have_given_to_this_machine(
        self, dead_letters: Cluster, host: str
    ) -> None:
        async with browser(dead_letters) as client:
            client.headers.update({"Host": host, "Origin": f"http://{host}"})
            answer = await press(client, REDRIVE)
        assert answer.status_code == 403
        assert "open it as localhost" in answer.text
        assert dead_letters.sink.messages == []

    async def test_a_page_of_another_site_that_is_on_the_same_domain_does_nothing(
        self, dead_letters: Cluster
    ) -> None:
        async with browser(dead_letters) as client:
            client.headers["Sec-Fetch-Site"] = "same-site"
            assert (await press(client, REDRIVE)).status_code == 403
        assert dead_letters.sink.messages == []

    async def test_with_a_token_one_signs_in_and_is_named_in_the_audit(
        self, dead_letters: Cluster
    ) -> None:
        dead_letters.deploy(console, UNHURRIED | {"CONSOLE_TOKEN": "correct horse"})
        async with browser(dead_letters) as client:
            assert (await press(client, REDRIVE)).status_code == 403
            wrong = await press(client, "/sign-in", name="Ada", token="battery staple")
            assert wrong.status_code == 403
            signed = await press(client, "/sign-in", name="Ada", token="correct horse")
            assert signed.status_code == 303
            assert (await press(client, REDRIVE)).status_code == 303
            page = (await client.get("/dead-letters/1")).text
        assert ">Ada</td>" in page

    async def test_a_copied_cookie_ends_with_the_session(self, dead_letters: Cluster) -> None:
        dead_letters.deploy(console, UNHURRIED | {"CONSOLE_TOKEN": "t"})
        async with browser(dead_letters) as client, browser(dead_letters) as thief:
            await press(client, "/sign-in", name="Ada", token="t")
            thief.cookies.update(client.cookies)
            assert "Signed in as" in (await thief.get("/jobs")).text
            token = re.search(
                r'name="form_token" value="([^"]+)"', (await client.get("/jobs")).text
            )
            assert token
            await client.post("/sign-out", data={"form_token": token[1]})
            assert "Signed in as" not in (await thief.get("/jobs")).text
            assert (await press(thief, REDRIVE)).status_code == 403
        assert dead_letters.sink.messages == []

    async def test_a_token_cannot_be_guessed_at_speed(self, dead_letters: Cluster) -> None:
        dead_letters.deploy(console, UNHURRIED | {"CONSOLE_TOKEN": "t"})
        async with browser(dead_letters) as client:
            for number in range(sessions.MAX_ATTEMPTS):
                wrong = await press(client, "/sign-in", name="Eve", token=f"{number}")
                assert wrong.status_code == 403
            answer = await press(client, "/sign-in", name="Eve", token="t")
        assert answer.status_code == 429
        assert int(answer.headers["retry-after"]) <= sessions.ATTEMPTS_S
        assert "Too many failed attempts" in answer.text

    @pytest.mark.parametrize(
        ("stranger", "operator"),
        [
            ("8.8.8.8", "9.9.9.9"),
            ("9.9.9.9, 8.8.8.8, 10.0.0.7", "9.9.9.9, 10.0.0.7"),  # what it invents counts for none
            ("2606:4700::{number}", "2606:4700:0:1::1"),
            ("8.8.8.8", "10.0.0.7"),
        ],
    )
    async def test_a_stranger_who_guesses_keeps_no_operator_out(
        self, dead_letters: Cluster, stranger: str, operator: str
    ) -> None:
        dead_letters.deploy(console, UNHURRIED | {"CONSOLE_TOKEN": "t"})
        async with browser(dead_letters) as client, browser(dead_letters) as own:
            for number in range(2 * sessions.MAX_ATTEMPTS):
                client.headers["X-Forwarded-For"] = stranger.format(number=number)
                answer = await press(client, "/sign-in", name="Ada", token=f"{number}")
            assert answer.status_code == 429
            own.headers["X-Forwarded-For"] = operator
            assert (await press(own, "/sign-in", name="Ada", token="t")).status_code == 303

    async def test_a_cookie_of_another_token_signs_no_user_in(self, dead_letters: Cluster) -> None:
        dead_letters.deploy(console, UNHURRIED | {"CONSOLE_TOKEN": "old"})
        async with browser(dead_letters) as client:
            await press(client, "/sign-in", name="Ada", token="old")
            dead_letters.deploy(console, UNHURRIED | {"CONSOLE_TOKEN": "new"})
            answer = await press(client, REDRIVE)
        assert answer.status_code == 403

    @pytest.mark.parametrize("name", ["José", "李", "Ada Lovelace", "50% sure"])
    async def test_any_name_can_press_and_stands_in_the_audit(
        self, dead_letters: Cluster, name: str
    ) -> None:
        dead_letters.deploy(console, UNHURRIED | {"CONSOLE_TOKEN": "t"})
        async with browser(dead_letters) as client:
            assert (await press(client, "/sign-in", name=name, token="t")).status_code == 303
            assert (await press(client, REDRIVE)).status_code == 303
            page = (await client.get("/dead-letters/1")).text
        assert f">{name}</td>" in page

    async def test_the_proxy_names_users_who_know_the_console_by_another_host(
        self, dead_letters: Cluster
    ) -> None:
        public = "https://console.example.org"
        async with browser(dead_letters, "https://console.dsm.svc.cluster.local") as client:
            client.headers.update([(b"X-Auth-Request-Email", "josé@example.org".encode())])
            client.headers["Origin"] = public
            environ = {"CONSOLE_TOKEN": "key", "CONSOLE_URL": public}
            dead_letters.deploy(console, environ)
            assert (await press(client, REDRIVE)).status_code == 403  # no header is trusted
            dead_letters.deploy(console, environ | {"CONSOLE_USER_HEADER": "X-Auth-Request-Email"})
            client.headers["Origin"] = "http://console.example.org"
            assert (await press(client, REDRIVE)).status_code == 403  # not https
            client.headers["Origin"] = public
            assert (await press(client, REDRIVE)).status_code == 303
            page = (await client.get("/dead-letters/1")).text
        assert ">josé@example.org</td>" in page

    def test_a_proxys_header_needs_a_key_that_signs(self) -> None:
        with pytest.raises(BadSetting, match=r"CONSOLE_USER_HEADER.*needs CONSOLE_TOKEN"):
            ConsoleSettings.read({"CONSOLE_USER_HEADER": "X-Forwarded-User"})

    async def test_a_session_ends_by_itself(
        self, dead_letters: Cluster, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        dead_letters.deploy(console, UNHURRIED | {"CONSOLE_TOKEN": "t"})
        async with browser(dead_letters) as client:
            await press(client, "/sign-in", name="Ada", token="t")
            assert "Signed in as" in (await client.get("/dead-letters")).text
            monkeypatch.setattr(sessions, "SESSION_S", -1)
            assert "Signed in as" not in (await client.get("/dead-letters")).text

    async def test_a_foreign_link_keeps_the_session(self, dead_letters: Cluster) -> None:
        dead_letters.deploy(console, UNHURRIED | {"CONSOLE_TOKEN": "t"})
        async with browser(dead_letters) as client:
            signed = await press(client, "/sign-in", name="Ada", token="t")
            assert "samesite=lax" in signed.headers["set-cookie"].lower()
            # A form of another site comes without the cookie, and must not replace it.
            foreign = {"Sec-Fetch-Site": "cross-site", "Cookie": ""}
            answer = await client.post(REDRIVE, headers=foreign)
        assert answer.status_code == 403
        assert "set-cookie" not in answer.headers

    async def test_each_action_leaves_a_line_in_the_log(
        self, dead_letters: Cluster, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level("INFO")
        dead_letters.deploy(console, UNHURRIED | {"CONSOLE_TOKEN": "t"})
        async with browser(dead_letters) as client:
            await press(client, "/sign-in", name="Ada", token="wrong")
            await press(client, "/sign-in", name="Ada", token="t")
            await press(client, REDRIVE)
        lines = [vars(r)["fields"] for r in caplog.records if r.message == "action"]
        assert lines == [
            {"who": "Ada", "path": "/sign-in", "status": 403},
            {"who": "Ada", "path": "/sign-in", "status": 303},
            {"who": "Ada", "path": REDRIVE, "status": 303, "reason": REASON},
        ]

    async def test_signing_in_leads_nowhere_else(self, dead_letters: Cluster) -> None:
        dead_letters.deploy(console, UNHURRIED | {"CONSOLE_TOKEN": "t"})
        async with browser(dead_letters) as client:
            answer = await press(client, "/sign-in", name="Ada", token="t", next="//evil.example")
        assert answer.headers["location"] == "/"
