"""Schedules: when each is due, when it last ran, and running it now.

"Run now" sends the event that the PingSource would send: whoever listens knows no difference, and
it works on any broker.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

from starlette.responses import Response
from starlette.routing import Route

from functions.console.ask import Ask, Row
from functions.console.events import RECORDS
from functions.console.formatting import instant
from functions.console.pages import Page, endpoint
from functions.console.panels import Panel, Query
from functions.console.rendering import View, done, render
from functions.cron import Cron, CronError
from functions.kit import cloudevents
from functions.kit.errors import FunctionError, PermanentError

API, PLURAL = "sources.knative.dev/v1", "pingsources"
TICK = "dev.knative.sources.ping"
# The functions that handle ticks: those of the stream's records, and those that only sweep.
TICKED = (*RECORDS, "orchestrator", "webhook-receiver")
# A tick is sent, taken and recorded a while after it was due.
GRACE = timedelta(minutes=10)


async def every(ask: Ask, query: Query) -> Mapping[str, Any]:
    rows, away = await standing(ask)
    rows.sort(key=lambda row: row["next"] or ask.ctx.now())
    return {"schedules": rows, "away": away, "verdict": verdict(rows)}


def verdict(rows: Sequence[Row]) -> tuple[str, str]:
    """In a sentence, with its tone: was everything handled that was due?

    >>> verdict([{"name": "a", "overdue": None, "unknown": False}])
    ('good', 'All that was due was handled.')
    """
    if late := [row["name"] for row in rows if row["overdue"]]:
        return "bad", f"Not everything that was due was handled: {', '.join(late)}."
    if unknown := [row["name"] for row in rows if row["unknown"]]:
        return (
            "wait",
            f"Nothing is known of {', '.join(unknown)}; all else that was due was handled.",
        )
    return "good", "All that was due was handled."


async def standing(ask: Ask) -> tuple[list[Row], dict[str, str]]:
    """Every schedule with its next time, its last tick, and when it should have run but did not.

    Beside them the functions that did not answer, each with the reason: of a schedule that one
    of them may have handled nothing is known.
    """
    sources, (last, away) = await asyncio.gather(sources_of(ask), last_ticks(ask))
    rows = []
    for source in sources:
        row = described(source, ask.ctx.now())
        name = row["schedule"]
        row["last"] = last.get(name)
        row["unknown"] = name in away or (bool(away) and name not in RECORDS)
        known = not row["unknown"]
        row["overdue"] = overdue(source, row["last"], ask.ctx.now()) if known else None
        rows.append(row)
    return rows, away


async def sources_of(ask: Ask) -> list[Row]:
    return await ask.objects(API, PLURAL)


def name_of(source: Row) -> str:
    """What its ticks say; one that the orchestrator made ticks under its own name."""
    extensions = (source["spec"].get("ceOverrides") or {}).get("extensions") or {}
    return str(extensions.get("schedule", source["metadata"]["name"]))


def due_between(source: Row, since: datetime, before: datetime) -> datetime | None:
    """When a schedule was first due in a time, in UTC; None where it was not, or was not there.

    >>> source = {"metadata": {"name": "s"}, "spec": {"schedule": "0 14 * * 1-5"}}
    >>> at = datetime.fromisoformat("2026-03-06T00:00Z")
    >>> print(due_between(source, at, at + timedelta(days=1)))
    2026-03-06 14:00:00+00:00
    >>> due_between(source, at + timedelta(days=1), at + timedelta(days=3))
    """
    spec = source["spec"]
    made = instant(source["metadata"].get("creationTimestamp"))
    since = since if made is None else max(since, made)
    try:
        # `after` names the times after an instant, and this one counts.
        due = cron_of(spec).after(since - timedelta(seconds=1))
    except CronError:
        return None
    return due if due and due < before else None


def cron_of(spec: Mapping[str, Any]) -> Cron:
    """When a PingSource is due; CronError when its spec says nothing that can be read."""
    return Cron(spec.get("schedule") or "* * * * *", spec.get("timezone") or "")


def overdue(source: Row, last: Row | None, now: datetime) -> datetime | None:
    """When it was due and nobody has told of a tick since; None where all is well.

    A schedule that never ran counts only where a function of that name keeps a record.
    """
    name = name_of(source)
    if last is None and name not in RECORDS and not name.startswith("run-dailyscrum-"):
        return None
    told = instant(last["ended_at"] if last else source["metadata"].get("creationTimestamp"))
    if told is None:
        return None
    return due_between(source, told + timedelta(minutes=1), now - GRACE)


def described(source: Row, now: datetime) -> Row:
    """A PingSource in a row, with its next time in its own zone; None where it has none."""
    spec = source["spec"]
    zone = spec.get("timezone") or "UTC"
    name = source["metadata"]["name"]
    row: Row = {"name": name, "cron": spec["schedule"], "zone": zone, "problem": ""}
    row |= {"schedule": name_of(source), "data": spec.get("data") or ""}
    try:
        cron = cron_of(spec)
    except CronError as error:
        return row | {"next": None, "in_zone": "", "problem": str(error)}
    row["zone"], due = str(cron.zone), cron.after(now)
    if due is None:
        return row | {"next": None, "in_zone": "", "problem": "it is never due"}
    return row | {"next": due, "in_zone": f"{due.astimezone(cron.zone):%a %H:%M}"}


async def last_ticks(ask: Ask) -> tuple[dict[str, Row], dict[str, str]]:
    """Each schedule's last tick that a function has handled, and the functions that are away."""
    away: dict[str, str] = {}

    async def of(function: str) -> list[Row]:
        try:
            return await ask.runs(function, type=TICK, latest="true", limit=1000)
        except FunctionError as error:
            away[function] = error.detail
            return []

    found: dict[str, Row] = {}
    for runs in await asyncio.gather(*(of(name) for name in TICKED)):
        for run in runs:
            name = str(run["id"]).partition("@")[0]
            if name not in found or _newer(run, found[name]):
                found[name] = run
    return found, away


def _newer(run: Row, other: Row) -> bool:
    return bool(run["ended_at"] > other["ended_at"])


async def _source(view: View) -> Row:
    return await view.ask.ctx.cluster.get(API, PLURAL, view.query["name"])


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
    _, who = await view.authentication.act()
    source = await _source(view)
    await view.ask.ctx.publisher.publish([tick(source, view.ask.ctx.now(), who)])
    words = f"{source['metadata']['name']} was sent its tick. See what came of it under Today."
    return done(view, "/schedules", words)


def tick(source: Row, now: datetime, who: str) -> cloudevents.Message:
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
    return cloudevents.Message(
        id=str(uuid4()),
        source=f"/apis/v1/namespaces/{metadata['namespace']}/pingsources/{metadata['name']}",
        type=TICK,
        data=data.encode(),
        datacontenttype=spec.get("contentType") or "application/json",
        time=cloudevents.format_time(now),
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
            [Panel("schedules", "The next one first", every, live_s=10)],
            lead="What happens by itself. Each schedule has a time zone of its own; times beside "
            "it are in yours.",
        ).routes(),
        endpoint("/schedules/{name}/run", confirm),
        endpoint("/schedules/{name}/run", run, ["POST"]),
    ]
