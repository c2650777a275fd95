"""The console in a real browser, over a morning that has really run."""

from __future__ import annotations

import asyncio
import csv
import json
import re
import shlex
from datetime import UTC, datetime
from urllib.parse import unquote

import pytest
from playwright.async_api import Browser, Route, expect

from tests.browser.conftest import Tab, loaded
from tests.browser.morning import Morning
from tests.browser.pages import every_page, serious
from tests.support import eventually

pytestmark = [pytest.mark.browser]


@every_page
async def test_a_page_is_accessible_in_light_and_dark(
    browser: Browser, ran: Morning, path: str
) -> None:
    context = await browser.new_context(color_scheme="light")
    page = await Tab(await context.new_page(), ran.console).open(path.format_map(vars(ran)))
    assert await serious(page) == []
    await page.emulate_media(color_scheme="dark")
    assert await serious(page, "color-contrast") == []  # the rule that looks at colours
    await context.close()


@every_page
async def test_each_table_is_there_as_csv(tab: Tab, ran: Morning, path: str) -> None:
    page = await tab.page.context.new_page()  # one that may say 404
    await Tab(page, ran.console).open(path.format_map(vars(ran)))
    assert await page.locator("table").count() == await page.locator(".panel table").count()
    for panel in await page.locator(".panel:has(table)").all():
        link = panel.locator(".csv a")
        assert await link.count() == 1, await panel.get_attribute("aria-labelledby")
        at = str(await link.get_attribute("href"))
        if at.startswith("data:"):
            text = unquote(at.partition(",")[2])
        else:
            text = await page.evaluate("at => fetch(at).then(answer => answer.text())", at)
        heads = "tables => tables.map(t => [...t.rows[0].cells].map(c => c.textContent.trim()))"
        rows = list(csv.reader(text.splitlines()))
        for head in await panel.locator("table").evaluate_all(heads):
            assert head in rows, at


async def test_what_a_link_holds_is_saved_as_a_file(tab: Tab) -> None:
    page = await tab.open("/search?q=report")
    async with page.expect_download() as download:
        await page.locator(".csv a").click()
    saved = await download.value
    assert saved.suggested_filename == "search.csv"
    assert "sprint-report,Function" in (await saved.path()).read_text()


async def test_today_tells_the_morning_its_cycle_and_its_scrums(tab: Tab) -> None:
    page = await tab.open("/")
    for name in ("morning", "report", "cycles", "scrums"):
        await page.locator(f".panel-{name} > details > summary").click()
    await expect(page.locator(".panel-report")).to_contain_text("PHE001-S01")
    await expect(page.locator(".panel-report progress").first).to_have_attribute("value", "100.0")
    await expect(page.locator(".cycle")).to_contain_text("close-sprint")
    await expect(page.locator(".member").first).to_be_visible()
    await expect(page.locator(".panel-morning")).to_contain_text("scrum-report")


async def test_today_lists_action_items_first(tab: Tab) -> None:
    page = await tab.open("/")
    items = page.locator(".panel-attention")
    await expect(items).to_contain_text("no service has registered as worker")
    await expect(page.locator("#pages .count:visible").first).to_be_visible()
    await items.locator("a", has_text="cycle.requested").first.click()
    await expect(page.locator("h1")).to_contain_text("Dead letter")


async def test_a_day_of_the_past_can_be_picked(tab: Tab) -> None:
    page = await tab.open("/")
    await page.fill("#day", "2020-01-01")
    await page.click("text=Show")
    await expect(page.locator(".panel-morning summary")).to_contain_text("No morning ran")


@pytest.mark.parametrize("sprint", ["PHE001-S01", "ORI002-S01"], ids=["finished", "active"])
async def test_a_sprint_has_a_burndown_whose_numbers_stand_in_a_table(
    tab: Tab, sprint: str
) -> None:
    page = await tab.open(f"/sprints/{sprint}")
    panel = page.locator(".panel-burndown")
    await expect(panel.locator(".plot svg")).to_be_visible()
    assert await panel.locator(".color-1 .dot").count() >= 3
    await expect(panel.locator(".marked")).to_have_count(1)
    assert await panel.locator(".pygal-chart .off").count() >= 2  # a sprint has a weekend
    await expect(page.locator(".panel-flow .stacked")).to_be_visible()
    await panel.locator("text=The numbers").click()
    left = await page.locator(".panel-burndown tbody td:nth-child(3)").all_inner_texts()
    assert len([number for number in left if number]) >= 3
    await expect(page.locator(".panel-progress td").first).not_to_be_empty()


