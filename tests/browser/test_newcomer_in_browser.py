"""What a newcomer asks of the console: each question is answered from the first page.

Only links, buttons and the search that a page shows are used, as a newcomer knows no address.
"""

from __future__ import annotations

import re

import pytest
from playwright.async_api import expect

from tests.browser.conftest import Tab, loaded
from tests.browser.morning import Morning

pytestmark = [pytest.mark.browser]


async def test_which_sprint_will_be_late(tab: Tab) -> None:
    page = await tab.open("/")
    await expect(page.locator(".glance a[aria-label='0 late']")).to_be_visible()
    await page.click("#pages a:has-text('Sprints')")
    await page.locator("tbody a", has_text="ORI002-S01").click()
    forecast = page.locator(".panel-burndown .verdict")
    await expect(forecast).to_contain_text("At its pace it is done on")
    await expect(forecast).to_contain_text("in time for")


async def test_did_everything_of_this_morning_go_well(tab: Tab) -> None:
    page = await tab.open("/")
    run = page.locator(".panel-morning")
    await expect(run.locator("summary")).to_contain_text("all of it went well")
    await run.locator("summary").click()
    for function in ("sprint-report", "cycle-trigger", "scrum-simulate", "scrum-report"):
        await expect(run.locator("tbody tr", has_text=function).first).to_be_visible()


async def test_why_was_this_event_given_up(tab: Tab) -> None:
    page = await tab.open("/")
    await page.locator(".panel-attention a", has_text="cycle.requested").click()
    await expect(page.locator(".verdict")).to_contain_text("Project NOBODY not found")


async def test_send_the_failed_events_of_last_night_again(tab: Tab) -> None:
    page = await tab.open("/")
    await page.click("#pages a:has-text('Dead letters')")
    await page.click("text=Send all open ones of this filter again")
    await expect(page.locator("h1")).to_contain_text("again?")
    await expect(page.locator("main button.primary")).to_have_text("Send again")


async def test_what_does_this_orchestration_wait_for(tab: Tab) -> None:
    page = await tab.open("/")
    await page.locator(".panel-attention a", has_text="nobodyWorks").click()
    await expect(page.locator(".verdict")).to_contain_text("no service has registered as worker")


async def test_what_would_undoing_this_run_do(tab: Tab, ran: Morning) -> None:
    await ran.orchestrate()  # another test may have undone the run that there was
    page = await tab.open("/")
    await page.click("#pages a:has-text('Orchestrations')")
    await page.locator(f"#run-{ran.flow}").click()
    await page.click("main a.button:has-text('Undo')")
    plan = page.locator(".facts")
    await expect(plan).to_contain_text("createClient")
    await expect(plan).to_contain_text("stays as it is")


async def test_is_everything_done_that_was_due_this_week(tab: Tab) -> None:
    page = await tab.open("/")
    await page.click("#pages a:has-text('Schedules')")
    await loaded(page)
    await expect(page.locator(".panel-schedules .verdict")).to_contain_text("was handled")


async def test_what_did_a_person_do_yesterday(tab: Tab) -> None:
    page = await tab.open("/")
    await page.locator(".glance a", has_text="2").last.click()
    await page.locator(".panel-scrums summary").click()
    await expect(page.locator(".member .tasks p").first).not_to_be_empty()


async def test_which_function_failed_in_the_last_hour(tab: Tab) -> None:
    page = await tab.open("/")
    await page.click("#pages a:has-text('Functions')")
    await loaded(page)
    row = page.locator(".panel-functions tbody tr", has_text="cycle-trigger").first
    await expect(row.locator("[data-label=Failed]")).to_have_text(re.compile("^[1-9]"))
    await expect(page.locator(".panel-functions")).to_contain_text("NOBODY not found")


async def test_what_became_of_the_agent_of_this_issue(tab: Tab, ran: Morning) -> None:
    page = await tab.open("/")
    await page.keyboard.press("/")
    await expect(page.locator("#search")).to_be_focused()
    await page.keyboard.type("acme/shop#42")
    await page.keyboard.press("Enter")
    await expect(page.locator("h1")).to_have_text(ran.job)
    await expect(page.locator(".panel-job .verdict")).to_contain_text("unning")
