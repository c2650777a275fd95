"""Orchestrations: definitions, runs, what one waits for, and taking it back."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Literal
from urllib.parse import urlencode

from starlette.routing import Route

from functions.console.ask import Ask, Row
from functions.console.formatting import format_state, instant, short_id, tone
from functions.console.pages import Page
from functions.console.panels import Panel, Query
from functions.console.plots.graph import Graph, Node, graph
from functions.console.saga_run_actions import (
    ACTIONS,
    ENDED,
    REFUSED,
    UNDOABLE,
    advice,
    allowed,
    can_start_another,
    curl_of,
    is_refused,
    payload_of,
)
from functions.console.sprints.sprints import number_of
from functions.kit.clients import path
from functions.kit.errors import FunctionError

FUNCTION = "orchestrator"
PAGE = 20
NOT_REACHED = "not reached"  # a step that its run ended before
SEARCH = ("name", "status", "fromDate", "toDate", "stuck")


async def every(ask: Ask, query: Query) -> Mapping[str, Any]:
    """One page of the registered orchestrations, by part of the name."""
    answer = await ask.function(FUNCTION).read(
        "/api/orchestrations",
        orchName=query.get("name"),
        size=PAGE,
        page=number_of(query, "at"),
        sortBy="orchName",
        direction="asc",
    )
    return {"orchestrations": answer["content"], **around(answer, query, "at")}


async def all_runs(ask: Ask, query: Query) -> Mapping[str, Any]:
    """One page of the runs of all orchestrations, by part of the name, state and time."""
    answer = await ask.function(FUNCTION).read(
        "/api/executions",
        orchName=query.get("name"),
        stuck=query.get("stuck"),
        limit=PAGE,
        cursor=query.get("cursor"),
        **when(query),
    )
    kept = {key: value for key, value in query.items() if key in (*SEARCH, "at")}
    return {
        "runs": answer["content"],
        "total": answer["totalElements"],
        "older": urlencode({**kept, "cursor": answer["next"]}) if answer["next"] else "",
        "newer": urlencode({**kept, "cursor": 0}) if query.get("cursor") else "",
    }


async def definition(ask: Ask, query: Query) -> Mapping[str, Any]:
    found = await ask.function(FUNCTION).read(_orchestration(query))
    return {"found": found, "graph": steps_graph(found["steps"], found["type"], "none")}


async def runs(ask: Ask, query: Query) -> Mapping[str, Any]:
    """One page of an orchestration's runs, by state and time."""
    answer = await ask.function(FUNCTION).read(
        f"{_orchestration(query)}/executions",
        page=number_of(query, "page"),
        size=PAGE,
        **when(query),
    )
    return {"runs": answer["content"], "name": query["name"], **around(answer, query, "page")}


def when(query: Query) -> dict[str, str]:
    """State and time as the orchestrator is asked; the last day is wholly meant. Days are UTC.

    >>> when({"toDate": "2026-03-02"})
    {'toDate': '2026-03-02T23:59:59.999999Z'}
    """
    wanted = {name: query[name] for name in ("status", "fromDate", "toDate") if query.get(name)}
    if "toDate" in wanted:
        wanted["toDate"] += "T23:59:59.999999Z"
    return wanted


def around(answer: Row, query: Query, name: str) -> Row:
    """How many there are in all, and the addresses of the pages beside this one."""
    page, pages = answer["page"], answer["totalPages"]
    kept = {key: value for key, value in query.items() if key in (*SEARCH, "page", "cursor", "at")}
    return {
        "total": answer["totalElements"],
        "older": urlencode({**kept, name: page + 1}) if page + 1 < pages else "",
        "newer": urlencode({**kept, name: page - 1}) if page else "",
    }


async def run(ask: Ask, query: Query) -> Mapping[str, Any]:
    """One run: how it stands, what it waits for, its steps as a graph, what can be pressed."""
    found = await read_run(ask, query)
    ended = found["status"] in ENDED
    undoes = False
    if found["status"] in UNDOABLE:
        undoes = await _undoes(ask, query)
    refused = found["status"] == "FAILED" and is_refused(await read_timeline(ask, query))
    return {
        "run": found,
        "refused": REFUSED if refused else "",
        "another": can_start_another(found) and ended,
        "elsewhere": await _workers_elsewhere(ask, query, found),
        "graph": steps_graph(found["steps"], found["type"], "ended" if ended else "going"),
        "actions": {name: ACTIONS[name] for name in allowed(found, undoes=undoes)},
        "advice": advice(found),
        "payload": payload_of(found),
        "curl": curl_of(found),
        "ended": ended,
        "at": run_page(query),
    }


async def _workers_elsewhere(ask: Ask, query: Query, found: Row) -> dict[str, list[str]]:
    """For each step that waits for a worker, the services that do a step of its name of others."""
    if found["status"] != "WAITING":
        return {}
    try:
        answer = await ask.function(FUNCTION).read(_orchestration(query))
    except FunctionError:
        return {}
    # An orchestrator of the release before does not name them.
    return {
        step["name"]: step.get("workersElsewhere") or []
        for step in answer["steps"]
        if step["status"] == "PENDING"
    }


