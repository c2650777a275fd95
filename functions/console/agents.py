"""Agents: what came of each issue, what it cost, and which requests were refused."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import Any

from starlette.routing import Route

from functions.console.ask import Ask, Row
from functions.console.formatting import count
from functions.console.job_outputs import FUNCTION as OUTPUTS
from functions.console.jobs import FUNCTION as LAUNCHER
from functions.console.jobs import budgets, costs, state_of
from functions.console.pages import Page
from functions.console.panels import Panel, Query
from functions.console.refused_requests import listed as refused
from functions.kit.errors import FunctionError, TemporaryError

SHOWN = 200  # of the newest Jobs, and of the newest outputs
ISSUE = re.compile(r"[\w.-]+/[\w.-]+#\d+")  # as routes name the task of an issue


async def listed(ask: Ask, query: Query) -> Mapping[str, Any]:
    """The issues of the newest Jobs, each with the outcome and cost of its agents."""
    jobs, outputs = await asyncio.gather(
        _read(ask, LAUNCHER, "/jobs", "jobs"), _read(ask, OUTPUTS, "/outputs", "outputs")
    )
    away = {
        name: found
        for name, found in ((LAUNCHER, jobs), (OUTPUTS, outputs))
        if isinstance(found, str)
    }
    if len(away) == 2:
        raise TemporaryError(away[LAUNCHER])
    rows = by_issue(*([] if isinstance(found, str) else found for found in (jobs, outputs)))
    cost = sum(row["cost_usd"] or 0 for row in rows)
    others = 0 if isinstance(jobs, str) else len(jobs)
    return {"issues": rows, "cost_usd": cost, "away": away, "other_jobs": others}


async def _read(ask: Ask, function: str, at: str, name: str) -> list[Row] | str:
    """The newest rows, or why they are not known."""
    try:
        found: list[Row] = (await ask.function(function).read(at, limit=SHOWN))[name]
    except FunctionError as error:
        return error.detail
    return found


def by_issue(jobs: Sequence[Row], outputs: Sequence[Row]) -> list[Row]:
    """One row for each task that has a repository, or is an issue: its newest Job, and the cost of
    them all.

    >>> job = {"job_id": "j", "task_id": "a/b#1", "repository": "a/b", "state": "succeeded"}
    >>> result = {"usage": {"cost_usd": 0.25, "turns": 3}}
    >>> left = {"job_id": "j", "task_id": "a/b#1", "state": "delivered", "result": result}
    >>> (row,) = by_issue([job], [left])
    >>> row["task_id"], row["jobs"], row["cost_usd"], row["turns"], row["shown"]
    ('a/b#1', 1, 0.25, 3, 'delivered')
    """
    by_job = {left["job_id"]: left for left in outputs}
    work = [
        {**job, "left": by_job.pop(job["job_id"], None)} for job in jobs if _is_of_repository(job)
    ]
    work += [{**left, "left": left} for left in by_job.values()]  # the launcher forgot their Jobs
    found: dict[str, Row] = {}
    for one in work:
        settled = one["left"] is not None and one["left"]["state"] != "received"
        shown = one["left"]["state"] if settled else state_of(one)
        newest = {**one, "jobs": 0, "cost_usd": None, "turns": None, "shown": shown}
        row = found.setdefault(one["task_id"], newest)
        row["jobs"] += 1
        # The launcher knows it while the Job works, too.
        left = (one["left"] or {}).get("result") or {}
        usage = one.get("usage") or left.get("usage") or {}
        for name in ("cost_usd", "turns"):
            if usage.get(name) is not None:
                row[name] = (row[name] or 0) + usage[name]
    return list(found.values())


def _is_of_repository(job: Row) -> bool:
    return bool(job["repository"] or ISSUE.fullmatch(job["task_id"]))


async def launch_routes(ask: Ask, query: Query) -> Mapping[str, Any]:
    """Which events start a Job, by the launcher's routes."""
    found = (await ask.function(LAUNCHER).read("/routes"))["routes"]
    for route in found:
        route["matches"] = {name: _matched(value) for name, value in route["match"].items()}
    return {"routes": found, "summary": count(len(found), "route")}


def _matched(value: object) -> str:
    """A value that a route matches.

    >>> _matched(["a", "b"]), _matched(False), _matched("triage")
    ('a or b', 'no', 'triage')
    """
    if isinstance(value, bool):
        return "yes" if value else "no"
    return " or ".join(map(str, value)) if isinstance(value, list) else str(value)


def routes() -> list[Route]:
    return Page(
        "/agents",
        "Agents",
        [
            Panel("agents", "By issue, newest first", listed, live_s=5),
            Panel("costs", "Cost of issues and tasks, last 30 days", costs, live_s=60),
            Panel("budgets", "Budgets today", budgets, live_s=60),
            Panel("refused", "Refused requests", refused, live_s=30),
            Panel("launch_routes", "What starts a Job", launch_routes, folded=True),
        ],
        lead="What came of each issue that an agent worked on, and what it cost.",
    ).routes()
