"""A page that was visited before weighs little: its assets are cached, the rest is compressed."""

from __future__ import annotations

import pytest
from playwright.async_api import BrowserContext, Request

from tests.browser.conftest import Tab
from tests.browser.morning import Morning
from tests.browser.pages import PAGES

pytestmark = [pytest.mark.browser]

MAX_WARM_BYTES = 60_000


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
