"""Of the cluster, agents' pods reach what a Job asks of agent-outputs, and nothing else."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from subprocess import Popen
from tempfile import TemporaryDirectory
from typing import IO, Any

import httpx
import kubernetes_validate
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from functions.agent_outputs import api
from functions.job_launcher.settings import LauncherSettings
from tests.contract.overlays import OVERLAYS, objects, of
from tests.support import eventually
from tests.support.listening import listening
from tests.support.repository import KNATIVE, Manifest, environment

CLUSTERS = sorted(OVERLAYS.keys() - {"local"})
CONFIG = (KNATIVE / "jobs" / "outputs" / "squid.conf").read_text()
URL = "http://outputs-proxy.agents.svc.cluster.local:8080"
AGENT = {"app.kubernetes.io/name": "agent"}
PROXY = {"app.kubernetes.io/name": "outputs-proxy"}
SQUID = shutil.which("squid", path=f"{os.environ['PATH']}:/usr/sbin") or ""


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Does a label selector fit? As far as the policies here go."""
    wanted = selector.get("matchLabels", {}).items() <= labels.items()
    for one in selector.get("matchExpressions", []):
        assert one["operator"] == "NotIn"
        wanted &= labels.get(one["key"]) not in one["values"]
    return bool(wanted)


def peers(overlay: str, labels: dict[str, str]) -> list[dict[str, Any]]:
    """Where all policies together let a pod of the namespace `agents` go; each with its ports."""
    policies = [m for m in of(overlay, "NetworkPolicy") if m["metadata"]["namespace"] == "agents"]
    mine = [
        m["spec"]
        for m in policies
        if "Egress" in m["spec"]["policyTypes"] and selects(m["spec"]["podSelector"], labels)
    ]
    assert mine, "without a policy a pod reaches everything"
    assert all("to" in rule for spec in mine for rule in spec["egress"]), "a rule for every address"
    return [
        {**peer, "ports": {port["port"] for port in rule.get("ports", [])}}
        for spec in mine
        for rule in spec["egress"]
        for peer in rule["to"]
    ]


@pytest.mark.parametrize("overlay", CLUSTERS)
def test_of_the_cluster_an_agent_s_pod_reaches_names_and_the_front(overlay: str) -> None:
    inside = [peer for peer in peers(overlay, AGENT) if "ipBlock" not in peer]
    spaces = [peer for peer in inside if "namespaceSelector" in peer]
    assert [peer["ports"] for peer in spaces] == [{53}]
    [front] = [peer for peer in inside if "namespaceSelector" not in peer]
    assert (front["podSelector"]["matchLabels"], front["ports"]) == (PROXY, {8080})
    assert peers(overlay, {"app.kubernetes.io/name": "another"}), "a pod without our labels as well"


@pytest.mark.parametrize("overlay", CLUSTERS)
def test_the_front_reaches_names_and_the_gateway(overlay: str) -> None:
    found = peers(overlay, PROXY)
    spaces = {
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for peer in found
        if "namespaceSelector" in peer
    }
    assert spaces == {"kube-system", "kourier-system"}
    assert [peer for peer in found if "except" in peer.get("ipBlock", {})] == []


@pytest.mark.parametrize("overlay", CLUSTERS)
def test_jobs_are_led_to_the_front(overlay: str) -> None:
    [launcher] = [m for m in of(overlay, "Service", "serving") if _name(m) == "job-launcher"]
    assert LauncherSettings.read(environment(launcher)).agent_outputs_url == URL
    [service] = [m for m in of(overlay, "Service", "v1") if _name(m) == "outputs-proxy"]
    [deployment] = [m for m in of(overlay, "Deployment") if _name(m) == "outputs-proxy"]
    kubernetes_validate.validate(deployment, "1.34", strict=True)
    pod = deployment["spec"]["template"]
    assert selects({"matchLabels": service["spec"]["selector"]}, pod["metadata"]["labels"])
    [squid] = pod["spec"]["containers"]
    [port] = squid["ports"]
    assert f"http_port {port['containerPort']} accel" in CONFIG
    assert [one["port"] for one in service["spec"]["ports"]] == [8080]
    assert re.fullmatch(r"ubuntu/squid@sha256:[0-9a-f]{64}", squid["image"])
    assert squid["securityContext"]["readOnlyRootFilesystem"]
    assert ("ConfigMap", "outputs-proxy") in {(m["kind"], _name(m)) for m in objects(overlay)}


def test_a_laptop_asks_agent_outputs_itself() -> None:
    [launcher] = [m for m in of("local", "Service", "serving") if _name(m) == "job-launcher"]
    behind = LauncherSettings.read(environment(launcher)).agent_outputs_url
    assert f"defaultsite={behind.removeprefix('http://')} no-vhost" in CONFIG
    [deployment] = [m for m in of("production", "Deployment") if _name(m) == "outputs-proxy"]
    assert deployment["metadata"]["annotations"]["knative-local/in-front-of"] == behind


