"""One function of a real runtime hangs: it is named, and the rest of each page stands soon."""

from __future__ import annotations

import asyncio
import html
import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support import eventually
from tests.support.local_knative import LocalKnative, local_knative
from tests.support.warm_data import OVERLAY, WarmData

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

HUNG = "sprint-report"
WITHIN_S = 2.0
PAGES = ("/", "/schedules", "/functions", "/sprints", "/dead-letters", "/jobs", "/orchestrations")
SECTION = re.compile(r'<section class="panel .*?</section>', re.DOTALL)
LOADING = re.compile(r'hx-get="([^"]+)" hx-trigger="load"')
LACKING = re.compile(r'class="state (away|error|loading)"')


@pytest.fixture
def knative(tmp_path: Path, warm_data: WarmData) -> Iterator[LocalKnative]:
    data = warm_data.copy_to(tmp_path / "d")
    with local_knative(OVERLAY, data, "--idle", "600") as runtime:
        yield runtime


async def shown(client: httpx.AsyncClient, path: str) -> list[str]:
    """The parts of a page as a browser has them: what is loading is fetched, all at once."""
    page = (await client.get(path)).text
    sections = SECTION.findall(page)
    assert sections, page
    later = [html.unescape(one[1]) for section in sections if (one := LOADING.search(section))]
    answers = await asyncio.gather(*map(client.get, later))
    there = [section for section in sections if not LOADING.search(section)]
    return [*there, *(answer.text for answer in answers)]


async def test_a_function_that_hangs_is_named_and_the_rest_stands_within_two_seconds(
    knative: LocalKnative,
) -> None:
    async with knative.client("console") as client:

        async def all_stand() -> bool:
            """Everything has started, and every part is there."""
            parts = [part for path in PAGES for part in await shown(client, path)]
            return not any(LACKING.search(part) for part in parts)

        assert await eventually(all_stand)
        (pid,) = [one["pid"] for one in await knative.ask("services") if one["name"] == HUNG]
        os.kill(pid, signal.SIGSTOP)
        try:
            named = 0
            for path in PAGES:

                async def stands_soon(path: str = path) -> list[str] | None:
                    """A busy machine only adds: one look within the time shows what it takes."""
                    began = time.monotonic()
                    parts = await shown(client, path)
                    return parts if time.monotonic() - began < WITHIN_S else None

                parts = await eventually(stands_soon)
                assert parts is not None
                lacking = [part for part in parts if LACKING.search(part)]
                assert all(HUNG in part for part in lacking), (path, lacking)
                named += len(lacking)
            assert named, "some part says who hangs"
        finally:
            os.kill(pid, signal.SIGCONT)
        assert await eventually(all_stand)