async def test_the_values_of_a_plot_are_read_by_arrow_keys_and_by_pointer(tab: Tab) -> None:
    page = await tab.open("/sprints/ORI002-S01")
    panel = page.locator(".panel-burndown")
    plot, value = panel.get_by_role("slider"), panel.locator(".plot-value")
    await expect(value).to_contain_text("Arrow keys")
    await panel.locator("text=The numbers").click()
    rows = panel.locator("tbody tr")
    ideal = await rows.locator("td:nth-child(2)").all_inner_texts()
    await plot.focus()
    for key, number in (("ArrowRight", 0), ("ArrowRight", 1), ("End", -1), ("ArrowLeft", -2)):
        await page.keyboard.press(key)
        text = await value.inner_text()
        assert f"ideal {float(ideal[number]):g}" in text
        assert await plot.get_attribute("aria-valuetext") == text
        now = int(await plot.get_attribute("aria-valuenow") or "")
        assert now == number % len(ideal)
    await panel.locator(".column").nth(2).hover()
    await expect(value).to_contain_text(f"ideal {float(ideal[2]):g}")
    # What comes anew is read where one was.
    await page.evaluate("refresh(true)")
    await expect(value).to_contain_text(f"ideal {float(ideal[2]):g}")
    assert await serious(page) == []


async def test_an_event_opens_its_chain_of_cause(tab: Tab) -> None:
    page = await tab.open("/events?type=sprint.completed")
    await page.locator(".panel-stream tbody th a").first.click()
    await expect(page.locator(".graph .function").first).to_be_visible()
    await expect(page.locator(".panel-trace")).to_contain_text("cycle.completed")


async def test_an_event_of_a_job_leads_to_the_job(tab: Tab, ran: Morning) -> None:
    page = await tab.open(f"/events?subject={ran.job}")
    await page.locator(".panel-stream tbody a", has_text=ran.job).first.click()
    await expect(page.locator("h1")).to_contain_text(ran.job)
    await page.locator(".panel-job a", has_text="Trace").click()
    await page.locator(".panel-trace tbody a", has_text=ran.job).first.click()
    await expect(page.locator("h1")).to_contain_text(ran.job)


async def test_a_trace_copies_an_event_that_can_be_sent_again(tab: Tab, ran: Morning) -> None:
    await tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    page = await tab.open(f"/events/trace?correlation={ran.trace}")
    row = page.locator(".panel-trace tbody tr", has_text="sprint.completed").first
    await row.locator("summary").click()
    copied = []
    for name in ("JSON", "curl"):
        await row.locator("button", has_text=f"Copy {name}").click()
        await expect(row.locator("button", has_text="Copied")).to_have_count(1)
        copied.append(await page.evaluate("navigator.clipboard.readText()"))
        await expect(row.locator("button", has_text="Copied")).to_have_count(0)
    event = json.loads(copied[0])
    assert event["type"] == "io.dsm.sprint.completed.v1"
    assert event["correlationid"] == ran.trace
    command = shlex.split(copied[1])
    assert json.loads(command[command.index("-d") + 1]) == event


async def test_the_stream_shows_what_comes_without_a_reload(tab: Tab, ran: Morning) -> None:
    page = await tab.open("/events?type=live.example")
    await expect(page.locator(".panel-stream")).to_contain_text("Nothing has arrived that fits")
    await ran.runtime.send("io.live.example.v1", {})
    await expect(page.locator(".panel-stream")).to_contain_text("io.live.example.v1", timeout=15000)


async def test_a_dead_letter_is_found_read_and_sent_again(tab: Tab) -> None:
    page = await tab.open("/")
    await page.click("text=Dead letters")
    await page.locator(".panel-dead_letters tbody a").last.click()
    await expect(page.locator(".panel-dead_letter .verdict")).to_contain_text("NOBODY not found")
    await page.click("text=Send again")
    await expect(page.locator("h1")).to_have_text("Send dead letter 1 again?")
    await page.get_by_label("Reason").fill("its project is there now")
    await page.click("button:has-text('Send again')")
    await expect(page.locator(".notice")).to_contain_text("Dead letter 1 ")
    row = page.locator(".panel-dead_letter tbody")
    await expect(row).to_contain_text("local")
    await expect(row).to_contain_text("its project is there now")


