"""Signing in and out with an OIDC issuer, as a browser does it, under the console's policy."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import pytest
import trustme
from playwright.async_api import Browser, Page, expect
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from functions.console.main import console
from tests.browser.conftest import Tab
from tests.browser.console_server import served
from tests.browser.pages import serious
from tests.support.cluster import Cluster
from tests.support.login_issuer import ENVIRON, LoginIssuer

pytestmark = [pytest.mark.browser]


@dataclass
class Login:
    """The console's address, its issuer, and the addresses to which that signed users out."""

    console: str
    issuer: LoginIssuer
    signed_out: list[str]


@pytest.fixture
async def login(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Login]:
    certificate = tmp_path / "certificate.pem"
    trustme.CA().issue_cert("*.localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
    listeners = {name: socket.create_server(("127.0.0.1", 0)) for name in ("console", "login")}
    urls = {name: f"https://{name}.localhost:{s.getsockname()[1]}" for name, s in listeners.items()}
    found = Login(urls["console"], LoginIssuer(urls["login"]), [])

    async def authorize(request: Request) -> Response:
        """A user who agrees to everything."""
        answer = found.issuer.authorize(str(request.url))
        return RedirectResponse(f"{request.query_params['redirect_uri']}?{urlencode(answer)}")

    async def logout(request: Request) -> Response:
        back = request.query_params["post_logout_redirect_uri"]
        found.signed_out.append(back)
        return RedirectResponse(back)

    app = found.issuer.app
    app.router.routes += [Route("/authorize", authorize), Route("/logout", logout)]
    cluster.add("login", app)
    settings = ENVIRON | {"USER_ISSUER_URL": urls["login"], "CONSOLE_URL": urls["console"]}
    cluster.deploy(console, settings | {"CONSOLE_TOKEN": "a key"})
    async with AsyncExitStack() as stack:
        for name, listener in listeners.items():
            await stack.enter_async_context(served(cluster, name, listener, certificate))
        yield found


async def opened(browser: Browser, login: Login, path: str) -> Page:
    context = await browser.new_context(ignore_https_errors=True)
    return await Tab(await context.new_page(), login.console).open(path)


async def test_one_signs_in_at_the_issuer_and_is_back_on_the_page(
    browser: Browser, login: Login
) -> None:
    page = await opened(browser, login, "/actions")
    assert await serious(page) == []
    await page.click("text=Sign in with login.localhost")
    await expect(page.locator("h1")).to_have_text("Actions")
    await expect(page.locator(".who")).to_contain_text("Signed in as ada@example.org")
    await page.context.close()


async def test_one_signs_out_of_the_console_and_of_the_issuer(
    browser: Browser, login: Login
) -> None:
    page = await opened(browser, login, "/actions")
    await page.click("text=Sign in with login.localhost")
    await page.click("button:has-text('Sign out')")
    # By way of the issuer, which leads back.
    await expect(page.locator(".notice")).to_have_text("You are signed out.")
    await expect(page).to_have_url(f"{login.console}/sign-in")
    assert login.signed_out == [f"{login.console}/sign-in"]
    await page.goto(f"{login.console}/actions")
    await expect(page.locator("h1")).to_have_text("Sign in")
    await page.context.close()


async def test_where_the_issuer_shows_nothing_the_page_says_what_is_left_to_do(
    browser: Browser, login: Login
) -> None:
    page = await opened(browser, login, "/actions")
    await page.click("text=Sign in with login.localhost")
    await page.route("**/logout?*", lambda route: route.fulfill(status=204))
    await page.click("button:has-text('Sign out')")
    await expect(page.locator("h1")).to_have_text("Signed out")
    await expect(page.locator("main a")).to_have_text(f"Sign out of {login.issuer.url[8:]} too")
    assert await serious(page) == []
    await page.context.close()
