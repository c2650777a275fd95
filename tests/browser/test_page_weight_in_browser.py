"""A page that was visited before weighs little and takes little: its assets are cached, the rest is
compressed, and the server has it within a tenth of a second."""

from __future__ import annotations

import time

import pytest
from playwright.async_api import BrowserContext, Request

from tests.browser.conftest import Tab
from tests.browser.morning import Morning
from tests.browser.pages import PAGES
from tests.support import eventually

pytestmark = [pytest.mark.browser]

MAX_WARM_BYTES = 60_000
MAX_WARM_S = 0.1


@pytest.mark.parametrize("name", PAGES)
async def test_a_page_weighs_little_warm(context: BrowserContext, ran: Morning, name: str) -> None:
    page = await context.new_page()
    path = PAGES[name].format_map(vars(ran))
    await Tab(page, ran.console).open(path)
    finished: list[Request] = []
    page.on("requestfinished", lambda request: finished.append(request))
    await Tab(page, ran.console).open(path)
    # Of what comes from the cache, the size is that of its headers, taken off nothing.
    sizes = {one.url: max(0, (await one.sizes())["responseBodySize"]) for one in finished}
    assert 0 < sum(sizes.values()) < MAX_WARM_BYTES, sizes


@pytest.mark.parametrize("name", PAGES)
async def test_the_server_has_a_warm_page_soon(ran: Morning, name: str) -> None:
    path = PAGES[name].format_map(vars(ran))
    async with ran.runtime.client("console") as client:

        async def takes_little() -> bool:
            """Other load only adds: one look within the time shows what a page takes."""
            began = time.perf_counter()
            page = await client.get(path)
            took_s = time.perf_counter() - began
            assert "aria-busy" not in page.text
            return took_s < MAX_WARM_S

        await client.get(path)
        assert await eventually(takes_little)
