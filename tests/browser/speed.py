"""`python -m tests.browser.speed`: how fast the console's pages are, and how much they weigh.

`server` is the median time until the last byte of a warm page, over a socket on this machine;
`frame` until its first byte; `processor` is the console's own part of it, which other load does not
change. `sent` is what a browser gets that has the assets. `shift` is CLS on a
first visit where no service has answered yet. The second table is of pages that stay open: what
they ask a minute, and the processor time that this takes of the console and of all services.
"""

from __future__ import annotations

import asyncio
import statistics
import time

import httpx
import psutil
from playwright.async_api import Browser, Request

from tests.browser.chromium import chromium
from tests.browser.conftest import Tab, served_cold
from tests.browser.morning import Morning, morning
from tests.browser.pages import PAGES
from tests.browser.test_first_visit_in_browser import OBSERVE

NAMES = (
    *("today", "sprints", "sprint", "project", "functions", "events", "trace", "orchestrations"),
    *("run", "jobs", "job", "agents", "schedules", "schedule", "dead letters", "actions"),
)
TIMES = 20
OPEN = ("today", "sprint", "functions", "events", "jobs", "run")
OPEN_S = 60


async def timed(
    client: httpx.AsyncClient, path: str, console: psutil.Process
) -> tuple[float, float, float]:
    """Medians until the first and the last byte of a warm page, and processor time of each, ms."""
    firsts, lasts = [], []
    used_s = 0.0
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
        else:
            used_s = _used_s(console)
    own = 1000 * (_used_s(console) - used_s) / TIMES
    return statistics.median(firsts), statistics.median(lasts), own


def _used_s(process: psutil.Process) -> float:
    found = process.cpu_times()
    return float(found.user + found.system)


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
    services = {one["name"]: one for one in await ran.runtime.ask("services")}
    console = psutil.Process(services["console"]["pid"])
    print("| page | frame, ms | server, ms | processor, ms | sent, kB | shift |")
    print("|---|---|---|---|---|---|")
    async with (
        httpx.AsyncClient(base_url=ran.runtime.url, headers=host, timeout=60) as client,
        served_cold(ran) as cold,
    ):
        for name in NAMES:
            path = PAGES[name].format_map(vars(ran))
            first, last, own = await timed(client, path, console)
            sent = await weighed(browser, ran.console, path)
            shift = await shifted(browser, cold, path)
            times = f"{first:.0f} | {last:.0f} | {own:.0f}"
            print(f"| {name} | {times} | {sent / 1000:.1f} | {shift:.3f} |", flush=True)


async def kept_open(ran: Morning, browser: Browser, name: str) -> None:
    """A line of the second table."""
    context = await browser.new_context()
    page = await context.new_page()
    await Tab(page, ran.console).open(PAGES[name].format_map(vars(ran)))
    services = {one["name"]: one for one in await ran.runtime.ask("services") if one["pid"]}
    processes = {name: psutil.Process(one["pid"]) for name, one in services.items()}
    before = {name: _used_s(process) for name, process in processes.items()}
    finished: list[Request] = []
    page.on("requestfinished", lambda request: finished.append(request))
    await asyncio.sleep(OPEN_S)
    used = {
        name: 1000 * (_used_s(one) - before[name])
        for name, one in processes.items()
        if one.is_running()  # else it slept meanwhile
    }
    bodies = sum([max(0, (await one.sizes())["responseBodySize"]) for one in finished])
    scale = 60 / OPEN_S
    print(
        f"| {name} | {scale * len(finished):.0f} | {scale * bodies / 1000:.0f} "
        f"| {scale * used['console']:.0f} | {scale * sum(used.values()):.0f} |",
        flush=True,
    )
    await context.close()


async def main() -> None:
    async with morning() as ran, chromium() as browser:
        await measure(ran, browser)
        print("| open page | requests | sent, kB | console, ms | all services, ms |")
        print("|---|---|---|---|---|")
        for name in OPEN:
            await kept_open(ran, browser, name)


if __name__ == "__main__":
    asyncio.run(main())