def test_it_has_the_routes_that_a_grant_proves() -> None:
    """A new one has to be added in squid.conf; what needs no grant must not be."""
    [names] = re.findall(r"\^/jobs/\[a-z0-9-\]\+/\(([a-z|]+)\)\$", CONFIG)
    granted = {one.path for one in api.ROUTES if one.path.startswith("/jobs/")}
    assert granted == {f"/jobs/{{job}}/{name}" for name in names.split("|")}
    assert re.findall(r"request_body_max_size (\d+) MB", CONFIG) == ["31"]
    assert api.MAX_BYTES < 31 * 1024 * 1024


@pytest.fixture
async def front(tmp_path: Path) -> AsyncIterator[tuple[httpx.AsyncClient, list[str]]]:
    """Squid with the shipped configuration, before an application that notes what it is asked."""
    asked: list[str] = []

    async def note(request: Request) -> PlainTextResponse:
        body = await request.body()
        asked.append(f"{request.method} {request.headers['host']} {request.url.path} {len(body)}")
        return PlainTextResponse("done")

    app = Starlette(routes=[Route("/{path:path}", note, methods=["GET", "POST"])])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with listening(app) as url:
        behind = url.removeprefix("http://").replace("127.0.0.1", "localhost")
        config = CONFIG.replace("http_port 8080", f"http_port 127.0.0.1:{port}")
        config = config.replace("agent-outputs.dsm.svc.cluster.local", behind)
        config = re.sub("access_log .*", "access_log none", config)
        config = config.replace("shutdown_lifetime 5", "shutdown_lifetime 0")
        # Squid does not run as root, and another account reads nothing of pytest's folder.
        with TemporaryDirectory() as folder, (tmp_path / "printed").open("w") as printed:
            Path(folder).chmod(0o755)
            file = Path(folder) / "squid.conf"
            file.write_text(config)
            account: dict[str, Any] = {}
            if os.geteuid() == 0:
                account = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            command = [SQUID, "-N", "-n", f"test{port}", "-d", "1", "-f", str(file)]
            squid = _started(command, printed, account)
            try:
                async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:

                    async def answers() -> bool:
                        assert squid.poll() is None, (tmp_path / "printed").read_text()
                        try:
                            return (await client.get("/")).status_code == 403
                        except httpx.ConnectError:
                            return False

                    await eventually(answers)
                    yield client, asked
            finally:
                squid.terminate()
                squid.wait(20)


@pytest.mark.skipif(not SQUID, reason="squid is missing: apt-get install squid")
async def test_squid_lets_these_requests_through_and_no_others(
    front: tuple[httpx.AsyncClient, list[str]],
) -> None:
    client, asked = front
    large = b"x" * api.MAX_BYTES
    answer = await client.post("/jobs/job-1/outputs", content=large, timeout=60)
    assert answer.text == "done", answer.text
    elsewhere = {"Host": "job-launcher.dsm.svc.cluster.local"}
    await client.post("/jobs/job-1/workspace", headers=elsewhere)
    [first, second] = asked
    host = first.split()[1]
    assert first == f"POST {host} /jobs/job-1/outputs {api.MAX_BYTES}"
    assert second == f"POST {host} /jobs/job-1/workspace 0", "whatever host is asked for"

    for method, path in (
        ("POST", "/"),  # an event
        ("GET", "/jobs/job-1/outputs"),
        ("POST", "/jobs/job-1/approve"),
        ("POST", "/jobs/job-1/outputs/"),
        ("POST", "/jobs/job-1/outputs?x=1"),
        ("POST", "/jobs/%2e%2e/outputs"),
        ("POST", "/jobs/a%2f..%2fb/outputs"),
        ("POST", "/jobs/%252e/outputs"),
        ("GET", "/outputs"),
        ("GET", "/squid-internal-mgr/info"),
    ):
        answer = await client.request(method, path)
        assert answer.status_code == 403, path
    reader, writer = await asyncio.open_connection(client.base_url.host, client.base_url.port)
    writer.write(
        b"POST /jobs/job-1/outputs HTTP/1.1\r\nHost: x\r\nContent-Length: 33000000\r\n\r\n"
    )
    assert b" 413 " in await reader.readline()
    writer.close()
    assert len(asked) == 2


def _started(command: list[str], printed: IO[str], account: dict[str, Any]) -> Popen[bytes]:
    return Popen(command, stderr=printed, cwd="/", **account)


def _name(found: Manifest) -> str:
    return str(found["metadata"]["name"])
