"""A launcher that is killed at any moment still makes exactly one Job of each request."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
from collections import Counter
from pathlib import Path

import httpx
import pytest

from functions.events.job import JobQueued
from functions.kit import wire
from tests.function.job_world import PYTHON_ROUTES, ROOT, asked
from tests.local.kube_server import make_kube, serving
from tests.support import eventually

REQUESTS, KILLS = 40, 3


class Process:
    """job-launcher as a process that may be killed and started again on its port."""

    def __init__(self, environ: dict[str, str]) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self._environ = os.environ | environ | {"PORT": str(self.port), "HTTP_PROXY": ""}
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-m", "functions.kit.serve"]
        self.process = subprocess.Popen(command, cwd=ROOT, env=self._environ)

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait()


@pytest.mark.slow
@pytest.mark.timeout(180)
async def test_each_request_has_one_job_whenever_the_launcher_is_killed(
    functions_database: str, tmp_path: Path
) -> None:
    (tmp_path / "routes.yaml").write_text(PYTHON_ROUTES.replace("python, -c,", "echo,"))
    async with serving(make_kube(tmp_path / "kube")) as url:
        config = {
            "clusters": [{"name": "c", "cluster": {"server": url}}],
            "users": [{"name": "u", "user": {}}],
            "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
            "current-context": "x",
        }
        (tmp_path / "kubeconfig").write_text(json.dumps(config))
        launcher = Process(
            {
                "FUNCTION_TARGET": "job_launcher",
                "DATABASE_URL": functions_database,
                "ROUTES_FILE": str(tmp_path / "routes.yaml"),
                "KUBECONFIG": str(tmp_path / "kubeconfig"),
                "KUBERNETES_NAMESPACE": "agents",
                "JOB_CONCURRENCY": "1000",
                "LOG_LEVEL": "ERROR",
            }
        )
        launcher.start()
        done: list[str] = []
        async with httpx.AsyncClient(trust_env=False, timeout=30) as client:

            async def answer(message: wire.Message) -> httpx.Response | None:
                """Deliver once; None where the launcher is away or asks to come again."""
                headers, body = wire.encode(message)
                at = f"http://127.0.0.1:{launcher.port}/"
                try:
                    response = await client.post(at, headers=headers, content=body)
                except httpx.HTTPError:
                    return None
                return response if response.is_success else None

            async def deliver(message: wire.Message) -> httpx.Response:
                async def answered() -> httpx.Response | None:
                    return await answer(message)

                found = await eventually(answered, within_s=60, every_s=0.05)
                assert found is not None
                return found

            async def request(number: int, turns: asyncio.Semaphore) -> None:
                async with turns:
                    response = await deliver(asked(f"e{number}", task=str(number)))
                    queued = wire.decode(response.headers.raw, response.content)
                    assert queued.type == JobQueued.type
                    await deliver(queued)
                    await deliver(asked(f"e{number}", task=str(number)))
                    done.append(queued.subject or "")

            async def kill_sometimes() -> None:
                for kill in range(1, KILLS + 1):

                    async def far_enough(most: int = kill * REQUESTS // (KILLS + 1)) -> bool:
                        return len(done) >= most

                    await eventually(far_enough, within_s=60)
                    launcher.kill()
                    launcher.start()

            turns = asyncio.Semaphore(8)
            try:
                await asyncio.gather(
                    kill_sometimes(), *(request(n, turns) for n in range(REQUESTS))
                )
                found = await client.get(f"{url}/apis/batch/v1/namespaces/agents/jobs")
            finally:
                launcher.kill()
        causes = Counter(
            job["metadata"]["annotations"]["jobs.dsm.io/cause"] for job in found.json()["items"]
        )
        assert causes == {f"/tests#e{number}": 1 for number in range(REQUESTS)}
        assert len(set(done)) == REQUESTS