async def _undoes(ask: Ask, query: Query) -> bool:
    """Would an undo do anything? Where that cannot be read now, its own page shows it."""
    try:
        plan = await ask.function(FUNCTION).read(f"{execution_path(query)}/undo-plan")
    except FunctionError:
        return True
    return bool(plan["waves"])


async def timeline(ask: Ask, query: Query) -> Mapping[str, Any]:
    """Everything that happened to a run, and its steps as bars over time."""
    entries, found = await asyncio.gather(read_timeline(ask, query), read_run(ask, query))
    bars_ = bars(found, ask.ctx.now())
    ended = found["status"] in ENDED
    return {"entries": entries, "bars": bars_, "ended": ended, "not_reached": NOT_REACHED}


def steps_graph(steps: list[Row], kind: str, run: Literal["none", "going", "ended"]) -> Graph:
    """Steps as boxes; without dependencies a sequence is drawn by its order.

    Only the steps of a run have states: those of a definition did nothing yet.
    """
    ordered = sorted(steps, key=lambda step: step["seq"])
    nodes, edges = [], []
    for number, step in enumerate(ordered):
        if run == "none":
            small, colour = step["registeredBy"] or "no worker yet", "calm"
        else:
            # A step gets its worker when it is reached; before, it lacks none.
            is_left = run == "ended" and step["status"] == "PENDING"
            state = NOT_REACHED if is_left else format_state(step["status"])
            small = " · ".join(filter(None, (state, step["worker"])))
            colour = "calm" if is_left else tone(step["status"])
        nodes.append(Node(step["name"], step["name"], small, colour))
        before = step.get("dependsOn") or []
        if not before and kind == "sequential" and number:
            before = [ordered[number - 1]["name"]]
        edges += [(name, step["name"]) for name in before]
    return graph(nodes, edges)


def bars(found: Row, now: datetime) -> list[Row]:
    """Each step as a bar: where it begins and how long it is, in thousandths of the run.

    A step without an end, as of a run that failed before such ends were kept, ended with its run.
    """
    began = instant(found["startedAt"]) or now
    ended = instant(found["completedAt"]) or now
    whole = max((ended - began).total_seconds(), 0.001)
    rows = []
    for step in found["steps"]:
        start, end = instant(step["startedAt"]), instant(step["completedAt"])
        row: Row = {"step": step, "x": None, "width": 0, "took_ms": None}
        if start is not None:
            took = ((end or ended) - start).total_seconds()
            x = min(max((start - began).total_seconds() / whole, 0.0), 1.0)
            width = min(max(took / whole, 0.008), 1.0 - min(x, 0.992))
            row |= {"x": round(1000 * min(x, 0.992)), "width": round(1000 * width)}
            row["took_ms"] = took * 1000
        rows.append(row)
    return rows


async def _short_id(ask: Ask, query: Query) -> str:
    id: str = (await read_run(ask, query))["executionId"]
    return short_id(id)


async def read_run(ask: Ask, query: Query) -> Row:
    found: Row = await ask.function(FUNCTION).read(execution_path(query))
    return found


async def read_timeline(ask: Ask, query: Query) -> list[Row]:
    """The history of a run, the oldest entry first."""
    entries: list[Row] = await ask.function(FUNCTION).read(f"{execution_path(query)}/timeline")
    return entries


def _orchestration(query: Query) -> str:
    return f"/api{path('orchestrations', query['name'])}"


def execution_path(query: Query) -> str:
    return f"{_orchestration(query)}{path('executions', query['flow'])}"


def run_page(query: Query) -> str:
    return path("orchestrations", query["name"], "runs", query["flow"])


def routes() -> list[Route]:
    return [
        *Page(
            "/orchestrations",
            "Orchestrations",
            [
                Panel("orchestrations", "Registered", every, live_s=10),
                Panel("all_runs", "Runs, newest first", all_runs, live_s=5),
            ],
            lead="Several services in one piece of work: each step is done, tried again, or taken "
            "back.",
            head="heads/orchestrations.html",
        ).routes(),
        *Page(
            "/orchestrations/{name}",
            "{name}",
            [
                Panel("definition", "Steps", definition),
                Panel("runs", "Runs, newest first", runs, live_s=5),
            ],
            head="heads/runs.html",
            parent=("/orchestrations", "Orchestrations"),
            exists=definition,
        ).routes(),
        *Page(
            "/orchestrations/{name}/runs/{flow}",
            "Run of {name}",
            [
                Panel("run", "Status", run, live_s=3),
                Panel("timeline", "Timeline", timeline, live_s=3),
            ],
            parent=("/orchestrations", "Orchestrations"),
            exists=_short_id,
        ).routes(),
    ]
