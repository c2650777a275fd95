"""Chromium for the tests: Debian's, or the one that CHROMIUM names.

Its headless shell where that is installed: without a browser around its pages, it needs half the
processor time.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from playwright.async_api import Browser, async_playwright

NAMES = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
HOW = (
    "There is no Chromium here. On Debian: apt-get install chromium-headless-shell; elsewhere "
    "install Chrome or Chromium and name it: make test-browser CHROMIUM=/path/to/chromium"
)
_FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def executable() -> str | None:
    """Where Chromium is; None where there is none."""
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """A headless Chromium."""
    found = executable()
    if found is None:
        raise LookupError(HOW)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=found, args=list(_FLAGS))
        yield browser
        await browser.close()


if __name__ == "__main__":
    if executable() is None:
        sys.exit(HOW)
