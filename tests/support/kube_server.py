"""A local Kubernetes API on a real socket, for the tests of `knative.local.kube`."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import uvicorn

from knative.local.kube import KubeApi
from knative.local.manifests.images import Program
from tests.support import eventually

ENTRYPOINT = (sys.executable, "-c", "print('our entrypoint')")
JOBS = "/apis/batch/v1/namespaces/dsm/jobs"
PODS = "/api/v1/namespaces/dsm/pods"
CONFIG_MAPS = "/api/v1/namespaces/dsm/configmaps"
PING_SOURCES = "/apis/sources.knative.dev/v1/namespaces/dsm/pingsources"


def make_kube(store: Path, **options: Any) -> KubeApi:
    """A KubeApi with namespaces dsm and agents, and quick back-off."""
    settings: dict[str, Any] = {
        "namespaces": ["dsm", "agents"],
        "programs": {"dsm/functions": Program(ENTRYPOINT, store)},
        "environment": lambda: {"HTTP_PROXY": "http://gateway:1", "PYTHONUNBUFFERED": "1"},
        "backoff_base_s": 0.05,
    }
    return KubeApi(store, **(settings | options))


@asynccontextmanager
async def serving(kube: KubeApi, app: Any = None) -> AsyncIterator[str]:
    """Serve on a free port, behind `app` where it is given; yields the URL."""
    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        app or kube, lifespan="off", log_level="warning", timeout_graceful_shutdown=5
    )
    server = uvicorn.Server(config)
    await kube.start()
    task = asyncio.create_task(server.serve(sockets=[listener]))

    async def is_up() -> bool:
        return server.started

    await eventually(is_up)
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        await kube.stop()
        server.should_exit = True
        await task


@asynccontextmanager
async def kube_client(store: Path, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """An HTTP client of a fresh API."""
    async with (
        serving(make_kube(store, **options)) as url,
        httpx.AsyncClient(base_url=url, timeout=20, trust_env=False, verify=False) as client,
    ):
        yield client


def job(name: str = "one", *command: str, **spec: Any) -> dict[str, Any]:
    """A Job's manifest; `pod` among the spec's fields adds to its pod's spec."""
    pod = spec.pop("pod", {})
    container = {"name": "main", "image": "busybox:1", "command": list(command or ("true",))}
    container |= pod.pop("container", {})
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": name},
        "spec": {
            **spec,
            "template": {"spec": {"restartPolicy": "Never", "containers": [container], **pod}},
        },
    }


def config_map(name: str = "conf", **metadata: Any) -> dict[str, Any]:
    """A ConfigMap's manifest."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, **metadata},
        "data": {"a": "1"},
    }


def ping_source(**spec: Any) -> dict[str, Any]:
    """A PingSource's manifest; `spec` adds to its own."""
    sink = {"ref": {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "default"}}
    return {
        "apiVersion": "sources.knative.dev/v1",
        "kind": "PingSource",
        "metadata": {"name": "tick"},
        "spec": {"schedule": "30 8 * * *", "sink": sink, **spec},
    }


def python(code: str) -> tuple[str, ...]:
    """A command that runs Python code."""
    return ("python", "-c", code)


def conditions(body: Mapping[str, Any]) -> dict[str, str]:
    """The condition types that hold, with their reasons."""
    held = body.get("status", {}).get("conditions", ())
    return {c["type"]: c.get("reason", "") for c in held if c["status"] == "True"}


async def start(client: httpx.AsyncClient, manifest: Mapping[str, Any]) -> None:
    """Create a Job."""
    answer = await client.post(JOBS, json=manifest)
    assert answer.status_code == 201, answer.text


async def finished(client: httpx.AsyncClient, name: str = "one") -> dict[str, Any]:
    """The Job once it is Complete or Failed."""

    async def ended() -> dict[str, Any] | None:
        body: dict[str, Any] = (await client.get(f"{JOBS}/{name}")).json()
        return body if {"Complete", "Failed"} & set(conditions(body)) else None

    return await eventually(ended) or {}


async def pods_of(client: httpx.AsyncClient, name: str = "one") -> list[dict[str, Any]]:
    """The Job's pods, by the label that the Job controller sets."""
    answer = await client.get(PODS, params={"labelSelector": f"job-name={name}"})
    return list(answer.json()["items"])


async def log_of(client: httpx.AsyncClient, name: str = "one") -> str:
    """The log of the Job's first pod."""
    pods = await pods_of(client, name)
    answer = await client.get(f"{PODS}/{pods[0]['metadata']['name']}/log")
    return answer.text


def is_alive(pid: int) -> bool:
    """Is there a process with that id (and not only its remains)?"""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"
