"""A service that hangs names itself, and leaves the rest of the page standing."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.responses import JSONResponse

from functions.console.main import console
from functions.console.runs import OPTIONAL, RECORDED
from functions.dead_letter.main import dead_letter
from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.console_browser import browser
from tests.support.kube_server import PING_SOURCES, make_kube, serving
from tests.support.kubeconfig import kubeconfig
from tests.support.kubernetes_peer import Say, kube_peer

RECORDS = ("cycle-trigger", "scrum-simulate", "scrum-report", "job-launcher")
TIMEOUTS = {"CONSOLE_PAGE_TIMEOUT_S": "0.4", "CONSOLE_SOURCE_TIMEOUT_S": "0.4"}
WITHIN_S = 2.0
NOTHING: dict[str, Any] = {
    **{name: [] for name in ("runs", "tally", "schedules", "ticks", "cycles")},
    "next": None,
}


class Hung:
    """A process that was stopped: it takes requests and answers none, until it goes on."""

    def __init__(self) -> None:
        self.goes_on = asyncio.Event()
        self.requests = 0
        self.environ: dict[str, str] = {}  # of the console, but for its timeouts

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.requests += 1
        await self.goes_on.wait()
        await JSONResponse(NOTHING)(scope, receive, send)


async def empty(scope: Any, receive: Any, send: Any) -> None:
    await JSONResponse(NOTHING)(scope, receive, send)


@pytest.fixture
async def hung(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> AsyncIterator[tuple[Cluster, Hung]]:
    """Everything answers but sprint-report."""
    hung = Hung()
    cluster.deploy(dead_letter, {"DATABASE_URL": functions_database})
    for name in (*RECORDS, "orchestrator", "scheduler", "sprint-service", "webhook-receiver"):
        cluster.add(name, empty)
    cluster.add("sprint-report", hung)
    async with serving(make_kube(tmp_path / "clock")) as url:
        async with httpx.AsyncClient(base_url=url, timeout=60) as kube:
            for name in ("sprint-report", "sprint-outbox"):
                source = {
                    "apiVersion": "sources.knative.dev/v1",
                    "kind": "PingSource",
                    "metadata": {"name": name, "namespace": "dsm"},
                    "spec": {"schedule": "30 13 * * *", "sink": {"uri": "http://example.org"}},
                }
                assert (await kube.post(PING_SOURCES, json=source)).status_code == 201
        environ = {"KUBECONFIG": kubeconfig(tmp_path, url), "KUBERNETES_NAMESPACE": "dsm"}
        hung.environ = environ
        cluster.deploy(console, environ | TIMEOUTS)
        yield cluster, hung
        hung.goes_on.set()


@pytest.mark.parametrize(
    ("pages", "expected"),
    [
        (("/", "/panels/attention"), "sprint-report has not answered for"),
        (("/", "/panels/report"), "sprint-report has not answered for"),
        (("/functions", "/functions/panels/functions"), "sprint-report is unavailable"),
        (("/", "/navigation"), 'id="pages"'),
    ],
)
async def test_a_page_and_what_it_fetches_stand_within_two_seconds(
    hung: tuple[Cluster, Hung], pages: tuple[str, str], expected: str
) -> None:
    """The frame waits for its parts, and a part for whom it asks: with the default limits."""
    cluster, stopped = hung
    cluster.deploy(console, stopped.environ)

    async def stand_soon() -> bool:
        """Busy machines only add: one look within the time shows that it does for."""
        async with browser(cluster) as client:
            began = time.monotonic()
            page, part = [(await client.get(path)).text for path in pages]
            took_s = time.monotonic() - began
        assert "<h1>" in page
        assert expected in part
        return took_s < WITHIN_S

    assert await eventually(stand_soon)


async def test_the_frame_and_the_parts_above_are_there_before_it_answers(
    hung: tuple[Cluster, Hung],
) -> None:
    cluster, stopped = hung
    sent: asyncio.Queue[bytes] = asyncio.Queue()

    async def receive() -> dict[str, Any]:
        return await asyncio.Future()  # a browser that stays

    async def send(message: dict[str, Any]) -> None:
        await sent.put(message.get("body", b""))

    headers = [(b"host", b"console.dsm.localhost")]
    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": "/",
        "query_string": b"",
        "headers": headers,
    }
    scope |= {"scheme": "http", "server": ("console", 80), "path_params": {}}
    cluster.deploy(console, {"CONSOLE_PAGE_TIMEOUT_S": "60", "CONSOLE_SOURCE_TIMEOUT_S": "60"})
    page = asyncio.ensure_future(cluster.apps["console"](scope, receive, send))
    found = b""
    while b'<div class="panels">' not in found:
        found += await asyncio.wait_for(sent.get(), 60)
    assert b"<h1>Today</h1>" in found
    assert not page.done()
    stopped.goes_on.set()
    await page


@pytest.mark.parametrize("path", ["/panels/morning", "/panels/report", "/panels/attention"])
async def test_a_part_of_today_names_it(hung: tuple[Cluster, Hung], path: str) -> None:
    async with browser(hung[0]) as client:
        page = await client.get(path)
    assert "sprint-report has not answered for" in page.text


@pytest.mark.parametrize("kubernetes", ["answers", "is away"])
async def test_no_other_function_is_unavailable(
    hung: tuple[Cluster, Hung], tmp_path: Path, kubernetes: str
) -> None:
    """Each has the whole of its time: none is asked only after the one that hangs."""
    cluster, _ = hung
    for name in {*RECORDED, *OPTIONAL} - {"sprint-report"}:
        cluster.add(name, empty)
    services = [{"metadata": {"name": name}} for name in (*RECORDED, *OPTIONAL)]

    def listed(request: str, body: Any) -> Say:
        items = services if "/services" in request else []
        return Say(200, body={"items": items, "metadata": {}})

    async with kube_peer(tmp_path, Say(500)) as peer:
        environ = dict.fromkeys(("CONSOLE_PAGE_TIMEOUT_S", "CONSOLE_SOURCE_TIMEOUT_S"), "2")
        if kubernetes == "answers":
            peer.judge = listed
            environ |= {"KUBECONFIG": peer.kubeconfig, "KUBERNETES_NAMESPACE": "dsm"}
        cluster.deploy(console, environ)
        async with browser(cluster) as client:
            page = (await client.get("/functions/panels/functions")).text
    away = re.findall(r"([\w-]+) is unavailable: ", page)
    assert away == ["sprint-report"] + (["Kubernetes"] if kubernetes == "is away" else [])
    assert page.count(">unavailable<") == 1
    assert all(f'id="runs-{name}"' in page for name in OPTIONAL)


async def test_a_function_that_is_not_deployed_is_not_waited_for(
    hung: tuple[Cluster, Hung],
) -> None:
    """Kubernetes lists none, and what is not there may be tried again for a second."""
    cluster, stopped = hung
    for name in (*RECORDED, *OPTIONAL):
        cluster.add(name, stopped if name in OPTIONAL else empty)
    timeouts = dict.fromkeys(("CONSOLE_PAGE_TIMEOUT_S", "CONSOLE_SOURCE_TIMEOUT_S"), "600")
    cluster.deploy(console, stopped.environ | timeouts)
    async with browser(cluster) as client, asyncio.timeout(60):
        page = (await client.get("/functions/panels/functions")).text
    assert 'id="runs-job-launcher"' in page
    assert all(f'id="runs-{name}"' not in page for name in OPTIONAL)


async def test_the_schedules_of_others_are_reported(hung: tuple[Cluster, Hung]) -> None:
    cluster, stopped = hung
    cluster.add("scheduler", stopped)
    async with browser(cluster) as client:
        page = (await client.get("/schedules/panels/schedules")).text
    assert "scheduler is unavailable" in page
    assert "unknown: a function is unavailable" in page
    assert "no run on record" in page  # of sprint-service, which did answer
    assert 'data-refresh="4"' in page


async def test_it_is_asked_once_however_many_look(hung: tuple[Cluster, Hung]) -> None:
    cluster, stopped = hung
    async with browser(cluster) as client:
        pages = await asyncio.gather(*(client.get("/panels/report") for _ in range(5)))
    assert all("sprint-report has not answered" in page.text for page in pages)
    assert stopped.requests == 1


async def test_what_it_answers_late_is_shown_to_who_asks_again(hung: tuple[Cluster, Hung]) -> None:
    cluster, stopped = hung
    async with browser(cluster) as client:
        assert "has not answered" in (await client.get("/panels/report")).text
        stopped.goes_on.set()

        async def is_shown() -> bool:
            return "has not answered" not in (await client.get("/panels/report")).text

        assert await eventually(is_shown)
