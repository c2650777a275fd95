"""Signing in to the console with an OIDC issuer, and what an attacker gets from it: nothing."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from functions.console.authentication import authentication, sessions
from functions.console.main import console
from functions.console.settings import ConsoleSettings, check_settings
from functions.kit.contract.users import UserSettings
from functions.kit.settings import BadSetting
from tests.support.cluster import Cluster
from tests.support.console_browser import UNHURRIED, browser, press
from tests.support.login_issuer import CLIENT, ENVIRON, URL, LoginIssuer

PUBLIC = "https://console.example.org"
SETTINGS = {"CONSOLE_TOKEN": "a key", "CONSOLE_URL": PUBLIC, **UNHURRIED, **ENVIRON}
REDRIVE = "/dead-letters/1/redrive"


@pytest.fixture
def issuer(dead_letters: Cluster) -> LoginIssuer:
    found = LoginIssuer()
    dead_letters.add("login", found.app)
    dead_letters.deploy(console, SETTINGS)
    return found


@pytest.fixture
async def client(dead_letters: Cluster, issuer: LoginIssuer) -> AsyncIterator[httpx.AsyncClient]:
    async with browser(dead_letters, PUBLIC) as client:
        yield client


async def began(client: httpx.AsyncClient, issuer: LoginIssuer, next: str = "/") -> dict[str, str]:
    """What the issuer sends back for a sign-in that this browser began."""
    started = await client.get("/sign-in/start", params={"next": next})
    assert started.status_code == 303, started.text
    return issuer.authorize(started.headers["location"])


async def ended(client: httpx.AsyncClient, **answer: str) -> httpx.Response:
    return await client.get("/sign-in/callback", params=answer)


async def sign_in(client: httpx.AsyncClient, issuer: LoginIssuer, **claims: Any) -> httpx.Response:
    issuer.claims_now |= claims
    return await ended(client, **await began(client, issuer))


async def is_signed_in(client: httpx.AsyncClient) -> bool:
    return "Signed in as" in (await client.get("/jobs")).text


class TestSigningIn:
    async def test_one_comes_back_to_the_page_that_one_wanted(
        self, client: httpx.AsyncClient, issuer: LoginIssuer
    ) -> None:
        wanted = await client.get("/jobs?state=queued")
        assert wanted.status_code == 303
        page = await client.get(wanted.headers["location"])
        link = re.search(r'href="(/sign-in/start[^"]*)"', page.text)
        assert link
        started = await client.get(html.unescape(link[1]))
        address = started.headers["location"]
        assert address.startswith(f"{URL}/authorize?")
        assert "code_challenge_method=S256" in address
        done = await ended(client, **issuer.authorize(address))
        assert done.status_code == 303
        assert done.headers["location"] == "/jobs?state=queued"
        assert await is_signed_in(client)

    async def test_the_cookies_are_for_this_browser_and_this_site_alone(
        self, client: httpx.AsyncClient, issuer: LoginIssuer
    ) -> None:
        started = await client.get("/sign-in/start")
        done = await ended(client, **issuer.authorize(started.headers["location"]))
        for answer, name in ((started, authentication.ATTEMPT), (done, authentication.COOKIE)):
            given = answer.headers.get_list("set-cookie")
            (cookie,) = [c for c in given if c.startswith(f"{name}=") and "Max-Age=0" not in c]
            for word in ("; Secure", "; HttpOnly", "; SameSite=lax"):
                assert word in cookie, name

    async def test_a_secret_goes_to_the_issuer_in_the_header_and_a_public_client_has_none(
        self, dead_letters: Cluster, client: httpx.AsyncClient, issuer: LoginIssuer
    ) -> None:
        await sign_in(client, issuer)
        dead_letters.deploy(console, SETTINGS | {"CONSOLE_CLIENT_SECRET": "a+b"})
        await sign_in(client, issuer)
        public, confidential = issuer.asked
        assert public["authorization"] == ""
        pair = httpx.BasicAuth(CLIENT, "a%2Bb")._auth_header
        assert confidential["authorization"] == pair
        assert "client_secret" not in confidential

    async def test_what_an_operator_does_is_recorded_under_the_name_of_the_token(
        self, client: httpx.AsyncClient, issuer: LoginIssuer
    ) -> None:
        assert (await sign_in(client, issuer)).status_code == 303
        assert (await press(client, REDRIVE, reason="fixed")).status_code == 303
        assert ">ada@example.org</td>" in (await client.get("/dead-letters/1")).text

    async def test_while_the_issuer_is_away_it_says_so(
        self, client: httpx.AsyncClient, issuer: LoginIssuer
    ) -> None:
        issuer.away = True
        answer = await client.get("/sign-in/start")
        assert answer.status_code == 503
        assert "cannot be asked" in answer.text

    async def test_the_token_of_the_settings_signs_no_user_in_beside_an_issuer(
        self, client: httpx.AsyncClient
    ) -> None:
        answer = await press(client, "/sign-in", name="Ada", token="a key")
        assert answer.status_code == 403


class TestAttacks:
    async def test_an_answer_with_another_state_is_refused(
        self, client: httpx.AsyncClient, issuer: LoginIssuer
    ) -> None:
        answer = await began(client, issuer)
        refused = await ended(client, code=answer["code"], state="of an attacker")
        assert refused.status_code == 403
        assert issuer.asked == []
        assert not await is_signed_in(client)

    async def test_an_answer_in_a_browser_that_did_not_begin_is_refused(
        self, dead_letters: Cluster, client: httpx.AsyncClient, issuer: LoginIssuer
    ) -> None:
        answer = await began(client, issuer)
        async with browser(dead_letters, PUBLIC) as victim:
            assert (await ended(victim, **answer)).status_code == 403
            await began(victim, issuer)
            assert (await ended(victim, **answer)).status_code == 403
            assert not await is_signed_in(victim)

    async def test_a_code_of_another_attempt_is_refused_by_its_verifier(
        self, dead_letters: Cluster, client: httpx.AsyncClient, issuer: LoginIssuer
    ) -> None:
        stolen = await began(client, issuer)
        async with browser(dead_letters, PUBLIC) as attacker:
            own = await began(attacker, issuer)
            refused = await ended(attacker, code=stolen["code"], state=own["state"])
            assert refused.status_code == 403
            assert "invalid_grant" in refused.text
            assert not await is_signed_in(attacker)

    async def test_an_answer_counts_once_even_with_the_cookie_of_its_attempt(
        self, dead_letters: Cluster, client: httpx.AsyncClient, issuer: LoginIssuer
    ) -> None:
        answer = await began(client, issuer)
        copy = dict(client.cookies)
        assert (await ended(client, **answer)).status_code == 303
        issuer.codes[answer["code"]] = {}
        async with browser(dead_letters, PUBLIC) as thief:
            thief.cookies.update(copy)
            refused = await ended(thief, **answer)
            assert refused.status_code == 403
            assert "used already" in refused.text
        assert len(issuer.asked) == 1

    @pytest.mark.parametrize(
        "claims",
        [
            {"nonce": "another"},
            {"nonce": None},
            {"aud": "another-client"},
            {"aud": [CLIENT, "another-client"], "azp": "another-client"},
            {"iss": "https://evil.example"},
            {"exp": 1},
            {"email": None},
            {"email_verified": False},
            {"email": "system:serviceaccount:dsm:operator"},
        ],
        ids=lambda claims: ",".join(f"{k}={v}" for k, v in claims.items()),
    )
    async def test_a_token_that_is_not_for_this_sign_in_is_refused(
        self, client: httpx.AsyncClient, issuer: LoginIssuer, claims: dict[str, Any]
    ) -> None:
        refused = await sign_in(client, issuer, **claims)
        assert refused.status_code == 403
        assert len(issuer.asked) == 1
        assert not await is_signed_in(client)

    async def test_a_token_that_another_key_signed_is_refused(
        self, client: httpx.AsyncClient, issuer: LoginIssuer
    ) -> None:
        answer = await began(client, issuer)
        forger = LoginIssuer()
        issuer.key = forger.key
        assert (await ended(client, **answer)).status_code == 403
        assert not await is_signed_in(client)

    async def test_an_answer_that_names_another_issuer_is_refused(
        self, client: httpx.AsyncClient, issuer: LoginIssuer
    ) -> None:
        answer = await began(client, issuer)
        refused = await ended(client, **answer, iss="https://evil.example")
        assert refused.status_code == 403
        assert issuer.asked == []

    async def test_an_issuer_that_describes_itself_as_another_is_not_used(
        self, client: httpx.AsyncClient, issuer: LoginIssuer
    ) -> None:
        issuer.url = "https://evil.example"
        assert (await client.get("/sign-in/start")).status_code == 503

    @pytest.mark.parametrize(
        "to", ["//evil.example", "https://evil.example/", "/\\evil.example", "/a\r\nb"]
    )
    async def test_signing_in_leads_to_no_other_site(
        self, client: httpx.AsyncClient, issuer: LoginIssuer, to: str
    ) -> None:
        done = await ended(client, **await began(client, issuer, next=to))
        assert done.headers["location"] == "/"

    async def test_the_way_back_is_of_the_settings_whatever_host_is_claimed(
        self, client: httpx.AsyncClient
    ) -> None:
        started = await client.get("/sign-in/start", headers={"Host": "evil.example"})
        assert "redirect_uri=https%3A%2F%2Fconsole.example.org%2F" in started.headers["location"]

    async def test_an_attempt_and_a_session_end_by_themselves(
        self, client: httpx.AsyncClient, issuer: LoginIssuer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        answer = await began(client, issuer)
        with monkeypatch.context() as later:
            later.setattr(authentication, "ATTEMPT_S", -1)
            assert (await ended(client, **answer)).status_code == 403
        await sign_in(client, issuer)
        assert await is_signed_in(client)
        monkeypatch.setattr(sessions, "SESSION_S", -1)
        assert not await is_signed_in(client)
        assert (await press(client, "/sign-in", REDRIVE)).status_code == 403

    async def test_a_session_from_before_the_issuer_is_none(
        self, dead_letters: Cluster, client: httpx.AsyncClient
    ) -> None:
        without = {k: v for k, v in SETTINGS.items() if not k.startswith("USER_")}
        dead_letters.deploy(console, without)
        await press(client, "/sign-in", name="ada@example.org", token="a key")
        assert await is_signed_in(client)
        dead_letters.deploy(console, SETTINGS)
        assert not await is_signed_in(client)


class TestRoles:
    async def test_a_viewer_looks_and_does_not_act(
        self, dead_letters: Cluster, client: httpx.AsyncClient, issuer: LoginIssuer
    ) -> None:
        await sign_in(client, issuer, email="bob@example.org")
        page = await client.get(REDRIVE)
        assert page.status_code == 200
        assert "Your role is viewer" in page.text
        refused = await press(client, REDRIVE, reason="try")
        assert refused.status_code == 403
        assert dead_letters.sink.messages == []

    async def test_a_group_of_the_token_makes_an_operator(
        self, client: httpx.AsyncClient, issuer: LoginIssuer
    ) -> None:
        await sign_in(client, issuer, email="eve@example.com", groups=["staff", "admins"])
        assert (await press(client, REDRIVE, reason="fixed")).status_code == 303

    async def test_who_is_in_no_list_gets_nothing(
        self, client: httpx.AsyncClient, issuer: LoginIssuer
    ) -> None:
        refused = await sign_in(client, issuer, email="mallory@example.com", groups="staff")
        assert refused.status_code == 403
        assert "neither a viewer nor an operator" in refused.text
        assert (await client.get("/jobs")).status_code == 303

    @pytest.mark.parametrize(
        "path", ["/", "/jobs", "/navigation", "/search?q=x", "/jobs/panels/jobs.csv", "/actions"]
    )
    async def test_nothing_is_shown_before(self, client: httpx.AsyncClient, path: str) -> None:
        answer = await client.get(path)
        assert answer.status_code == 303
        assert answer.headers["location"].startswith("/sign-in?next=%2F")
        part = await client.get(path, headers={"HX-Request": "true"})
        assert part.status_code == 401
        assert part.headers["hx-refresh"] == "true"

    async def test_a_role_that_is_withdrawn_ends_at_once(
        self, dead_letters: Cluster, client: httpx.AsyncClient, issuer: LoginIssuer
    ) -> None:
        await sign_in(client, issuer)
        dead_letters.deploy(console, SETTINGS | {"USER_OPERATORS": "zoe@example.org"})
        assert (await press(client, REDRIVE, reason="x")).status_code == 403

    async def test_signing_out_ends_the_session_and_every_copy(
        self, dead_letters: Cluster, client: httpx.AsyncClient, issuer: LoginIssuer
    ) -> None:
        await sign_in(client, issuer)
        async with browser(dead_letters, PUBLIC) as thief:
            thief.cookies.update(client.cookies)
            out = await press(client, "/jobs", "/sign-out")
            assert out.status_code == 200
            assert "Signed in as" not in out.text
            assert not await is_signed_in(client)
            assert not await is_signed_in(thief)

    async def test_signing_out_leads_to_the_issuer_and_back(
        self, client: httpx.AsyncClient, issuer: LoginIssuer
    ) -> None:
        await sign_in(client, issuer)
        out = await press(client, "/jobs", "/sign-out")
        back = "https%3A%2F%2Fconsole.example.org%2Fsign-in"
        to = f"{URL}/logout?client_id={CLIENT}&post_logout_redirect_uri={back}"
        assert out.headers["refresh"] == f"0; url={to}"
        assert f'href="{html.escape(to)}"' in out.text
        assert "You are signed out." in (await client.get("/sign-in")).text

    async def test_an_issuer_without_sign_out_leaves_it_at_the_console(
        self, client: httpx.AsyncClient, issuer: LoginIssuer
    ) -> None:
        issuer.ends_sessions = False
        await sign_in(client, issuer)
        out = await press(client, "/jobs", "/sign-out")
        assert (out.status_code, out.headers["location"]) == (303, "/sign-in")
        assert not await is_signed_in(client)

    async def test_one_signs_out_while_the_issuer_is_away(
        self, dead_letters: Cluster, client: httpx.AsyncClient, issuer: LoginIssuer
    ) -> None:
        await sign_in(client, issuer)
        dead_letters.deploy(console, SETTINGS)  # a process that has not asked it yet
        issuer.away = True
        out = await press(client, "/jobs", "/sign-out")
        assert (out.status_code, out.headers["location"]) == (303, "/sign-in")
        assert "could not be asked and may know you still" in (await client.get("/sign-in")).text
        assert not await is_signed_in(client)

    async def test_the_lists_hold_for_whom_a_proxy_names_too(
        self, dead_letters: Cluster, client: httpx.AsyncClient
    ) -> None:
        roles = {"USER_OPERATORS": "group:admins", "USER_VIEWERS": "*@example.org"}
        headers = {
            "CONSOLE_USER_HEADER": "X-Forwarded-Email",
            "CONSOLE_GROUPS_HEADER": "X-Forwarded-Groups",
        }
        without = {k: v for k, v in SETTINGS.items() if not k.startswith("USER_")}
        dead_letters.deploy(console, without | roles | headers)
        client.headers["X-Forwarded-Email"] = "bob@example.org"
        assert (await press(client, REDRIVE, reason="x")).status_code == 403
        client.headers["X-Forwarded-Groups"] = "staff, admins"
        assert (await press(client, REDRIVE, reason="x")).status_code == 303


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"CONSOLE_TOKEN": ""}, "CONSOLE_TOKEN"),
        ({"CONSOLE_URL": ""}, "https CONSOLE_URL"),
        ({"CONSOLE_URL": "http://console.example.org"}, "https CONSOLE_URL"),
        ({"USER_OPERATORS": ""}, "USER_OPERATORS"),
        ({"USER_CLIENT_ID": ""}, "USER_CLIENT_ID"),
        ({"USER_ISSUER_URL": "http://login.example.org"}, "USER_ISSUER_URL"),
    ],
)
def test_what_would_not_be_safe_is_a_wrong_setting(change: dict[str, str], named: str) -> None:
    environ = SETTINGS | change
    with pytest.raises(BadSetting, match=named):
        check_settings(ConsoleSettings.read(environ), UserSettings.read(environ))
