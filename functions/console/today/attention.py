"""Action items: what waits until a user acts, and where to act."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from markupsafe import Markup
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from functions.console import deliveries
from functions.console.ask import Ask, Row
from functions.console.attention_item import SHOWN, Item
from functions.console.dead_letters import cause, event_name
from functions.console.formatting import clock, format_state, moment
from functions.console.jobs import state_of
from functions.console.pages import endpoint, whole_page_anew
from functions.console.panels import Query
from functions.console.reads import Reads
from functions.console.refused_requests import unread
from functions.console.rendering import NAVIGATION, View, drawn, frame, render
from functions.console.schedules import needs_attention, paused_by_failures, statuses, why_late
from functions.console.sprints.sprint_attention import late, stalled, without_next
from functions.kit.clients import path
from functions.kit.context import Resources
from functions.kit.errors import FunctionError, TemporaryError

logger = logging.getLogger(__name__)

# Every open page asks again and again: what was found is used for so many seconds.
MAX_AGE_S = 10.0


@dataclass(frozen=True)
class Attention:
    """All of one kind: how many there are, the newest of them, and the page of the kind."""

    title: str
    page: str
    href: str
    total: int = 0
    items: list[Item] = field(default_factory=list)
    away: str = ""


async def dead_letters(ask: Ask) -> tuple[int, list[Item]]:
    """Events that were given up."""
    answer = await ask.function("dead-letter").read("/dead-letters", state="open", limit=SHOWN)
    return answer["total"], [
        Item(
            event_name(row),
            cause(row),
            "open",
            f"/dead-letters/{row['number']}",
        )
        for row in answer["dead_letters"]
    ]


async def runs(ask: Ask) -> tuple[int, list[Item]]:
    """Runs that wait, are paused, are half undone, or failed in the last day."""
    answer = await ask.function("orchestrator").read("/api/executions", stuck="true", limit=SHOWN)
    return answer["totalElements"], [
        Item(
            run["orchName"],
            run["waitingFor"] or run["reason"] or format_state(run["status"]),
            "paused" if run["pausedBy"] else run["status"],
            path("orchestrations", run["orchName"], "runs", run["executionId"]),
        )
        for run in answer["content"]
    ]


async def jobs(ask: Ask) -> tuple[int, list[Item]]:
    """Jobs that wait for their turn."""
    return await _jobs(ask, state="queued")


async def outputs(ask: Ask) -> tuple[int, list[Item]]:
    """Jobs whose outputs wait until a user approves them."""
    return await _jobs(ask, approval="outputs")


async def _jobs(ask: Ask, **wanted: str) -> tuple[int, list[Item]]:
    answer = await ask.function("job-launcher").read("/jobs", **wanted, limit=SHOWN)
    return answer["total"], [
        Item(
            f"{job['task_id']} {job['service']}",
            job["reason"],
            state_of(job),
            path("jobs", job["job_id"]),
        )
        for job in answer["jobs"]
    ]


async def schedules(ask: Ask) -> tuple[int, list[Item]]:
    """Schedules of which a time is overdue, was missed or failed."""
    rows, away = await statuses(ask)
    late = [row for row in rows if needs_attention(row)]
    if away and not late:
        raise TemporaryError("; ".join(away.values()))
    return len(late), [_late(row) for row in late[:SHOWN]]


def _late(row: Row) -> Item:
    href = path("schedules", row["name"])
    if row["overdue"]:
        at = f"{row['overdue']:%a %-d %b} at {clock(row['overdue'])[:5]} UTC"
        return Item(row["name"], f"was due {at}, and no run of it is on record", "overdue", href)
    if reason := paused_by_failures(row):
        return Item(row["name"], f"paused: {reason}; resume it once that is mended", "paused", href)
    if why := row.get("not_followed"):
        return Item(row["name"], f"the scheduler cannot follow it: {why}", "failed", href)
    tick = row["unsuccessful"][0]
    because = f"; {moment(tick['nominal'])} UTC: {tick['reason']}" if tick["reason"] else ""
    return Item(row["name"], f"{why_late(row)} in the last 7 days{because}", tick["state"], href)


Look = Callable[[Ask], Awaitable[tuple[int, list[Item]]]]
Kind = tuple[str, str, str, Look]
KINDS: tuple[Kind, ...] = (
    ("Dead-lettered events", "/dead-letters", "/dead-letters?state=open", dead_letters),
    ("Runs that need attention", "/orchestrations", "/orchestrations?stuck=true", runs),
    ("Jobs that wait for their turn", "/jobs", "/jobs?state=queued", jobs),
    ("Agents' work that needs approval", "/jobs", "/jobs?approval=outputs", outputs),
    ("Schedules that were missed or paused", "/schedules", "/schedules", schedules),
    ("Deliveries that are not here", "/functions", "/functions", deliveries.missing),
    ("Refused requests", "/agents", "/agents#panel-refused", unread),
    ("Projects without a next sprint", "/sprints", "/sprints", without_next),
    ("Sprints that will be late", "/sprints", "/sprints", late),
    ("Sprints in which nothing moves", "/sprints", "/sprints", stalled),
)


COUNTED = frozenset(page for _, page, _, _ in KINDS)


class Seen:
    """What was found last, for the whole process."""

    def __init__(self, resources: Resources) -> None:
        self.at = float("-inf")
        self.actions = 0
        self.found: list[Attention] = []


async def found(ask: Ask, older_s: float = 0.0, page: str = "") -> list[Attention]:
    """All kinds; what was found less than `older_s` seconds ago is good enough, except what is
    on the list at `page`."""
    seen, reads = ask.ctx.part(Seen), ask.ctx.part(Reads)
    is_kept = time.monotonic() - seen.at < older_s and seen.actions == reads.actions
    actions = reads.actions
    if not is_kept:
        kinds = await ask.once(("attention", actions), lambda: _look(ask, KINDS))
    else:
        kinds = await _look(ask, [kind for kind in KINDS if kind[1] == page])
        by_title = {kind.title: kind for kind in kinds}
        kinds = [by_title.get(kind.title, kind) for kind in seen.found]
    if actions == reads.actions:  # else it may be of before the action
        seen.found, seen.actions = kinds, actions
        seen.at = seen.at if is_kept else time.monotonic()
    return kinds


async def _look(ask: Ask, kinds: Sequence[Kind]) -> list[Attention]:
    return list(await asyncio.gather(*(_of(ask, *kind) for kind in kinds)))


async def _of(ask: Ask, title: str, page: str, href: str, look: Look) -> Attention:
    try:
        total, items = await look(ask)
    except FunctionError as error:
        return Attention(title, page, href, away=error.detail)
    except Exception as error:
        logger.error("attention: %s", title, exc_info=error)
        message = f"An answer could not be understood ({type(error).__name__})."
        return Attention(title, page, href, away=message)
    return Attention(title, page, href, total, items)


async def attention(ask: Ask, query: Query) -> Mapping[str, Any]:
    """The first panel of Today."""
    return {"kinds": await found(ask)}


async def navigation(view: View) -> Response:
    """The navigation with what waits on each page; as it is now, where a page was just opened.

    204 where the page shows the same.
    """
    if "polls" in view.query:
        return whole_page_anew()
    here = view.query.get("here", "/")
    if view.shown:
        changed = await changed_navigation(view, "", here)
        return HTMLResponse(changed) if changed else Response(status_code=204)
    values = {**await counts(view), "here": here}
    return render(view, "navigation.html", values, part=True)


async def changed_navigation(view: View, page: str, here: str = "") -> Markup:
    """The navigation, where it is asked for, or `page` is a list that it counts; nothing where it
    shows the same."""
    shown = view.shown.get("navigation")
    is_list = page in COUNTED
    if shown is None and not is_list:
        return Markup()
    here = here or frame(view)["here"]
    # With its list a count is as new as that; of others it is looked at when it is due.
    older_s = MAX_AGE_S if shown is not None else math.inf
    waiting = await _waiting(view, older_s, page if is_list else "")
    if waiting["digest"] == shown:
        return Markup()
    return drawn(view, "navigation.html", {**waiting, "here": here})


async def counts(view: View) -> dict[str, Any]:
    """What the navigation of a page shows that was just opened."""
    return await _waiting(view, 0.0)


async def _waiting(view: View, older_s: float, page: str = "") -> dict[str, Any]:
    counts: Counter[str] = Counter()
    ask = view.ask.limited(view.ask.settings.console_source_timeout_s)
    for kind in await found(ask, older_s, page):
        counts[kind.page] += kind.total
    digest = "-".join(str(counts[page]) for page, _ in NAVIGATION)
    return {"counts": counts, "digest": digest}


def routes() -> list[Route]:
    return [endpoint("/navigation", navigation)]
