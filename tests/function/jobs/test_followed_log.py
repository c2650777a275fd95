"""`jobs logs --follow` through a gateway that waits no longer than two seconds for an answer."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

from starlette.responses import PlainTextResponse

from functions.webhook_receiver.cli import commands as cli
from functions.webhook_receiver.main import webhook_receiver
from tests.support import webhook_requests as make
from tests.support.cluster import App, Cluster, Scope
from tests.support.job_world import job_world, run_python
from tests.support.listening import listening

TIMEOUT_S = 2.0
# Longer silent than the gateway waits, then longer at work.
SLOW = """
import time
time.sleep(4)
for n in range(10):
    print(n, flush=True)
    time.sleep(0.4)
"""


def impatient(app: App, statuses: list[int]) -> App:
    """As Knative: 504 where nothing was answered within `timeoutSeconds`."""

    async def gateway(scope: Scope, receive: Any, send: Any) -> None:
        begun = False

        async def sending(message: Any) -> None:
            nonlocal begun
            begun = True
            if message["type"] == "http.response.start":
                statuses.append(message["status"])
            await send(message)

        try:
            async with asyncio.timeout(TIMEOUT_S):
                await app(scope, receive, sending)
        except TimeoutError:
            assert not begun
            statuses.append(504)
            await PlainTextResponse("Gateway Timeout", 504)(scope, receive, send)

    return gateway


async def test_every_line_arrives_and_the_end_is_seen(
    cluster: Cluster, functions_database: str, webhook_database: str, tmp_path: Path
) -> None:
    statuses: list[int] = []
    async with job_world(cluster, functions_database, tmp_path) as world:
        cluster.deploy(webhook_receiver, {"DATABASE_URL": webhook_database, **make.SECRETS})
        await world.tell(run_python("import time; time.sleep(3)", group="g", task="first"))
        await world.tell(run_python(SLOW, group="g", task="queued"))
        (job,) = await world.jobs(task="queued")
        assert job["state"] == "queued"

        async with listening(impatient(cluster.apps["webhook-receiver"], statuses)) as url:
            out = io.StringIO()
            code = await asyncio.to_thread(
                cli.main,
                ("jobs", "logs", job["job_id"], "--follow"),
                environ={"WEBHOOK_URL": url, "WEBHOOK_SECRET": make.CLI},
                out=out,
            )

    assert (code, out.getvalue().split()) == (0, [str(n) for n in range(10)])
    assert 504 in statuses, "the gateway's patience was too short for a question"
