"""The process's entry point, as a real process."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import functions_framework
import httpx
import psutil
import pytest

from functions.kit import cloudevents
from tests.support import eventually, slow_target
from tests.support.cluster import message_of
from tests.support.issuer import Issuer, bearer
from tests.support.slow_target import NapAsked, Napped

SOURCE = Path(slow_target.__file__)
ROOT = SOURCE.parent.parent.parent


@asynccontextmanager
async def served(
    at: str = "/health", **environ: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, str]]:
    """A running process and its URL, once a GET `at` a path is a success."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port = listener.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    process = await start(PORT=str(port), **environ)
    try:
        shown = {"X-Gateway-Token": environ.get("GATEWAY_TOKEN", "")}
        await eventually(lambda: _healthy(process, f"{url}{at}", shown))
        yield process, url
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def start(**environ: str) -> asyncio.subprocess.Process:
    base = {"PATH": os.environ["PATH"], "FUNCTION_TARGET": "slow_target"}
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "functions.kit.process.serve"),
        env={**base, "FUNCTION_SOURCE": str(SOURCE), **environ},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def _healthy(process: asyncio.subprocess.Process, url: str, headers: dict[str, str]) -> bool:
    assert process.returncode is None, await process.communicate()
    # Asked often: without the authorities of TLS, which take longer to read than the answer.
    async with httpx.AsyncClient(timeout=60, verify=False) as client:
        try:
            return (await client.get(url, headers=headers)).status_code == 200
        except httpx.TransportError:
            return False


async def _nap(url: str, seconds: float) -> httpx.Response:
    headers, body = cloudevents.encode(message_of(NapAsked(seconds=seconds), id="nap"))
    async with httpx.AsyncClient(timeout=90) as client:
        return await client.post(url, headers=headers, content=body)


async def _refuses(url: str) -> bool:
    async with httpx.AsyncClient(timeout=60, verify=False) as client:
        try:
            await client.get(f"{url}/health")
        except httpx.TransportError:
            return True
    return False


async def test_an_event_is_answered_by_the_process() -> None:
    async with served() as (_, url):
        response = await _nap(url, 0)
        assert cloudevents.decode(response.headers.raw, response.content).type == Napped.type


async def test_functions_framework_serves_the_same_target() -> None:
    # As its command does, without being asked for ASGI.
    app = functions_framework.create_app("slow_target", str(SOURCE))
    headers, body = cloudevents.encode(message_of(NapAsked(), id="nap"))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://framework") as client:
        response = await client.post("/", headers=headers, content=body)
    assert cloudevents.decode(response.headers.raw, response.content).type == Napped.type


async def test_a_process_does_not_load_the_framework() -> None:
    look = "import sys, functions.kit.process.serve; print(sorted(sys.modules))"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", look), cwd=ROOT, stdout=asyncio.subprocess.PIPE
    )
    loaded, _ = await process.communicate()
    assert b"'starlette'" in loaded
    assert b"'functions_framework'" not in loaded
    assert b"'flask'" not in loaded


LOADED = """
import asyncio, os, sys
from functions.kit.process.serve import Application, source_of
target, module = sys.argv[1:]

async def live():
    async def receive():
        return {}

    async def send(message):
        if message["type"] == "lifespan.startup.complete":
            print(module in sys.modules, flush=True)
            os._exit(0)  # what it has begun needs a database

    await Application(target, source_of(target))({"type": "lifespan"}, receive, send)

asyncio.run(live())
"""
ISSUER = {
    "USER_ISSUER_URL": "https://login.example.org",
    "USER_CLIENT_ID": "console",
    "USER_OPERATORS": "*",
    "CONSOLE_TOKEN": "a key",
    "CONSOLE_URL": "https://console.example.org",
}


