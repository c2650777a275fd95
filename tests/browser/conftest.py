"""A browser, and a morning that has run, for all tests of the console in a browser."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
import pytest
from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, expect

from tests.bench.processes import free_port
from tests.browser.chromium import chromium
from tests.browser.morning import Morning, morning
from tests.support import eventually
from tests.support.local_knative import ROOT

# A machine may be busy with other things: waiting ends as soon as it is so.
TIMEOUT_MS = 60_000
expect.set_options(timeout=TIMEOUT_MS)


@pytest.fixture(scope="session")
async def ran() -> AsyncIterator[Morning]:
    async with morning() as made:
        yield made


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as made:
        yield made


async def loaded(page: Page) -> None:
    """Wait until no panel is loading."""
    await expect(page.locator("[aria-busy=true]")).to_have_count(0)


class Tab:
    """A page that remembers what the browser complained about."""

    def __init__(self, page: Page, console: str) -> None:
        self.page = page
        self.console = console
        self.complaints: list[str] = []
        page.set_default_timeout(TIMEOUT_MS)
        page.on("console", self._on_message)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _on_message(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    async def open(self, path: str) -> Page:
        """Go there and wait until no panel is loading."""
        await self.page.goto(self.console + path)
        await loaded(self.page)
        return self.page


@pytest.fixture
async def context(browser: Browser) -> AsyncIterator[BrowserContext]:
    context = await browser.new_context(
        viewport={"width": 1280, "height": 900}, timezone_id="Europe/Berlin", locale="en-GB"
    )
    yield context
    await context.close()


@pytest.fixture
async def tab(context: BrowserContext, ran: Morning) -> AsyncIterator[Tab]:
    """A tab; at the end it must have had nothing to complain about, a broken policy above all."""
    tab = Tab(await context.new_page(), ran.console)
    yield tab
    assert tab.complaints == []


@asynccontextmanager
async def served_cold(ran: Morning) -> AsyncIterator[str]:
    """A console beside the morning's that waits for no part: a first visit from zero."""
    port = free_port()
    environ = {
        **os.environ,
        "FUNCTION_TARGET": "console",
        "PORT": str(port),
        "HTTP_PROXY": ran.runtime.proxy_url,
        "NO_PROXY": "",
        "KUBECONFIG": str(ran.runtime.data / "kubeconfig"),
        "KUBERNETES_NAMESPACE": "dsm",
        "EVENTS_URL": "http://knative.local/_knative/events/search",
        "EVENTS_WITH_KUBECONFIG": "true",
        "CONSOLE_PAGE_TIMEOUT_S": "0.001",
        "CONSOLE_SOURCE_TIMEOUT_S": "20",
    }
    command = (sys.executable, "-m", "functions.kit.process.serve")
    process = await asyncio.create_subprocess_exec(*command, env=environ, cwd=ROOT)
    url = f"http://127.0.0.1:{port}"
    try:
        async with httpx.AsyncClient(trust_env=False, timeout=60) as client:

            async def is_up() -> bool:
                try:
                    return (await client.get(f"{url}/health")).is_success
                except httpx.TransportError:
                    return False

            assert await eventually(is_up)
        yield url
    finally:
        process.terminate()
        await process.wait()
