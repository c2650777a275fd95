"""On a phone no page cuts anything without a hint that there is more."""

from __future__ import annotations

from typing import Literal

import pytest
from playwright.async_api import Browser, Locator

from tests.browser.conftest import Tab
from tests.browser.morning import Morning
from tests.browser.pages import every_page
from tests.browser.pictures import painted

pytestmark = [pytest.mark.browser]

PHONES: list[tuple[int, Literal["light", "dark"]]] = [(390, "light"), (360, "dark")]
FRAMES = ".scroll, .plot, pre"  # what scrolls, with a shadow where it cuts

# What is cut elsewhere: beyond the window, by a part that hides it, in a field that is too narrow.
CUT = """frames => {
    const text = document.createElement("canvas").getContext("2d");
    const isCut = one => {
        const style = getComputedStyle(one), box = one.getBoundingClientRect();
        if (one.matches("[placeholder]") && !one.value) {
            text.font = style.font;
            const room = box.width - parseFloat(style.paddingLeft) - parseFloat(style.paddingRight);
            if (text.measureText(one.placeholder).width > room) return true;
        }
        if (one.matches("[type^=date]")) {
            one.style.width = "max-content";
            const needed = one.getBoundingClientRect().width;
            one.style.width = "";
            if (needed > box.width + 1) return true;
        }
        const inside = one.parentElement.closest(frames);
        if (!inside && (box.left < -0.5 || box.right > innerWidth + 0.5)) return true;
        const isWide = one.scrollWidth > one.clientWidth + 1 && one.clientWidth;
        return isWide && style.overflowX !== "visible" && !one.matches(frames);
    };
    return [...document.querySelectorAll("body *")]
        .filter(one => one.checkVisibility() && !one.closest(".hush, .skip, thead"))
        .filter(one => one.matches("svg") || !one.closest("svg"))
        .filter(isCut).map(one => one.outerHTML.slice(0, 120));
}"""


async def hints(frame: Locator) -> bool:
    """Whether a frame looks otherwise than without its shadows."""
    await painted(frame.page)
    seen = await frame.screenshot()
    await frame.evaluate("one => { one.style.backgroundImage = 'none' }")
    await painted(frame.page)
    bare = await frame.screenshot()
    await frame.evaluate("one => { one.style.backgroundImage = '' }")
    return seen != bare


@every_page
async def test_a_page_cuts_nothing_without_a_hint(
    browser: Browser, ran: Morning, path: str
) -> None:
    context = await browser.new_context(viewport={"width": 390, "height": 740})
    page = await Tab(await context.new_page(), ran.console).open(path.format_map(vars(ran)))
    await page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    # A refresh would change what is compared.
    await page.evaluate("document.body.dataset.changed = ''")
    for width, scheme in PHONES:
        await page.set_viewport_size({"width": width, "height": 740})
        await page.emulate_media(color_scheme=scheme)
        assert await page.evaluate(CUT, FRAMES) == [], width
        wide = "all => all.flatMap((one, at) => one.scrollWidth > one.clientWidth + 1 ? [at] : [])"
        frames = page.locator(FRAMES)
        for number in (await frames.evaluate_all(wide))[:4]:
            frame = frames.nth(number)
            seen = await hints(frame)
            assert seen, (width, await frame.evaluate("one => one.outerHTML.slice(0, 120)"))
    await context.close()


@pytest.mark.parametrize(
    "style",
    [
        ".panel { overflow: hidden; white-space: nowrap }",
        ".scroll { background: var(--paper) !important }",
        ".search { width: 4rem; flex-basis: auto !important }",
        ".panel { width: 60rem }",
    ],
)
async def test_what_cuts_without_a_hint_is_found(
    browser: Browser, ran: Morning, style: str
) -> None:
    context = await browser.new_context(viewport={"width": 390, "height": 740}, bypass_csp=True)
    page = await Tab(await context.new_page(), ran.console).open("/sprints/ORI002-S01")
    await page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    await page.add_style_tag(content=style)
    frame = page.locator(".panel-burndown .scroll")
    assert await page.evaluate(CUT, FRAMES) or not await hints(frame)
    await context.close()
