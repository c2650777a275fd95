"""What must be seen is seen: within the window, and dark enough."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import Browser, Locator, expect

from tests.browser.conftest import Tab
from tests.browser.morning import Morning

pytestmark = [pytest.mark.browser]


async def lies_within(found: Locator, width: int) -> bool:
    box = await found.bounding_box()
    assert box is not None
    return box["x"] >= 0 and box["x"] + box["width"] <= width


async def test_the_states_of_the_stream_are_seen_at_1280(tab: Tab) -> None:
    page = await tab.open("/events")
    chips = page.locator(".panel-stream .chip")
    await expect(chips.first).to_be_visible()
    assert all([await lies_within(chip, 1280) for chip in (await chips.all())[:10]])


@pytest.mark.parametrize("path", ["/schedules", "/dead-letters/1", "/jobs/{job}"])
async def test_what_can_be_pressed_lies_within_a_phone(
    browser: Browser, ran: Morning, path: str
) -> None:
    context = await browser.new_context(viewport={"width": 360, "height": 740})
    page = await Tab(await context.new_page(), ran.console).open(path.format_map(vars(ran)))
    for found in await page.locator("main a.button").all():
        assert await lies_within(found, 360), await found.inner_text()
    await context.close()


async def test_on_a_phone_each_value_of_a_schedule_has_its_label(
    browser: Browser, ran: Morning
) -> None:
    context = await browser.new_context(viewport={"width": 390, "height": 740})
    page = await Tab(await context.new_page(), ran.console).open("/schedules")
    row = page.locator(".cards tr", has_text="scrum-simulate").first
    name, press = row.locator("th"), row.locator("text=Run now")
    places = [await found.bounding_box() for found in (name, press)]
    assert places[0] is not None
    assert places[1] is not None
    assert places[0]["y"] < places[1]["y"]  # the name stands above what can be pressed
    labels = "cells => cells.map(cell => getComputedStyle(cell, '::before').content)"
    found = await row.locator("td[data-label]").evaluate_all(labels)
    assert any("Last" in label for label in found)
    await context.close()


async def test_a_trace_on_a_phone_has_its_bars_and_answers_within_the_edge(
    browser: Browser, ran: Morning
) -> None:
    context = await browser.new_context(viewport={"width": 390, "height": 740})
    page = await Tab(await context.new_page(), ran.console).open(
        f"/events/trace?correlation={ran.trace}"
    )
    rows = page.locator(".panel-trace tbody tr")
    assert await rows.count() > 3
    for row in await rows.all():
        name, bars = row.locator("th"), row.locator(".span")
        places = [await found.bounding_box() for found in (name, bars)]
        assert places[0] is not None
        assert places[1] is not None
        assert places[0]["y"] < places[1]["y"]  # the event is named above its attempts
        assert places[1]["width"] > 250
        for found in (name, bars, *await row.locator(".attempts li").all()):
            assert await lies_within(found, 390), await found.text_content()
    # The graph is wider than a phone: it scrolls in its own frame, which the keyboard reaches.
    frame = page.locator(".panel-trace .scroll:has(.graph)")
    assert await lies_within(frame, 390)
    assert await frame.evaluate("frame => frame.scrollWidth > frame.clientWidth")
    assert await frame.get_attribute("tabindex") == "0"
    await context.close()


# The colours of a frame's edges at its start, within and at its end; None where nothing is cut.
EDGES_OF_FRAMES = """async () => {
    const found = [];
    for (const one of document.querySelectorAll('.scroll, .plot, pre')) {
        const room = one.scrollWidth - one.clientWidth;
        const edges = [];
        for (const at of [0, room / 2, room]) {
            one.scrollLeft = at;
            await new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)));
            const style = getComputedStyle(one);
            const seen = [style.borderLeftColor, style.borderRightColor];
            edges.push(seen.map(colour => colour !== style.backgroundColor).join(' '));
        }
        // One that a refresh has replaced meanwhile has no style.
        if (one.isConnected) found.push([room > 1, edges.join(', ')]);
    }
    return found;
}"""


@pytest.mark.parametrize("motion", ["no-preference", "reduce"])
async def test_in_forced_colours_too_a_bar_stands_where_a_frame_cuts_what_it_has(
    browser: Browser, ran: Morning, motion: Any
) -> None:
    context = await browser.new_context(
        viewport={"width": 390, "height": 740}, forced_colors="active", reduced_motion=motion
    )
    seen = set()
    for path in ("/sprints/ORI002-S01", f"/events/trace?correlation={ran.trace}"):
        page = await Tab(await context.new_page(), ran.console).open(path)
        await page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
        seen |= {(cut, edges) for cut, edges in await page.evaluate(EDGES_OF_FRAMES)}
    assert seen == {
        (True, "false true, true true, true false"),
        (False, "false false, false false, false false"),
    }
    await context.close()


@pytest.mark.parametrize(
    "path", ["/sprints/ORI002-S01", "/events/trace?correlation={trace}", "/dead-letters/1"]
)
async def test_paper_cuts_nothing_and_names_the_zone_of_its_times(
    browser: Browser, ran: Morning, path: str
) -> None:
    context = await browser.new_context(viewport={"width": 718, "height": 1000})
    page = await Tab(await context.new_page(), ran.console).open(path.format_map(vars(ran)))
    await page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    await page.emulate_media(media="print")
    await expect(page.locator(".zone")).to_contain_text("Times are in UTC")
    await expect(page.locator(".zone")).to_be_visible()
    await expect(page.locator("#pages")).to_be_hidden()
    cut = """[...document.querySelectorAll('.scroll, .plot, pre')]
        .filter(one => getComputedStyle(one).overflow !== 'visible')
        .map(one => one.outerHTML.slice(0, 90))"""
    assert await page.evaluate(cut) == []
    assert await page.evaluate("document.documentElement.scrollWidth") <= 718
    await context.close()


async def test_today_is_one_screen(browser: Browser, ran: Morning) -> None:
    context = await browser.new_context(viewport={"width": 1280, "height": 800})
    page = await Tab(await context.new_page(), ran.console).open("/")
    numbers = page.locator(".glance a")
    await expect(numbers).to_have_count(6)
    folds = page.locator(".panel > details > summary")
    await expect(folds).to_have_count(4)
    for found in [*await numbers.all(), *await page.locator(".attention a").all(), folds.first]:
        box = await found.bounding_box()
        assert box is not None
        assert box["y"] + box["height"] <= 800, await found.inner_text()
    await expect(page.locator("#menu-open")).to_be_hidden()
    await context.close()


async def test_on_a_phone_the_pages_fold_into_a_menu(browser: Browser, ran: Morning) -> None:
    context = await browser.new_context(viewport={"width": 390, "height": 740})
    page = await Tab(await context.new_page(), ran.console).open("/jobs")
    link = page.locator("#pages li a", has_text="Schedules")
    await expect(link).to_be_hidden()
    right = "e => e.getBoundingClientRect().right"
    opened = await page.locator("#menu-open").evaluate(right)
    await page.click("#menu-open")
    await expect(link).to_be_visible()
    assert await lies_within(link, 390)
    assert await page.evaluate("scrollY") == 0
    closed = await page.locator("#menu-close").evaluate(right)
    assert abs(closed - opened) < 1, "what closes it is where it was opened"
    await page.click("#menu-close")
    await expect(link).to_be_hidden()
    await page.click("#menu-open")
    await link.click()
    await expect(page.locator("h1")).to_have_text("Schedules")
    await expect(page.locator("#pages ul")).to_be_hidden()
    await context.close()


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/dead-letters",
        "/events",
        "/events/trace?correlation={trace}",
        "/orchestrations",
        "/orchestrations/tenantCreation/runs/{flow}",
        "/sprints",
        "/sprints/ORI002-S01",
        "/projects/PHE001",
        "/schedules/scrum-simulate",
        "/jobs",
    ],
)
async def test_on_a_phone_each_value_of_a_row_has_its_label(
    browser: Browser, ran: Morning, path: str
) -> None:
    context = await browser.new_context(viewport={"width": 390, "height": 740})
    page = await Tab(await context.new_page(), ran.console).open(path.format_map(vars(ran)))
    await page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    cells = page.locator(".cards tbody td:not(.press)")
    assert await cells.count()
    bare = "cells => cells.filter(cell => cell.innerText && !cell.dataset.label).length"
    assert await cells.evaluate_all(bare) == 0
    await context.close()


def luminance(colour: str) -> float:
    """The relative luminance of `rgb(1, 2, 3)` (WCAG 2.2)."""
    parts = [int(n) / 255 for n in re.findall(r"\d+", colour)[:3]]
    r, g, b = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(one: str, other: str) -> float:
    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


EDGES = {
    "a field": ("/dead-letters", ".pick input", "borderTopColor"),
    "a button": ("/dead-letters", ".pick button", "borderTopColor"),
    "a line of a graph": ("/orchestrations/tenantCreation", ".graph .edge", "stroke"),
    "a box of a graph": ("/events/trace?correlation={trace}", ".graph .node.event rect", "stroke"),
}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("edge", EDGES)
async def test_edges_are_seen_against_all_they_lie_on(
    browser: Browser, ran: Morning, edge: str, scheme: Any
) -> None:
    path, selector, colour = EDGES[edge]
    context = await browser.new_context(color_scheme=scheme)
    page = await Tab(await context.new_page(), ran.console).open(path.format_map(vars(ran)))
    read = f"e => getComputedStyle(e).{colour}"
    seen = await page.locator(selector).first.evaluate(read)
    ground = "e => getComputedStyle(e).backgroundColor"
    for surface in ("body", ".panel"):
        behind = await page.locator(surface).first.evaluate(ground)
        assert contrast(seen, behind) >= 3, (seen, behind)
    await context.close()
