"""A browser as far as HTTP goes: cookies, and forms that say where they come from."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

from tests.support.cluster import Cluster

HOST = "http://console.dsm.localhost:8080"
# A busy machine must not turn an answer into a late one.
UNHURRIED = {"CONSOLE_PAGE_TIMEOUT_S": "10", "CONSOLE_SOURCE_TIMEOUT_S": "20"}
# Why a test acts, where it does not say.
REASON = "the cause is mended"
# Everybody may act, as on a laptop.
LOCAL = {"CONSOLE_LOCAL": "true", **UNHURRIED}


@asynccontextmanager
async def browser(cluster: Cluster, base_url: str = HOST) -> AsyncIterator[httpx.AsyncClient]:
    """A client that keeps cookies, as a browser does, and says where its forms come from."""
    headers = {"Origin": base_url}
    async with httpx.AsyncClient(transport=cluster, base_url=base_url, headers=headers) as client:
        yield client


async def press(
    client: httpx.AsyncClient, path: str, action: str = "", **fields: str
) -> httpx.Response:
    """Open the form at `path` and send it, to another `action` where it says so."""
    page = await client.get(path)
    found = re.search(r'name="form_token" value="([^"]+)"', page.text)
    assert found, page.text
    sent = {"form_token": html.unescape(found[1]), "reason": REASON, **fields}
    return await client.post(action or path, data=sent)