@pytest.mark.parametrize(
    ("target", "module", "environ"),
    [
        ("sprint_report", "jwt", {}),
        ("sprint_report", "functions.kit.clients.http", {"TIMEOUT_SECONDS": "60"}),
        ("daily_scrum_service", "pydantic.v1", {"TIMEOUT_SECONDS": "60"}),
        ("sprint_report", "jwt", {"OIDC_AUDIENCE": "dsm"}),
        ("agent_status", "jwt", {"GITHUB_APP_ID": "1", "GITHUB_APP_PRIVATE_KEY": "key"}),
        ("job_launcher", "jwt", {"GRANT_KEY": "g" * 32}),
        ("agent_outputs", "jwt", {"GRANT_KEY": "g" * 32}),
        ("console", "jwt", ISSUER),
        ("console", "oauthlib.oauth2", ISSUER),
    ],
)
async def test_what_takes_long_to_load_is_there_before_a_request_where_settings_need_it(
    target: str, module: str, environ: dict[str, str], tmp_path: Path
) -> None:
    routes = tmp_path / "routes.yaml"
    routes.write_text("routes: [{name: none, match: {type: io.dsm.x.v1}, ignore: none}]")

    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", LOADED, target, module),
        env={"PATH": os.environ["PATH"], "ROUTES_FILE": str(routes), **environ},
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate()
    assert printed.splitlines()[-1:] == [b"True" if environ else b"False"]


@pytest.mark.slow
@pytest.mark.parametrize("seconds", [40])
async def test_a_request_that_takes_forty_seconds_survives_sigterm(seconds: float) -> None:
    async with served(TIMEOUT_SECONDS="60") as (process, url):
        napping = asyncio.create_task(_nap(url, seconds))
        fast = await _nap(url, 0)  # the slow one was sent before: it is inside by now
        assert fast.status_code == 200
        process.send_signal(signal.SIGTERM)
        await eventually(lambda: _refuses(url))
        response = await napping
        assert response.status_code == 200
        assert response.json() == {"seconds": seconds}
        await asyncio.wait_for(process.wait(), 60)


async def test_draining_ends_when_the_timeout_does() -> None:
    async with served(TIMEOUT_SECONDS="1") as (process, url):
        napping = asyncio.create_task(_nap(url, 80))
        assert (await _nap(url, 0)).status_code == 200
        process.send_signal(signal.SIGTERM)
        await asyncio.wait_for(process.wait(), 60)
        with pytest.raises(httpx.HTTPError):
            (await napping).raise_for_status()


async def test_a_process_lives_on_without_its_database_and_says_that_it_cannot_work() -> None:
    environ = {"FUNCTION_TARGET": "dead_letter", "FUNCTION_SOURCE": ""}
    environ |= {"DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nowhere"}
    async with (
        served("/health/live", **environ) as (_, url),
        httpx.AsyncClient(timeout=60) as client,
    ):
        ready = await client.get(f"{url}/health")
        assert (ready.status_code, ready.json()["status"]) == (503, "unavailable")
        assert (await client.get(f"{url}/health/live")).json() == {"status": "ok"}


