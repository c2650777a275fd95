"""`dsm schedules`: the next times of an expression, and what the scheduler is asked."""

from __future__ import annotations

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from functions.scheduler.cli import main
from tests.support.listening import listening

CRON = Path(__file__).with_name("cron.tsv")


def received(*arguments: str, lines: str = "", answer: httpx.Response | None = None) -> Any:
    """What a command writes, its status, and the request that it made."""
    out, asked = io.StringIO(), list[httpx.Request]()

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return answer or httpx.Response(200, json={})

    status = main(
        ["--by", "ada", *arguments],
        environ={},
        transport=httpx.MockTransport(handle),
        lines=io.StringIO(lines),
        out=out,
    )
    return status, out.getvalue(), asked


def test_the_next_times_of_an_expression() -> None:
    asked = ("--zone", "America/Chicago", "--after", "2026-03-07T12:00:00Z", "--count", "3")
    status, text, _ = received("next", "30 8 * * *", *asked)
    assert status == 0
    assert text.split() == ["2026-03-07T14:30:00Z", "2026-03-08T13:30:00Z", "2026-03-09T13:30:00Z"]


def test_lines_come_back_as_the_table_of_robfig_cron_has_them() -> None:
    rows = [line for line in CRON.read_text().splitlines() if not line.startswith("#")]
    lines = "\n".join("\t".join(row.split("\t")[:3]) for row in rows)
    status, text, _ = received("next", "-", "--count", "10", lines=lines)
    assert status == 0
    written = text.splitlines()
    assert len(written) == len(rows)
    for row, mine in zip(rows, written, strict=True):
        *given, verdict, expected = row.split("\t")
        *again, output, times = mine.split("\t")
        assert again == given
        if "@every" in row:
            continue  # which robfig/cron takes and PingSource refuses
        assert output == verdict, row
        if verdict == "next":
            assert times.split()[: len(expected.split())] == expected.split()


def test_an_expression_that_is_none_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert received("next", "0 0 * * 7")[0] == 1
    assert "'0 0 * * 7'" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "method", "path", "body"),
    [
        (["list"], "GET", "/schedules", None),
        (["show", "s"], "GET", "/schedules/s", None),
        (["ticks", "--state", "missed"], "GET", "/ticks?state=missed", None),
        (["run", "s"], "POST", "/schedules/s/run", {"by": "ada", "reason": ""}),
        (["resume", "s"], "POST", "/schedules/s/resume", {"by": "ada", "reason": ""}),
        (["backfills"], "GET", "/backfills", None),
        (["backfills", "--state", "paused"], "GET", "/backfills?state=paused", None),
        (["backfills", "3"], "GET", "/backfills/3", None),
        (["backfills", "3", "show"], "GET", "/backfills/3", None),
        *(
            (
                ["backfills", "3", action, "--reason", "r"],
                "POST",
                f"/backfills/3/{action}",
                {"by": "ada", "reason": "r"},
            )
            for action in ("pause", "resume", "cancel")
        ),
        (
            ["pause", "s", "--reason", "moving"],
            "POST",
            "/schedules/s/pause",
            {"by": "ada", "reason": "moving", "until": None},
        ),
        (
            ["backfill", "s", "--since", "a", "--before", "b", "--at-once", "3", "--run"],
            "POST",
            "/schedules/s/backfill",
            {
                "by": "ada",
                "since": "a",
                "before": "b",
                "which": "missed",
                "at_once": 3,
                "dry_run": False,
                "reason": "",
            },
        ),
    ],
)
def test_a_command_is_a_request(
    arguments: list[str], method: str, path: str, body: dict[str, Any] | None
) -> None:
    status, _, (request,) = received(*arguments)
    assert (status, request.method, request.url.raw_path.decode()) == (0, method, path)
    assert (json.loads(request.content) if request.content else None) == body


def test_a_refusal_is_shown_as_the_scheduler_has_it(capsys: pytest.CaptureFixture[str]) -> None:
    refused = httpx.Response(404, json={"detail": "no schedule s has a ledger"})
    assert received("show", "s", answer=refused)[0] == 1
    assert capsys.readouterr().err == "error: no schedule s has a ledger\n"


async def test_a_schedulers_name_below_localhost_is_this_machine() -> None:
    async def names_its_host(request: Request) -> Response:
        return JSONResponse({"host": request.url.hostname})

    app = Starlette(routes=[Route("/schedules", names_its_host)])
    async with listening(app) as url:
        named = url.replace("127.0.0.1", "scheduler.dsm.localhost")
        out = io.StringIO()
        assert await asyncio.to_thread(main, ["--url", named, "list"], environ={}, out=out) == 0
    assert json.loads(out.getvalue()) == {"host": "scheduler.dsm.localhost"}


def test_a_gateway_that_answers_in_text_is_no_traceback(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert received("list", answer=httpx.Response(502, text="upstream is away\n"))[0] == 1
    assert capsys.readouterr().err == "error: 502: upstream is away\n"
