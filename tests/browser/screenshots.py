"""`python -m tests.browser.screenshots FOLDER`: the README's pictures, of a morning that ran."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tests.browser.chromium import chromium
from tests.browser.conftest import Tab
from tests.browser.morning import morning


async def take(folder: Path) -> None:
    folder.mkdir(exist_ok=True)
    async with morning(badly=False) as ran, chromium() as browser:
        for name, path, scheme in (
            ("console-today", "/", "light"),
            ("console-trace", f"/events/trace?correlation={ran.trace}", "dark"),
            ("console-sprint", "/sprints/ORI002-S01", "light"),
        ):
            context = await browser.new_context(
                viewport={"width": 1280, "height": 860},
                color_scheme="dark" if scheme == "dark" else "light",
                timezone_id="Europe/Berlin",
            )
            tab = Tab(await context.new_page(), ran.console)
            page = await tab.open(path)
            await page.screenshot(path=folder / f"{name}.png")
            await context.close()


if __name__ == "__main__":
    asyncio.run(take(Path(sys.argv[1] if len(sys.argv) > 1 else ".github")))
