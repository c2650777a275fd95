"""Schedules: when each is due, when it last ran, and running it now.

"Run now" sends the event that the PingSource would send: whoever listens knows no difference, and
it works on any broker.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from starlette.responses import Response
from starlette.routing import Route

from functions.console.ask import Ask, Row
from functions.console.events import RECORDS
from functions.console.pages import Page, View, done, endpoint, render
from functions.console.panels import Panel, Query
from functions.kit import wire
from functions.kit.errors import FunctionError, PermanentError

API, PLURAL = "sources.knative.dev/v1", "pingsources"
TICK = "dev.knative.sources.ping"


async def every(ask: Ask, query: Query) -> Mapping[str, Any]:
    sources, last = await asyncio.gather(ask.cluster.list(API, PLURAL), last_ticks(ask))
    now = ask.ctx.now()
    rows = [described(source, now) for source in sources]
    for row in rows:
        # A schedule that the orchestrator made ticks under its own name, or its extension's.
        row["last"] = last.get(row["schedule"])
    rows.sort(key=lambda row: row["next"] or now)
    return {"schedules": rows}


def described(source: Row, now: datetime) -> Row:
    """A PingSource in a row, with its next time in its own zone; None where it has none."""
    spec = source["spec"]
    zone = spec.get("timezone") or "UTC"
    extensions = (spec.get("ceOverrides") or {}).get("extensions") or {}
    name = source["metadata"]["name"]
    row: Row = {"name": name, "cron": spec["schedule"], "zone": zone, "problem": ""}
    row |= {"schedule": extensions.get("schedule", name), "data": spec.get("data") or ""}
    try:
        due = next(CronSim(spec["schedule"], now.astimezone(ZoneInfo(zone))))
        return row | {"next": due, "in_zone": f"{due:%a %H:%M}"}
    except (CronSimError, ZoneInfoNotFoundError, StopIteration, ValueError) as error:
        return row | {"next": None, "in_zone": "", "problem": str(error) or "it is never due"}


async def last_ticks(ask: Ask) -> dict[str, Row]:
    """Each schedule's last tick that a function has handled, as far as their records tell."""

    async def of(function: str) -> list[Row]:
        try:
            return await ask.runs(function, limit=100)
        except FunctionError:
            return []

    found: dict[str, Row] = {}
    for runs in await asyncio.gather(*(of(name) for name in RECORDS)):
        for run in runs:
            name = str(run["id"]).partition("@")[0]
            if run["type"] == TICK and (name not in found or _newer(run, found[name])):
                found[name] = run
    return found


def _newer(run: Row, other: Row) -> bool:
    return bool(run["ended_at"] > other["ended_at"])


async def _source(view: View) -> Row:
    return await view.ask.cluster.get(API, PLURAL, view.query["name"])


async def confirm(view: View) -> Response:
    row = described(await _source(view), view.ask.ctx.now())
    values = {
        "title": f"Run {row['name']} now?",
        "text": "The event of this schedule is sent as if it were due. A tick of a minute counts "
        "once: a second one in the same minute changes nothing.",
        "facts": {"schedule": row["cron"], "zone": row["zone"], "data": row["data"] or "none"},
        "fields": {},
        "action": f"/schedules/{row['name']}/run",
        "button": "Run now",
        "back": "/schedules",
    }
    return render(view, "confirm.html", values)


async def run(view: View) -> Response:
    _, who = await view.desk.act()
    source = await _source(view)
    await view.ask.ctx.publisher.publish([tick(source, view.ask.ctx.now(), who)])
    words = f"{source['metadata']['name']} was sent its tick. See what came of it under Today."
    return done(view, "/schedules", words)


def tick(source: Row, now: datetime, who: str) -> wire.Message:
    """What a PingSource sends, with who asked for it."""
    metadata, spec = source["metadata"], source["spec"]
    extensions = (spec.get("ceOverrides") or {}).get("extensions") or {}
    if spec.get("dataBase64"):
        raise PermanentError("A schedule whose data is binary cannot be run from here.")
    data = spec.get("data") or ""
    if data:
        try:
            json.loads(data)
        except ValueError:
            data = json.dumps({"body": data})
    return wire.Message(
        id=str(uuid4()),
        source=f"/apis/v1/namespaces/{metadata['namespace']}/pingsources/{metadata['name']}",
        type=TICK,
        data=data.encode(),
        datacontenttype=spec.get("contentType") or "application/json",
        time=wire.format_time(now),
        extensions={**extensions, "requestedby": _attribute(who)},
    )


def _attribute(who: str) -> str:
    """A name as an attribute may hold it."""
    return "".join(c for c in who if c.isprintable())[:100] or "somebody"


def routes() -> list[Route]:
    return [
        *Page(
            "/schedules",
            "Schedules",
            [Panel("schedules", "The next one first", every)],
            lead="What happens by itself. Each schedule has a time zone of its own; times beside "
            "it are in yours.",
        ).routes(),
        endpoint("/schedules/{name}/run", confirm),
        endpoint("/schedules/{name}/run", run, ["POST"]),
    ]
