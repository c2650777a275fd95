"""Ten states of the console look as their pictures do: no style is lost, nothing has moved."""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser

from tests.browser.pictures import FOLDER, STATES, difference, fixed_console, take

pytestmark = [pytest.mark.browser]

# Another font differs by 3.3 % at most; a lost padding, column or width by 7 % and more.
TOLERANCE = 0.04


@pytest.fixture(scope="module")
async def console() -> AsyncIterator[str]:
    async with fixed_console() as url:
        yield url


def kept(name: str) -> str:
    return base64.b64encode((FOLDER / f"{name}.png").read_bytes()).decode()


@pytest.mark.parametrize("name", STATES)
async def test_a_state_looks_as_its_picture(browser: Browser, console: str, name: str) -> None:
    seen = await take(browser, console, STATES[name])
    assert await difference(browser, seen, kept(name)) <= TOLERANCE


@pytest.mark.parametrize("font", ["Liberation Sans", "Liberation Serif", "DejaVu Sans"])
async def test_a_machine_with_another_font_sees_the_same(
    browser: Browser, console: str, font: str
) -> None:
    style = f"* {{ font-family: '{font}' !important; }}"
    seen = await take(browser, console, STATES["sprint"], style)
    assert await difference(browser, seen, kept("sprint")) <= TOLERANCE


@pytest.mark.parametrize(
    "style", [".panel { padding: 0 !important; }", ".side { display: none !important; }"]
)
async def test_a_broken_layout_is_seen(browser: Browser, console: str, style: str) -> None:
    seen = await take(browser, console, STATES["sprint"], style)
    assert await difference(browser, seen, kept("sprint")) > TOLERANCE
