"""A console whose neighbours are away, and one that asks users to sign in."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import stamina
from playwright.async_api import BrowserContext, expect

from functions.console.main import console
from functions.dead_letter.main import dead_letter
from functions.kit import cloudevents
from tests.browser.conftest import Tab
from tests.browser.console_server import served
from tests.browser.pages import serious
from tests.support.cluster import Cluster

pytestmark = [pytest.mark.browser]

DEAD_LETTER = cloudevents.Message(
    id="lost", source="/ada", type="io.dsm.cycle.requested.v1", data=b"{}"
)


async def test_a_service_that_is_away_says_so_and_is_asked_again(
    context: BrowserContext, cluster: Cluster, functions_database: str
) -> None:
    with stamina.set_testing(True, attempts=1):
        cluster.deploy(console, {"CONSOLE_LOCAL": "true"})
        async with served(cluster) as url:
            page = await Tab(await context.new_page(), url).open("/dead-letters")
            away = page.locator(".panel-dead_letters .state.away")
            await expect(away).to_contain_text("Unavailable")
            cluster.deploy(dead_letter, {"DATABASE_URL": functions_database})
            assert (await cluster.tell("dead-letter", DEAD_LETTER)).status_code == 202
            # No one presses anything: the panel asks again.
            await expect(page.locator(".panel-dead_letters tbody")).to_contain_text(
                "cycle.requested"
            )


async def test_the_navigation_counts_what_its_pages_list(
    context: BrowserContext, cluster: Cluster, functions_database: str
) -> None:
    cluster.deploy(console, {"CONSOLE_LOCAL": "true"})
    cluster.deploy(dead_letter, {"DATABASE_URL": functions_database})
    for number in range(3):
        message = replace(DEAD_LETTER, id=f"lost-{number}")
        assert (await cluster.tell("dead-letter", message)).status_code == 202
    with stamina.set_testing(True, attempts=1):
        async with served(cluster) as url:
            page = await Tab(await context.new_page(), url.replace("127.0.0.1", "localhost")).open(
                "/dead-letters?state=open"
            )
            rows = page.locator(".panel-dead_letters tbody tr")
            counted = page.locator("#pages a[href='/dead-letters'] .count")
            for left in (3, 2):
                await expect(rows).to_have_count(left)
                await expect(counted).to_have_text(re.compile(rf"^{left}\b"))
                await rows.first.locator("a").click()
                await page.locator("main a", has_text="Dismiss").click()
                await page.get_by_label("Reason").fill("a drill")
                await page.locator("main button", has_text="Dismiss").click()
                await expect(page.locator(".notice")).to_be_visible()
                # At once, on the page to which the action leads.
                await expect(counted).to_have_text(re.compile(rf"^{left - 1}\b"))
                await page.goto(url.replace("127.0.0.1", "localhost") + "/dead-letters?state=open")


async def test_one_signs_in_acts_under_that_name_and_signs_out(
    context: BrowserContext, cluster: Cluster, functions_database: str
) -> None:
    cluster.deploy(console, {"CONSOLE_TOKEN": "correct horse"})
    cluster.deploy(dead_letter, {"DATABASE_URL": functions_database})
    assert (await cluster.tell("dead-letter", DEAD_LETTER)).status_code == 202
    async with served(cluster) as url:
        page = await Tab(await context.new_page(), url).open("/dead-letters/1")
        await page.locator("main a", has_text="Sign in: Send again").click()
        await page.get_by_label("Your name").fill("José 李")
        await page.get_by_label("Token").fill("wrong")
        await page.locator("main button", has_text="Sign in").click()
        await expect(page.get_by_role("alert")).to_have_text("That is not the token.")
        assert await serious(page) == []
        await page.get_by_label("Your name").fill("José 李")
        await page.get_by_label("Token").fill("correct horse")
        await page.locator("main button", has_text="Sign in").click()
        await expect(page.locator("h1")).to_have_text("Send dead letter 1 again?")
        await page.get_by_label("Reason").fill("a drill")
        await page.locator("main button", has_text="Send again").click()
        await expect(page.locator(".panel-dead_letter tbody")).to_contain_text("José 李")

        # A link from another site shows who is signed in, and leaves it so.
        other = await context.new_page()
        await other.set_content(f'<a href="{url}/jobs">there</a>')
        await other.click("a")
        await expect(other.locator(".who")).to_contain_text("José 李")

        await page.locator("button", has_text="Sign out").click()
        await expect(page.locator(".notice")).to_have_text("You are signed out.")
        await expect(page.locator(".who")).to_contain_text("Sign in to act")
