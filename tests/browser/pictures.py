"""`python -m tests.browser.pictures`: take the pictures anew with which states are compared.

A picture is a page in 160 x 100 pixels: a layout that is broken differs much there, and fonts of
another machine little. What a page shows is fixed, its time as well.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import stamina
from playwright.async_api import Browser, Page

from tests.browser.chromium import chromium
from tests.browser.console_server import served
from tests.support.cluster import Cluster
from tests.support.sprint_services import join_sprint_services

FOLDER = Path(__file__).parent / "pictures"
WIDTH, HEIGHT = 160, 100

_SHRINK = """async ([png, width, height]) => {
    const image = new Image();
    image.src = "data:image/png;base64," + png;
    await image.decode();
    const canvas = document.createElement("canvas");
    [canvas.width, canvas.height] = [width, height];
    const context = canvas.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(image, 0, 0, width, height);
    return canvas.toDataURL("image/png").split(",")[1];
}"""
# The share of pixels of which a channel differs by more than 16 of 255.
_COMPARE = """async (pngs) => {
    const pixels = await Promise.all(pngs.map(async (png) => {
        const image = new Image();
        image.src = "data:image/png;base64," + png;
        await image.decode();
        const canvas = new OffscreenCanvas(image.width, image.height).getContext("2d");
        canvas.drawImage(image, 0, 0);
        return canvas.getImageData(0, 0, image.width, image.height).data;
    }));
    const [one, other] = pixels;
    if (one.length !== other.length) return 1;
    let different = 0;
    for (let at = 0; at < one.length; at += 4) {
        const gaps = [0, 1, 2].map((channel) => Math.abs(one[at + channel] - other[at + channel]));
        if (Math.max(...gaps) > 16) different += 1;
    }
    return different / (one.length / 4);
}"""


@dataclass(frozen=True)
class State:
    """A page as one reader sees it."""

    path: str
    scheme: Literal["light", "dark"] = "light"
    width: int = 1280
    height: int = 800
    media: Literal["screen", "print"] = "screen"


STATES = {
    "sprint": State("/sprints/P-S02"),
    "sprint-dark": State("/sprints/P-S02", scheme="dark"),
    "sprint-phone": State("/sprints/P-S02", width=390, height=740),
    "sprint-print": State("/sprints/P-S02", media="print"),
    "project": State("/projects/P"),
    "unavailable": State("/"),
    "menu-phone": State("/shortcuts#pages", width=390, height=740),
    "sign-in": State("/sign-in"),
    "shortcuts": State("/shortcuts"),
    "no-such-page": State("/nowhere", scheme="dark"),
}


@asynccontextmanager
async def fixed_console() -> AsyncIterator[str]:
    """The URL of a console that shows the same whenever it is asked; most services are refused."""
    cluster = Cluster()
    join_sprint_services(cluster)
    with stamina.set_testing(True, attempts=1):
        async with served(cluster) as url:
            yield url
    await cluster.close()


async def painted(page: Page) -> None:
    """Wait until the page shows what was changed: a busy machine's picture is of a frame before."""
    frame = "await new Promise((done) => requestAnimationFrame(() => setTimeout(done)));"
    await page.evaluate(f"async () => {{ {frame} {frame} }}")


async def take(browser: Browser, url: str, state: State, style: str = "") -> str:
    """A picture of a state as base64 of a PNG, with a `style` of the test's own."""
    context = await browser.new_context(
        viewport={"width": state.width, "height": state.height},
        color_scheme=state.scheme,
        reduced_motion="reduce",
        bypass_csp=bool(style),
    )
    page = await context.new_page()
    await page.emulate_media(media=state.media)
    await page.goto(url + state.path)
    await page.wait_for_selector("[aria-busy=true]", state="detached")
    if style:
        await page.add_style_tag(content=style)
    await painted(page)
    shot = base64.b64encode(await page.screenshot()).decode()
    await context.close()
    return await _evaluate(browser, _SHRINK, [shot, WIDTH, HEIGHT])


async def difference(browser: Browser, one: str, other: str) -> float:
    """The share of pixels in which two pictures differ."""
    return float(await _evaluate(browser, _COMPARE, [one, other]))


async def _evaluate(browser: Browser, script: str, given: list[object]) -> str:
    context = await browser.new_context()
    page = await context.new_page()
    found = await page.evaluate(script, given)
    await context.close()
    return str(found)


async def _write() -> None:
    async with chromium() as browser, fixed_console() as url:
        for name, state in STATES.items():
            picture = await take(browser, url, state)
            (FOLDER / f"{name}.png").write_bytes(base64.b64decode(picture))


if __name__ == "__main__":
    asyncio.run(_write())
