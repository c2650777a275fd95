"""`python -m tests.browser.speed`: how fast the console's pages are, and how much they weigh.

`server` is the median time until the last byte of a warm page, over a socket on this machine;
`frame` until its first byte. `sent` is what a browser gets that has the assets. `shift` is CLS on a
first visit where no service has answered yet.
"""

from __future__ import annotations

import asyncio
import statistics
import time

import httpx
from playwright.async_api import Browser, Request

from tests.browser.chromium import chromium
from tests.browser.conftest import Tab, served_cold
from tests.browser.morning import Morning, morning
from tests.browser.test_console_in_browser import PAGES
from tests.browser.test_first_visit_in_browser import OBSERVE

NAMES = (
    *("today", "sprints", "sprint", "project", "functions", "events", "trace", "orchestrations"),
    *("run", "jobs", "job", "agents", "schedules", "schedule", "dead letters", "actions"),
)
TIMES = 20


async def timed(client: httpx.AsyncClient, path: str) -> tuple[float, float]:
    """Medians until the first and the last byte of a warm page, ms."""
    firsts, lasts = [], []
    for number in range(TIMES + 1):
        began = time.perf_counter()
        async with client.stream("GET", path) as answer:
            first = time.perf_counter()
            async for _ in answer.aiter_raw():
                pass
        assert answer.is_success, path
        if number:  # the first one is not warm
            firsts.append(1000 * (first - began))
            lasts.append(1000 * (time.perf_counter() - began))
    return statistics.median(firsts), statistics.median(lasts)


async def weighed(browser: Browser, console: str, path: str) -> int:
    """Bytes of the bodies that a second visit gets."""
    context = await browser.new_context()
    page = await context.new_page()
    await Tab(page, console).open(path)
    finished: list[Request] = []
    page.on("requestfinished", lambda request: finished.append(request))
    await Tab(page, console).open(path)
    sizes = [max(0, (await one.sizes())["responseBodySize"]) for one in finished]
    await context.close()
    return sum(sizes)


async def shifted(browser: Browser, cold: str, path: str) -> float:
    """Cumulative layout shift of a first visit."""
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    page = await context.new_page()
    await page.add_init_script(OBSERVE)
    await Tab(page, cold).open(path)
    await page.evaluate("() => new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    found: float = await page.evaluate("window.shift")
    await context.close()
    return found


async def measure(ran: Morning, browser: Browser) -> None:
    host = {"host": httpx.URL(ran.console).netloc.decode()}
    print("| page | frame, ms | server, ms | sent, kB | shift |\n|---|---|---|---|---|")
    async with (
        httpx.AsyncClient(base_url=ran.runtime.url, headers=host, timeout=60) as client,
        served_cold(ran) as cold,
    ):
        for name in NAMES:
            path = PAGES[name].format_map(vars(ran))
            first, last = await timed(client, path)
            sent = await weighed(browser, ran.console, path)
            shift = await shifted(browser, cold, path)
            print(f"| {name} | {first:.0f} | {last:.0f} | {sent / 1000:.1f} | {shift:.3f} |")


async def main() -> None:
    async with morning() as ran, chromium() as browser:
        await measure(ran, browser)


if __name__ == "__main__":
    asyncio.run(main())