async def test_a_button_for_what_is_selected_works_once_something_is(tab: Tab) -> None:
    page = await tab.open("/orchestrations")
    button = page.locator("#select-runs button").first
    box = page.locator("[form=select-runs]").first
    await expect(button).to_be_disabled()
    await box.check()
    await expect(button).to_be_enabled()
    await box.uncheck()
    await expect(button).to_be_disabled()


async def test_an_undo_shows_its_plan_first_and_then_takes_back(tab: Tab, ran: Morning) -> None:
    page = await tab.open(f"/orchestrations/tenantCreation/runs/{ran.flow}")
    await expect(page.locator(".panel-run .verdict")).to_contain_text("Completed")
    await page.click("a:has-text('Undo')")
    await expect(page.locator(".plan")).to_contain_text("createClient")
    await page.get_by_label("Reason").fill("a drill")
    await page.click("button:has-text('Undo')")
    # Without a reload: the page asks again until it is so.
    await expect(page.locator(".panel-run .verdict")).to_contain_text("Undone", timeout=30000)


async def test_a_schedule_is_run_now(tab: Tab, ran: Morning) -> None:
    async def is_free() -> bool:
        """A minute runs once, and the morning may have run this one."""
        async with ran.runtime.client("scheduler") as client:
            last = (await client.get("/schedules/scrum-simulate")).json()["last"]
        return all(f"{datetime.now(UTC):%Y-%m-%dT%H:%M}" not in tick["nominal"] for tick in last)

    assert await eventually(is_free)
    page = await tab.open("/schedules")
    row = page.locator("tr", has_text="scrum-simulate")
    await row.locator("text=Run now").click()
    await page.get_by_label("Reason").fill("a drill")
    await page.click("button:has-text('Run now')")
    await expect(page.locator(".notice")).to_contain_text("scrum-simulate runs now")

    async def is_recorded() -> bool:
        async with ran.runtime.client("scrum-simulate") as client:
            runs = (await client.get("/runs")).json()["runs"]
        # The morning's own, and this one.
        return [run["requested_by"] for run in runs].count("local") == 2

    assert await eventually(is_recorded)
    newest = page.locator(".panel-ticks tr", has_text="run by local").first
    await expect(newest).to_contain_text("done")


async def test_paper_is_white_and_keeps_the_colours_that_mean_something(tab: Tab) -> None:
    page = await tab.open("/sprints/ORI002-S01")
    await page.emulate_media(media="print", color_scheme="dark")
    await expect(page.locator("h1")).to_have_css("color", "rgb(35, 36, 31)")
    await expect(page.locator(".panel-burndown")).to_have_css(
        "background-color", "rgb(255, 255, 255)"
    )
    for coloured in (".key", "progress"):
        kept = page.locator(coloured).first
        await expect(kept).to_have_css("print-color-adjust", "exact")


async def test_times_are_in_one_zone_until_the_reader_chooses_another(
    tab: Tab, ran: Morning
) -> None:
    page = await tab.open(f"/orchestrations/tenantCreation/runs/{ran.failed}")
    time = page.locator(".panel-timeline time").first
    in_utc = await time.inner_text()
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.\d{3}", in_utc)
    assert str(await time.get_attribute("title")).endswith(f"{in_utc} UTC")
    await expect(page.locator("#zone")).to_have_value("Europe/Berlin")  # the browser's
    await page.click("text=Set time zone")
    await loaded(page)
    await expect(page.locator(".zone label")).to_contain_text("Times are in Europe/Berlin")
    in_berlin = await time.inner_text()
    assert in_berlin != in_utc
    assert in_berlin[2:] == in_utc[2:]
    await page.locator(".zone button", has_text="UTC").click()
    await loaded(page)
    await expect(time).to_have_text(in_utc)


async def test_shortcuts_lead_to_the_search_their_list_and_a_page(tab: Tab) -> None:
    page = await tab.open("/jobs")
    await page.keyboard.press("Control+k")
    await expect(page.locator("#search")).to_be_focused()
    await page.keyboard.type("?")  # typed, not pressed
    await page.keyboard.press("Escape")
    await page.keyboard.press("?")
    await expect(page.locator("h1")).to_have_text("Keyboard shortcuts")
    await page.keyboard.press("g")
    await page.keyboard.press("1")
    await expect(page.locator("h1")).to_have_text("Today")


