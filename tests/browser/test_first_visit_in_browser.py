"""A first visit, when no service has answered yet: nothing that is seen moves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, expect

from tests.browser.conftest import Tab, served_cold
from tests.browser.morning import Morning
from tests.browser.pages import PAGES, serious

pytestmark = [pytest.mark.browser]

# https://web.dev/articles/cls: good is below 0.1.
MAX_SHIFT = 0.1
OBSERVE = """
window.shift = 0;
new PerformanceObserver(list => {
  for (const entry of list.getEntries()) if (!entry.hadRecentInput) window.shift += entry.value;
}).observe({type: "layout-shift", buffered: true});
"""


@pytest.fixture(scope="module")
async def cold(ran: Morning) -> AsyncIterator[str]:
    async with served_cold(ran) as url:
        yield url


@pytest.mark.parametrize("size", [(1280, 800), (390, 740)], ids=["screen", "phone"])
@pytest.mark.parametrize("name", PAGES)
async def test_what_is_seen_stays_where_it_is(
    browser: Browser, ran: Morning, cold: str, name: str, size: tuple[int, int]
) -> None:
    context = await browser.new_context(viewport={"width": size[0], "height": size[1]})
    page = await context.new_page()
    await page.add_init_script(OBSERVE)
    await Tab(page, cold).open(PAGES[name].format_map(vars(ran)))
    # Two frames, as the observer is notified of the last one after it was drawn.
    await page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    assert await page.evaluate("window.shift") < MAX_SHIFT
    await context.close()


async def test_without_script_every_part_has_a_link(browser: Browser, cold: str) -> None:
    context = await browser.new_context(java_script_enabled=False)
    page = await context.new_page()
    await page.goto(f"{cold}/")
    for panel in await page.locator(".panel").all():
        assert await panel.is_visible()
    for panel in await page.locator(".panel[aria-busy]").all():
        if (fold := panel.locator("details:not([open]) > summary")) and await fold.count():
            await fold.first.click()
        assert await panel.locator("a", has_text="a click").first.is_visible()
    await context.close()


async def test_a_page_that_is_loading_is_accessible(browser: Browser, cold: str) -> None:
    context = await browser.new_context()
    page = await context.new_page()
    await page.route("**/panels/*", lambda route: asyncio.sleep(0))  # no answer comes
    await page.goto(f"{cold}/functions")
    await expect(page.locator(".panel[aria-busy=true] .loading").first).to_be_visible()
    assert await serious(page) == []
    await context.close()
