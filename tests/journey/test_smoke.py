"""The smoke test of a cluster, against the local one: it needs the gateway and nothing else."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from typing import Any

import pytest
from aiohttp import web

from tests.support import eventually
from tests.support.local_knative import ROOT, LocalKnative, local_knative

pytestmark = [pytest.mark.slow]


def smoke(url: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "knative.smoke", "--url", url, "--within", "60"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_production_overlay_passes_on_a_laptop_twice(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    overlay, data = ROOT / "knative/overlays/production", tmp_path_factory.mktemp("p")
    with local_knative(overlay, data, "--stand-ins") as knative:
        first = smoke(knative.proxy_url)
        assert first.returncode == 0, first.stdout + first.stderr
        assert "Cycle of PHE001" in first.stdout
        assert "is filed for PHE001-S02" in first.stdout
        again = smoke(knative.proxy_url)
        assert again.returncode == 0, again.stdout + again.stderr
        assert "Cycle of" not in again.stdout
        asyncio.run(eventually(lambda: all_is_recorded(knative)))
        asyncio.run(eventually(lambda: the_console_tells_the_cycle(knative)))


async def all_is_recorded(knative: LocalKnative) -> bool:
    """Has event-recorder each event that the broker took, once? Some may be on their way."""
    async with knative.client("event-recorder") as client:
        recorded = (await client.get("/events/search?limit=500")).json()["events"]
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


def test_a_missing_server_is_reported_with_a_reason() -> None:
    done = smoke("http://127.0.0.1:1")
    assert done.returncode == 1
    assert "project-service: ConnectError" in done.stdout
    assert "http://127.0.0.1:1" in done.stdout


@pytest.mark.parametrize("url", ["http://[::1", "http://127.0.0.1:99999", "ftp://host", "host:80"])
def test_what_is_no_address_is_reported_with_a_reason(url: str) -> None:
    done = smoke(url)
    assert (done.returncode, done.stdout) == (2, "")
    assert f"--url {url}: " in done.stderr


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (200, "<html>Sign in</html>", "project-service answered what is no JSON: '<html>Sign in"),
        (404, "", "knows no host project-service.dsm.svc.cluster.local: is it the gateway inside"),
        (200, "{}", "an answer has another format"),
    ],
)
async def test_a_gateway_of_something_else_is_reported_with_a_reason(
    status: int, body: str, message: str
) -> None:
    async def answer(_: web.Request) -> web.Response:
        return web.Response(status=status, text=body)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    done = await asyncio.to_thread(smoke, f"http://127.0.0.1:{runner.addresses[0][1]}")
    await runner.cleanup()
    assert done.returncode == 1, done.stderr
    assert message in done.stdout