async def test_keyboard_alone_reaches_the_page_and_an_action(tab: Tab) -> None:
    page = await tab.open("/schedules")
    await page.keyboard.press("Tab")
    await expect(page.locator(".skip")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#main")).to_be_focused()
    for _ in range(6):
        await page.keyboard.press("Tab")
        focused = await page.evaluate("document.activeElement.textContent")
        if focused == "Run now":
            break
    assert focused == "Run now"
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_contain_text("now?")


async def test_a_sprint_that_is_none_is_a_page_that_says_so(browser: Browser, ran: Morning) -> None:
    context = await browser.new_context()
    page = await Tab(await context.new_page(), ran.console).open("/sprints/NO-SUCH-SPRINT")
    await expect(page.locator("h1")).to_have_text("Not found")
    await context.close()


async def test_a_poll_takes_neither_focus_nor_open_details_nor_scroll(
    tab: Tab, ran: Morning
) -> None:
    page = await tab.open(f"/orchestrations/nobodyWorks/runs/{ran.waiting}")
    pause = page.locator("a", has_text="Pause")
    await pause.focus()
    for _ in range(2):
        async with page.expect_response("**/panels/changed*"):
            pass
    await expect(pause).to_be_focused()


async def test_one_request_asks_for_all_parts_and_none_while_the_tab_is_hidden(tab: Tab) -> None:
    page = await tab.open("/events")
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.headers.get("x-panels", request.url)))

    async def asks_once() -> bool:
        await page.evaluate("refresh(true)")  # nothing, while the page is asking by itself
        parts = [{pair.partition("=")[0] for pair in text.split()} for text in asked]
        return {"navigation", "stream", "inboxes"} in parts

    assert await eventually(asks_once)
    await page.evaluate("Object.defineProperty(document, 'hidden', {get: () => window.hides})")
    await page.evaluate("window.hides = true")

    async def is_calm() -> bool:
        return not await page.evaluate("asking")

    assert await eventually(is_calm)
    asked.clear()
    await page.evaluate("refresh(true)")
    assert asked == []
    async with page.expect_request("**/panels/changed*"):
        await page.evaluate("window.hides = false")
        await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


async def test_what_cannot_be_refreshed_says_so_until_it_can(tab: Tab) -> None:
    page = await tab.open("/jobs")
    await page.route("**/panels/changed*", lambda route: route.abort())
    await expect(page.locator(".panel-jobs.stale")).to_have_count(1)
    await page.unroute("**/panels/changed*")
    await expect(page.locator(".panel-jobs.stale")).to_have_count(0)
    tab.complaints.clear()  # of what was refused above


async def test_a_request_that_hangs_stops_none_after_it(tab: Tab) -> None:
    page = await tab.open("/jobs")
    free = asyncio.Event()

    async def hang(route: Route) -> None:
        await free.wait()
        await route.abort()

    await page.route("**/panels/changed*", hang, times=1)
    await expect(page.locator(".panel-jobs.stale")).to_have_count(1)
    await expect(page.locator(".panel-jobs.stale")).to_have_count(0)
    free.set()


async def test_a_page_of_the_release_before_is_loaded_anew(tab: Tab) -> None:
    """Its parts ask for themselves, and its scripts do not refresh those of today."""
    page = await tab.open("/jobs")
    await page.evaluate(
        """() => {
            document.body.dataset.release = "before";
            const part = document.querySelector(".panel-jobs");
            part.setAttribute("hx-get", "/jobs/panels/jobs");
            part.setAttribute("hx-trigger", "every 1s");
            part.setAttribute("hx-headers", '{"If-None-Match": "0123456789abcdef"}');
            htmx.process(part);
        }"""
    )
    await expect(page.locator("body[data-release=before]")).to_have_count(0)
    await expect(page.locator(".panel-jobs[data-refresh]")).to_have_count(1)


async def test_what_has_ended_is_not_asked_for_again(tab: Tab, ran: Morning) -> None:
    page = await tab.open(f"/orchestrations/tenantCreation/runs/{ran.failed}")
    await expect(page.locator("#pages[data-refresh]")).to_have_count(1)
    await expect(page.locator(".panel[data-refresh]")).to_have_count(0)


async def test_a_log_follows_only_while_it_is_read_at_its_end(tab: Tab, ran: Morning) -> None:
    page = await tab.open(f"/jobs/{ran.job}")
    log = page.locator("pre[data-follow]")
    await expect(log).to_contain_text("399")
    scrolled = "log => log.scrollTop"
    assert await log.evaluate(scrolled) > 1000
    await log.evaluate("log => { log.scrollTop = 100 }")
    for _ in range(2):
        async with page.expect_response("**/panels/changed*"):
            pass
    await expect(page.locator(".panel-log")).to_be_visible()
    assert await log.evaluate(scrolled) == 100
