"""Each action of the console, pressed in a real browser.

After the tests that look (by this file's name): what waits or runs there has ended here.
"""

from __future__ import annotations

import shlex
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Page, expect

from tests.browser.conftest import Tab
from tests.browser.morning import Morning
from tests.browser.pages import serious

pytestmark = [pytest.mark.browser]


async def confirm(page: Page, text: str) -> None:
    """The link, then the button of the page that asks once more."""
    await page.locator("main a.button", has_text=text).first.click()
    await expect(page.locator("h1")).to_contain_text("?")
    await page.get_by_label("Reason").fill("a drill")
    await page.locator("main button", has_text=text).click()


async def press(page: Page, text: str) -> None:
    await confirm(page, text)
    await expect(page.locator(".notice")).to_be_visible()


async def test_a_run_is_paused_resumed_and_cancelled(tab: Tab, ran: Morning) -> None:
    page = await tab.open(f"/orchestrations/nobodyWorks/runs/{ran.waiting}")
    await press(page, "Pause")
    await expect(page.locator(".panel-run")).to_contain_text("paused by local")
    await press(page, "Resume")
    await expect(page.locator(".panel-run")).not_to_contain_text("paused by local")
    await press(page, "Cancel")
    await expect(page.locator(".panel-run .verdict")).to_contain_text("Cancelled")


async def test_a_run_that_failed_is_tried_again(tab: Tab, ran: Morning) -> None:
    page = await tab.open(f"/orchestrations/tenantCreation/runs/{ran.failed}")
    await press(page, "Retry")
    await expect(page.locator(".panel-timeline")).to_contain_text("by local")


async def test_the_command_of_a_run_begins_another_like_it(tab: Tab, ran: Morning) -> None:
    page = await tab.open(f"/orchestrations/tenantCreation/runs/{ran.failed}")
    payload = await page.locator("#payload").inner_text()
    copy = page.locator(".panel-run button", has_text="Copy curl")
    curl, flag, body, url = shlex.split(await copy.get_attribute("data-copy") or "")
    assert (curl, flag) == ("curl", "--json")
    headers = {"Content-Type": "application/json"}
    at = url.removeprefix("$ORCHESTRATOR_URL")
    answer = await ran.post("orchestrator", f"{at}?wait=30", content=body, headers=headers)
    assert answer["run"] == "FAILED"
    await tab.open(f"/orchestrations/tenantCreation/runs/{answer['flowId']}")
    await expect(page.locator("#payload")).to_have_text(payload)


async def test_a_job_is_stopped(tab: Tab, ran: Morning) -> None:
    page = await tab.open(f"/jobs/{ran.job}")
    await press(page, "Stop it")
    await expect(page.locator(".panel-job .verdict")).to_contain_text("Cancelled")


async def test_a_backfill_lists_each_time_that_it_runs(tab: Tab) -> None:
    today = datetime.now(UTC).date()
    span = f"since={today - timedelta(days=1)}T00:00&before={today}T00:00&which=all"
    page = await tab.open(f"/schedules/sprint-report/backfill?{span}")
    await expect(page.locator("main table tbody tr")).to_have_count(1)
    await page.get_by_label("Reason").fill("a drill")
    await page.locator("main button", has_text="Run 1 nominal time").click()
    await expect(page.locator("h1")).to_contain_text("Backfill 1")
    await expect(page.locator(".panel-backfill tbody tr")).to_contain_text("done")
    assert await serious(page) == []


async def test_all_open_dead_letters_of_a_filter_are_sent_again(tab: Tab) -> None:
    page = await tab.open("/dead-letters?state=open&function=cycle-trigger")
    await confirm(page, "Send")
    await expect(page.locator("h1")).to_have_text("What came of them")
    assert await serious(page) == []
    row = page.locator("main table tbody tr")
    await expect(row).to_contain_text("failed again")
    await expect(row).to_contain_text("NOBODY")
    await row.get_by_role("link", name="Trace").click()
    await expect(page.locator("h1")).to_have_text("Trace")