async def test_logs_are_json_lines_that_carry_the_event() -> None:
    async with served(LOG_LEVEL="DEBUG") as (process, url):
        await _nap(url, 0)
        headers, _ = cloudevents.encode(message_of(NapAsked(), id="bad"))
        async with httpx.AsyncClient(timeout=60) as client:
            await client.post(url, headers=headers, content=b'{"seconds":"x"}')
        process.terminate()
        assert process.stdout is not None
        lines = [json.loads(line) for line in (await process.stdout.read()).splitlines()]
    assert lines
    assert all({"time", "level", "event"} <= line.keys() for line in lines)
    handled = [line for line in lines if line.get("event_id") == "nap"]
    assert handled[0]["event_type"] == NapAsked.type
    assert handled[0]["function"] == "slow_target"
    assert handled[0]["correlation_id"] == "nap"


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"FUNCTION_SOURCE": "", "FUNCTION_TARGET": "nobody"}, "'nobody' is none of"),
        ({"PORT": "many"}, "setting PORT"),
        ({"FUNCTION_TARGET": "missing"}, "has no function 'missing'"),
        ({"LOG_LEVEL": "LOUD"}, "setting LOG_LEVEL"),
        ({"K_CE_OVERRIDES": "[1]"}, "setting K_CE_OVERRIDES"),
        ({"K_CE_OVERRIDES": '{"extensions": {"Two words": "x"}}'}, "setting K_CE_OVERRIDES"),
    ],
    ids=[
        "unknown target",
        "bad port",
        "no such function",
        "bad log level",
        "no overrides",
        "bad name",
    ],
)
async def test_what_cannot_start_says_why_in_one_line(
    environ: dict[str, str], message: str
) -> None:
    process = await start(**environ)
    _, errors = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert message in errors.decode()
    assert len(errors.decode().splitlines()) == 1


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.example"}, {"Origin": "null"}, {"Sec-Fetch-Site": "cross-site"}],
    ids=["another origin", "an opaque origin", "another site"],
)
async def test_a_page_of_another_site_changes_nothing(headers: dict[str, str]) -> None:
    async with served() as (_, url), httpx.AsyncClient(base_url=url, timeout=60) as client:
        # A browser sends these without asking first: no preflight protects us.
        plain = {"Content-Type": "text/plain"}
        refused = await client.post("/", content='{"seconds": 0}', headers=plain | headers)
        assert refused.status_code == 403
        assert "another site" in refused.json()["detail"]
        assert (await client.post("/", json={"seconds": 0})).status_code == 200
        own = {"Origin": url, "Sec-Fetch-Site": "same-origin"}
        assert (await client.post("/", json={"seconds": 0}, headers=own)).status_code == 200
        mapped = {"Origin": "https://dsm.example", "X-Forwarded-Host": "dsm.example"}
        assert (await client.post("/", json={"seconds": 0}, headers=mapped)).status_code == 200
        assert (await client.get("/health", headers=headers)).status_code == 200


async def test_a_process_is_not_reached_by_a_name_or_an_address_that_is_not_its_own() -> None:
    environ = {"SERVER_HOST": "127.0.0.1", "ALLOWED_HOSTS": "nap.dsm.localhost,127.0.0.1"}
    async with (
        served(**environ) as (process, url),
        httpx.AsyncClient(base_url=url, timeout=60) as client,
    ):
        port = httpx.URL(url).port
        listening = {
            one.laddr.ip
            for one in psutil.Process(process.pid).net_connections("inet")
            if one.status == psutil.CONN_LISTEN
        }
        assert listening == {"127.0.0.1"}
        for host, status in {
            "nap.dsm.localhost": 200,
            f"NAP.dsm.localhost:{port}": 200,
            f"127.0.0.1:{port}": 200,
            f"evil.example:{port}": 421,
            f"nap.dsm.localhost.evil.example:{port}": 421,
            "[": 421,
        }.items():
            answer = await client.post("/", headers={"host": host}, json={"seconds": 0})
            assert answer.status_code == status, (host, answer.text)
        health = await client.get("/health", headers={"host": "evil.example"})
        assert health.status_code == 421


async def test_a_process_behind_a_gateway_answers_no_other_at_its_port() -> None:
    async with (
        served(GATEWAY_TOKEN="secret") as (_, url),
        httpx.AsyncClient(base_url=url) as client,
    ):
        for path in ("/", "/health", "/metrics", "/runs"):
            for shown in ({}, {"X-Gateway-Token": "wrong"}):
                assert (await client.get(path, headers=shown)).status_code == 403, path
        answer = await client.post("/", json={}, headers={"X-Gateway-Token": "secret"})
    assert answer.status_code == 200


async def test_a_process_that_asks_for_tokens_counts_who_has_none() -> None:
    async with (
        served(OIDC_AUDIENCE="a", OIDC_ISSUER_URL="http://127.0.0.1:1") as (_, url),
        httpx.AsyncClient(base_url=url) as client,
    ):
        assert (await client.post("/", json={})).status_code == 401
        unread = await client.post("/", json={}, headers=bearer(Issuer().token()))
        assert unread.status_code == 503, "its issuer is away"
        counted = (await client.get("/metrics")).text
    assert 'function_failed_total{function="slow-target",kind="unauthenticated"} 1' in counted
    assert 'function_failed_total{function="slow-target",kind="temporary"} 1' in counted
