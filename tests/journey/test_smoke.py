"""The smoke test of a cluster, against the local one: it needs the gateway and nothing else."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support import eventually
from tests.support_runtime import ROOT, LocalKnative, local_knative

pytestmark = [pytest.mark.slow, pytest.mark.timeout(240)]


def smoke(url: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "knative.smoke", "--url", url, "--within", "60"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_production_overlay_passes_on_a_laptop_twice(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    overlay, data = ROOT / "knative/overlays/production", tmp_path_factory.mktemp("p")
    with local_knative(overlay, data, "--stand-ins") as knative:
        first = smoke(knative.url)
        assert first.returncode == 0, first.stdout + first.stderr
        assert "Cycle of PHE001" in first.stdout
        assert "is filed for PHE001-S02" in first.stdout
        again = smoke(knative.url)
        assert again.returncode == 0, again.stdout + again.stderr
        assert "Cycle of" not in again.stdout
        asyncio.run(eventually(lambda: all_is_recorded(knative)))
        asyncio.run(eventually(lambda: the_console_tells_the_cycle(knative)))


async def all_is_recorded(knative: LocalKnative) -> bool:
    """Has event-recorder each event that the broker took, once? Some may be on their way."""
    async with knative.client("event-recorder") as client:
        recorded = (await client.get("/events/search?limit=500")).json()
    # Asked last: while it grows, it is never what the recorder has.
    took = await knative.ask("events/search", limit=500)
    assert 20 < len(took) < 500
    # A repeat with the same source and id is taken again, and recorded once.
    once = {named(event) for event in took}
    return len(recorded) == len(once) and {named(event) for event in recorded} == once


def named(event: dict[str, Any]) -> tuple[str, str]:
    return event["attributes"]["source"], event["attributes"]["id"]


async def the_console_tells_the_cycle(knative: LocalKnative) -> bool:
    async with knative.client("console") as client:
        page = (await client.get("/events/panels/stream?type=sprint.completed")).text
    return 'cycle-trigger <span class="chip good">handled</span>' in page


def test_nobody_there_is_said_in_words(tmp_path: Path) -> None:
    done = smoke("http://127.0.0.1:1")
    assert done.returncode == 1
    assert "project-service: ConnectError" in done.stdout
