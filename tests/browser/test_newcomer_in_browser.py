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
    await page.click(".glance a[aria-label='0 late']")
    row = page.locator("tbody tr", has_text="ORI002-S01")
    await expect(row.locator("[data-label=Forecast]")).to_contain_text("in time for")
    await row.locator("a", has_text="ORI002-S01").click()
    forecast = page.locator(".panel-burndown .verdict")
    await expect(forecast).to_contain_text("At its pace it is done on")
    await expect(forecast).to_contain_text("in time for")


async def test_did_everything_of_this_morning_go_well(tab: Tab) -> None:
    page = await tab.open("/")
    run = page.locator(".panel-morning")
    # Before the hour of the schedules it was run by hand.
    ran = re.compile("all that was due went well|Run by hand")
    await expect(run.locator("summary")).to_contain_text(ran)
    await expect(run.locator("summary")).to_contain_text("1 event on request failed: cycle-trigger")
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
    await page.click("text=Send all open ones again")
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
    await expect(page.locator(".plan")).to_contain_text("is asked to undo createClient")
    await expect(page.locator(".facts")).to_contain_text("stays as it is")


async def test_is_everything_done_that_was_due_this_week(tab: Tab) -> None:
    page = await tab.open("/")
    await page.click("#pages a:has-text('Schedules')")
    await loaded(page)
    await expect(page.locator(".panel-schedules .verdict")).to_contain_text("was handled")


async def test_what_did_a_user_do_yesterday(tab: Tab) -> None:
    page = await tab.open("/")
    await page.click(".glance a[aria-label='2 notes filed']")
    await expect(page.locator(".member .tasks p").first).to_be_visible()


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
    await expect(page.locator("h1")).to_contain_text(ran.job)
    await expect(page.locator(".panel-job .verdict")).to_contain_text("unning")


async def test_what_did_this_employee_do_at_the_last_scrum(tab: Tab) -> None:
    page = await tab.open("/")
    await page.keyboard.press("/")
    await page.keyboard.type("yuki")
    await page.keyboard.press("Enter")
    await expect(page.locator(".member:target h3")).to_contain_text("Yuki Tanaka")
    await expect(page.locator(".member:target .tasks p").first).to_be_visible()


async def test_how_much_does_a_project_complete_per_sprint(tab: Tab) -> None:
    page = await tab.open("/")
    await page.click("#pages a:has-text('Sprints')")
    await page.locator("tbody a", has_text=re.compile("^PHE001$")).first.click()
    await expect(page.locator(".panel-velocity .verdict")).to_have_text(
        "10.0 tasks per closed sprint."
    )


async def test_why_did_this_issue_start_no_agent(tab: Tab, ran: Morning) -> None:
    await ran.label(51, "agent")  # by a user of whom GitHub says nothing
    page = await tab.open("/")
    await page.click("#pages a:has-text('Agents')")
    row = page.locator(".panel-refused tbody tr", has_text="acme/shop#51")
    why = row.locator("[data-label='Why not']")
    await expect(why).to_contain_text("role could not be read")
    await page.locator(".panel-launch_routes summary").click()
    routes = page.locator(".panel-launch_routes tbody tr", has_text="issue-labelled-agent")
    await expect(routes).to_contain_text("actor triage")

    # By the search too.
    await page.keyboard.press("/")
    await page.keyboard.type("acme/shop#51")
    await page.keyboard.press("Enter")
    await expect(page.locator(".panel-stream tbody")).to_contain_text("triage or more")


async def test_what_followed_from_a_sprint_and_what_took_longest(tab: Tab) -> None:
    page = await tab.open("/")
    await page.keyboard.press("/")
    await page.keyboard.type("PHE001-S01")
    await page.keyboard.press("Enter")
    await page.locator("main a", has_text="about PHE001-S01").click()
    await page.locator(".panel-stream tbody a", has_text="sprint.completed").first.click()
    trace = page.locator(".panel-trace")
    await expect(trace).to_contain_text("cycle.completed")
    widths = "bars => bars.map(bar => bar.getBoundingClientRect().width)"
    longest = trace.locator("tbody tr", has_text="sprint.completed").locator(".span .good")
    assert max(await longest.evaluate_all(widths)) == max(
        await trace.locator(".span .good").evaluate_all(widths)
    )
