"""A local Knative in a child process: on a free port, with a data directory of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).resolve().parents[2]
BROKER_HOST = "broker-ingress.knative-eventing.svc.cluster.local"


@dataclass
class LocalKnative:
    """Start it with `start`; `kill` is a SIGKILL, after which `start` goes on with the data."""

    overlay: Path
    data: Path
    arguments: Sequence[str] = ()
    env: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[str] | None = None
    url: str = ""
    token: str = ""

    def start(self, *, within_s: float = 180.0) -> LocalKnative:
        """Return when it is ready; AssertionError with its words when it ends instead."""
        command = [sys.executable, "-m", "knative.local", "up", "--overlay", str(self.overlay)]
        command += ["--data", str(self.data), "--port", "0", *self.arguments]
        # Ready is what it says itself: runtime.json may be a killed one's.
        self.data.mkdir(parents=True, exist_ok=True)
        (self.data / "runtime.json").unlink(missing_ok=True)
        output = (self.data / "up.log").open("a")
        self.process = subprocess.Popen(
            command, cwd=ROOT, stdout=output, stderr=output, text=True, env=os.environ | self.env
        )
        deadline = time.monotonic() + within_s
        while not (self.data / "runtime.json").exists():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.kill()
                words = (self.data / "up.log").read_text()[-2000:]
                raise AssertionError(f"the local Knative is not ready: {words}")
            time.sleep(0.02)
        told = json.loads((self.data / "runtime.json").read_text())
        self.url, self.token = told["url"], told["token"]
        return self

    @property
    def proxy_url(self) -> str:
        """The HTTP_PROXY of the processes inside."""
        return self.url.replace("://", f"://knative:{self.token}@")

    def kill(self) -> None:
        """SIGKILL, as a power cut."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self, within_s: float = 30.0) -> int:
        """SIGTERM and wait; the exit code."""
        if self.process is None or self.process.poll() is not None:
            return 0
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(within_s)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def client(
        self, service: str = "", namespace: str = "dsm", **options: Any
    ) -> httpx.AsyncClient:
        """A client inside: of a Service by its cluster host name, or of the administration."""
        inside = {"authorization": f"Bearer {self.token}"}
        host = {"host": f"{service}.{namespace}.svc.cluster.local"} if service else {}
        headers = {**inside, **host, **options.pop("headers", {})}
        options = {"timeout": 60.0, **options}
        return httpx.AsyncClient(base_url=self.url, headers=headers, trust_env=False, **options)

    async def send(
        self, type: str, data: Any = None, *, broker: str = "dsm/default", **attributes: str
    ) -> int:
        """Send an event to the broker; the ingress's status."""
        headers = {"host": BROKER_HOST, "ce-specversion": "1.0", "ce-type": type}
        headers |= {"ce-id": f"{time.time_ns()}", "ce-source": "/test"}
        headers |= {f"ce-{name}": value for name, value in attributes.items()}
        body = b"" if data is None else json.dumps(data).encode()
        if body:
            headers["content-type"] = "application/json"
        async with self.client(headers=headers) as client:
            return (await client.post(f"/{broker}", content=body)).status_code

    async def ask(self, path: str, **query: Any) -> Any:
        """The administration's JSON: status, services, events, dead-letters, settled."""
        async with self.client() as client:
            return (await client.get(f"/_knative/{path}", params=query)).json()

    async def fire(self, schedule: str) -> int:
        """Fire a schedule now; the status of its sink."""
        async with self.client() as client:
            answer = await client.post("/_knative/fire", params={"name": schedule})
        return int(answer.json()["status"])

    async def crash_broker(self) -> int:
        """Lose what the broker holds in memory; how many deliveries that were."""
        async with self.client() as client:
            return int((await client.post("/_knative/crash-broker")).json()["lost"])

    async def settled(self) -> bool:
        """Nothing is on its way."""
        return bool((await self.ask("settled"))["settled"])


@contextlib.contextmanager
def local_knative(overlay: Path, data: Path, *arguments: str, **env: str) -> Iterator[LocalKnative]:
    """A started runtime that is stopped at the end."""
    runtime = LocalKnative(overlay, data, arguments, env).start()
    try:
        yield runtime
    finally:
        runtime.stop()
