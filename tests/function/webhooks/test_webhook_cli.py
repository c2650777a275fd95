"""The command line against a receiver on a socket, with a job-launcher behind it."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import httpx
import pytest
import stamina
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse

from functions.events.webhook import JobCancelRequested, JobRetryRequested, TaskRequested
from functions.kit.clients.localhost import LocalhostTransport
from functions.webhook_receiver.cli import commands as cli
from functions.webhook_receiver.main import webhook_receiver
from tests.support import eventually
from tests.support import webhook_requests as make
from tests.support.cluster import Cluster, Scope
from tests.support.listening import listening

Run = Callable[..., Awaitable[tuple[int, str]]]

JOB = {"job_id": "j-1", "state": "running", "kind": "execute", "task_id": "t-1", "service": "shop"}


def task_of(state: str, status: str, reason: str = "", **more: Any) -> dict[str, Any]:
    return {
        "status": status,
        "outcome": None,
        "jobs": [{"job_id": "j-1", "state": state, "reason": reason}],
        **more,
    }


PULL = {"url": "https://github.com/acme/shop/pull/8", "commits": 1, "files": ["a.py"]}
REFUSED = {"reason": "refused", "details": ["x.yml: agents may not change this path"]}
TASKS = {
    "running": task_of("running", "in_progress"),
    "applying": task_of("succeeded", "in_progress", outcome="pending"),
    "delivered": task_of("succeeded", "completed", outcome="delivered", result=PULL),
    "refused": task_of("succeeded", "undelivered", outcome="undelivered", result=REFUSED),
    "nothing": task_of(
        "succeeded",
        "completed",
        outcome="undelivered",
        result={"reason": "nothing_to_do", "details": ["It is right."]},
    ),
    "ended": task_of("succeeded", "ended", outcome="completed"),
    "recorded": task_of("recorded", "recorded", "no claude here", outcome="recorded"),
    "failed": task_of("failed", "failed", "DeadlineExceeded"),
}


@pytest.fixture
def states(cluster: Cluster) -> list[str]:
    """A job-launcher that knows one task; its status moves on at each look."""
    states = ["running", "applying", "delivered"]

    async def launcher(scope: Scope, receive: Any, send: Any) -> None:
        url = Request(scope).url
        answer: Any = JSONResponse({"detail": "no such job"}, 404)
        if url.path == "/jobs":
            answer = JSONResponse({"jobs": [JOB], "next": None})
        elif url.path == "/jobs/j-1":
            answer = JSONResponse(JOB)
        elif url.path == "/jobs/j-1/logs":
            answer = PlainTextResponse("hello\nworld\n", headers={"X-Job-State": "succeeded"})
        elif url.path == "/tasks/t-1":
            answer = JSONResponse(TASKS[states.pop(0)])
        await answer(scope, receive, send)

    cluster.add("job-launcher", launcher)
    return states


@pytest.fixture
async def run(cluster: Cluster, webhook_database: str, states: list[str]) -> AsyncIterator[Run]:
    """Runs a command; returns its exit status and what it printed."""
    cluster.deploy(webhook_receiver, {"DATABASE_URL": webhook_database, **make.SECRETS})
    async with listening(cluster.apps["webhook-receiver"]) as url:

        async def run(*arguments: str, **environ: str) -> tuple[int, str]:
            out = io.StringIO()
            known = {"WEBHOOK_URL": url, "WEBHOOK_SECRET": make.CLI, **environ}
            code = await asyncio.to_thread(cli.main, arguments, environ=known, out=out)
            return code, out.getvalue()

        yield run


async def test_a_task_is_asked_for_and_becomes_an_event(cluster: Cluster, run: Run) -> None:
    code, output = await run(
        *("task", "create", "Fix it", "--service", "shop", "--id", "t-1", "--priority", "high"),
        *("--criterion", "it works", "--criterion", "it is fast", "--metadata", "branch=main"),
    )

    assert (code, output) == (0, "t-1 accepted\n")

    async def received() -> list[Any]:
        return cluster.sink.of(TaskRequested)

    [event] = await eventually(received)
    assert event == TaskRequested(
        task_id="t-1",
        service="shop",
        title="Fix it",
        priority="high",
        acceptance_criteria=["it works", "it is fast"],
        metadata={"branch": "main"},
        origin="cli",
    )


async def test_a_request_that_is_repeated_under_its_id_happens_once(run: Run) -> None:
    command = ("task", "create", "x", "--service", "s", "--request-id", "mine", "--json")

    answers = [json.loads((await run(*command))[1]) for _ in range(2)]

    assert [answer["repeated"] for answer in answers] == [False, True]
    assert answers[0]["task_id"] == answers[1]["task_id"]


async def test_waiting_shows_each_change_until_the_end(run: Run) -> None:
    code, output = await run(
        *("task", "create", "Fix it", "--service", "shop", "--id", "t-1", "--wait", "30")
    )

    assert (code, output.splitlines()) == (
        0,
        [
            "t-1 running ...",
            "t-1 its agent has ended, its outputs are being applied ...",
            "t-1 delivered",
            "  draft pull request https://github.com/acme/shop/pull/8: 1 commit(s) to a.py",
        ],
    )


@pytest.mark.parametrize(
    ("state", "code", "output", "error"),
    [
        ("nothing", 0, "t-1 done: there was nothing to do\n  It is right.\n", ""),
        (
            "refused",
            1,
            "t-1 undelivered: refused\n  x.yml: agents may not change this path\n",
            "error: task t-1: undelivered: refused\n",
        ),
        (
            "ended",
            1,
            "t-1 ended with exit code 0 and nothing to show: its route takes no outputs\n",
            "error: task t-1: ended with exit code 0 and nothing to show: its route takes no "
            "outputs\n",
        ),
        (
            "recorded",
            1,
            "t-1 recorded only, nothing was done: no claude here\n",
            "error: task t-1: recorded only, nothing was done: no claude here\n",
        ),
        (
            "failed",
            1,
            "t-1 failed: DeadlineExceeded\n",
            "error: task t-1: failed: DeadlineExceeded\n",
        ),
    ],
)
async def test_only_what_was_delivered_is_a_success(
    run: Run,
    states: list[str],
    capsys: pytest.CaptureFixture[str],
    state: str,
    code: int,
    output: str,
    error: str,
) -> None:
    states[:] = [state]
    assert await run("task", "follow", "t-1") == (code, output)
    assert capsys.readouterr().err == error


async def test_a_task_is_retried_once_it_has_ended(
    cluster: Cluster, run: Run, states: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    states[:] = ["running", "failed"]
    code, _ = await run("task", "retry", "t-1")
    assert (code, "has not ended: running" in capsys.readouterr().err) == (1, True)
    assert await run("task", "retry", "t-1", "--reason", "again") == (0, "t-1: accepted\n")

    async def received() -> list[JobRetryRequested]:
        return cluster.sink.of(JobRetryRequested)

    [event] = await eventually(received)
    assert (event.task_id, event.job, event.reason) == ("t-1", None, "again")
    assert (await run("task", "retry", "unknown"))[0] == 1


async def test_jobs_are_listed_for_users_and_for_programs(run: Run) -> None:
    _, table = await run("jobs", "list")
    _, document = await run("jobs", "list", "--json")

    assert table.splitlines()[0].split()[:2] == ["JOB_ID", "STATE"]
    assert table.splitlines()[1].split()[:2] == ["j-1", "running"]
    assert json.loads(document)["jobs"] == [JOB]


async def test_logs_come_line_by_line(run: Run) -> None:
    assert await run("jobs", "logs", "j-1", "--follow") == (0, "hello\nworld\n")
    _, lines = await run("jobs", "logs", "j-1", "--json")
    assert [json.loads(line) for line in lines.splitlines()] == [
        {"line": "hello"},
        {"line": "world"},
    ]


async def test_a_job_is_cancelled_by_an_event(cluster: Cluster, run: Run) -> None:
    code, _ = await run("jobs", "cancel", "j-1", "--reason", "enough")

    async def received() -> list[Any]:
        return cluster.sink.of(JobCancelRequested)

    assert code == 0
    assert await eventually(received) == [JobCancelRequested(job="j-1", reason="enough")]


async def test_deliveries_are_shown_and_sent_again(cluster: Cluster, run: Run) -> None:
    await run("task", "create", "x", "--service", "s", "--request-id", "mine")
    code, table = await run("deliveries", "list", "--source", "cli")
    assert code == 0
    assert "mine" in table
    assert (await run("deliveries", "redeliver", "mine"))[1] == "mine accepted\n"


@pytest.mark.parametrize(
    ("arguments", "environ", "code", "message"),
    [
        (["jobs", "get", "nobody"], {}, 1, "404: job-launcher answered 404: no such job"),
        (["jobs", "logs", "nobody"], {}, 1, "404: no such job"),
        (["jobs", "list"], {"WEBHOOK_SECRET": make.PM}, 1, "401: header webhook-signature"),
        (["jobs", "list"], {"WEBHOOK_SECRET": ""}, 2, ".venv/bin/python -m knative.local"),
        (["jobs", "list"], {"WEBHOOK_SECRET": "!"}, 2, "whsec_ and base64"),
        (["jobs", "list"], {"WEBHOOK_URL": "http://127.0.0.1:1"}, 1, "ConnectError"),
        (["task", "create", "x", "--service", "s", "--metadata", "a"], {}, 2, "NAME=VALUE"),
        (["deliveries", "redeliver", "nobody"], {}, 1, "404: no such delivery"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
async def test_what_goes_wrong_is_reported_in_one_line(
    run: Run,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    environ: dict[str, str],
    code: int,
    message: str,
) -> None:
    with stamina.set_testing(True, attempts=2):
        assert (await run(*arguments, **environ))[0] == code
    errors = capsys.readouterr().err
    assert message in errors
    assert len(errors.splitlines()) == 1


def test_a_name_below_localhost_is_this_machine() -> None:
    asked: list[tuple[str, str]] = []

    class Asked(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            asked.append((request.url.host, request.headers["host"]))
            return httpx.Response(200)

    class Here(LocalhostTransport, Asked):
        pass

    with httpx.Client(transport=Here()) as client:
        client.get("http://webhook-receiver.dsm.localhost:8080/")
        client.get("http://example.com/")

    assert asked == [
        ("127.0.0.1", "webhook-receiver.dsm.localhost:8080"),
        ("example.com", "example.com"),
    ]
