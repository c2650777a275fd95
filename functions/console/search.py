"""Search by any id, from every page: one hit leads to its page, more are listed."""

from __future__ import annotations

import asyncio
import logging
import re
import unicodedata
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from urllib.parse import urlencode

from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from functions.console import service_health
from functions.console.ask import Ask, Row
from functions.console.dead_letters import event_name
from functions.console.events import correlation, newest
from functions.console.names import employee_names, project_names
from functions.console.pages import endpoint
from functions.console.panels import NotHere
from functions.console.ping_sources import name_of, sources_of
from functions.console.refused_requests import refused
from functions.console.rendering import View, render
from functions.console.today.scrums import notes_of
from functions.events.sprint import Sprint
from functions.kit.clients import path
from functions.kit.errors import BadAnswer, FunctionError, NotFound, PermanentError

logger = logging.getLogger(__name__)

MAX_TERM = 300
MAX_HITS = 10  # of each kind
MIN_ID = 8  # characters of a run's id: as many as lists show
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
MIN_PART = 3  # characters of a word's beginning: fewer fit most names
MAX_READ = 200  # dead letters and events, of which those that fit are shown


@dataclass(frozen=True)
class Hit:
    """What was found: its kind, its name, and its page."""

    kind: str
    name: str
    href: str


def fits(term: str, name: str) -> bool:
    """Is it the name, or how one of its words begins, in any case?

    >>> [fits("creat", name) for name in ("tenantCreation", "re-create", "recreate")]
    [True, True, False]
    >>> [fits("zol", "Émile Zola"), fits("ÉMI", "Émile Zola"), fits("mil", "Émile Zola")]
    [True, True, False]
    >>> [fits("łuk", "Łukasz Nowak"), fits("иван", "Петров Иван"), fits("ller", "Anna Müller")]
    [True, True, False]
    >>> fits("mu\u0308l", "M\u00fcller")  # an accent typed by itself
    True
    """
    term, name = (unicodedata.normalize("NFC", text) for text in (term, name))
    wanted = term.casefold()
    return wanted == name.casefold() or (
        len(term) >= MIN_PART
        and any(name[at:].casefold().startswith(wanted) for at in _word_begins(name))
    )


def _word_begins(name: str) -> Iterator[int]:
    """Where its words begin: after a space or a sign, and at a capital within a name."""
    before = ""
    for at, character in enumerate(name):
        is_inside = before.isalnum() and not (character.isupper() and not before.isupper())
        if character.isalnum() and not is_inside:
            yield at
        before = character


async def dead_letters(ask: Ask, term: str) -> list[Hit]:
    """By number, and the newest by what they are about: the subject, the reason, the event's id."""
    peer = ask.function("dead-letter")
    if term.isdecimal() and len(term) < 10:
        return [_dead_letter(await peer.read(f"/dead-letters/{term}"))]
    if len(term) < MIN_PART:
        return []
    latest = (await peer.read("/dead-letters", limit=MAX_READ))["dead_letters"]
    about = ("subject", "about", "detail", "id")
    found = [row for row in latest if any(fits(term, row.get(name) or "") for name in about)]
    return [_dead_letter(row) for row in found[:MAX_HITS]]


def _dead_letter(row: Row) -> Hit:
    return Hit(
        "Dead letter", f"{row['number']}: {event_name(row)}", f"/dead-letters/{row['number']}"
    )


async def jobs(ask: Ask, term: str) -> list[Hit]:
    peer = ask.function("job-launcher")
    found = (await peer.read("/jobs", task=term, limit=MAX_HITS))["jobs"]
    if not found:
        found = [await peer.read(path("jobs", term))]
    return [Hit("Job", job["job_id"], path("jobs", job["job_id"])) for job in found]


async def orchestrations(ask: Ask, term: str) -> list[Hit]:
    """By name, and runs by id."""
    named, runs = await asyncio.gather(
        ask.function("orchestrator").read("/api/orchestrations", orchName=term, size=MAX_READ),
        _runs(ask, term),
    )
    hits = [
        Hit("Orchestration", one["orchName"], path("orchestrations", one["orchName"]))
        for one in named["content"]
        if fits(term, one["orchName"])
    ][:MAX_HITS]
    return hits + [
        Hit("Run", f"{run['executionId']} of {run['orchName']}", _run(run)) for run in runs
    ]


async def _runs(ask: Ask, term: str) -> list[Row]:
    """The run of a whole id, or those among the newest ones whose ids begin or end so."""
    peer = ask.function("orchestrator")
    if UUID.fullmatch(term):
        try:
            return [await peer.read(f"/api{path('executions', term.lower())}")]
        except NotFound:
            return []
    if len(term) < MIN_ID:
        return []
    latest = (await peer.read("/api/executions", limit=100))["content"]
    return [run for run in latest if _is_part(run["executionId"], term.lower())]


def _is_part(id: str, term: str) -> bool:
    return id.startswith(term) or id.endswith(term)


def _run(run: dict[str, str]) -> str:
    return path("orchestrations", run["orchName"], "runs", run["executionId"])


async def sprints(ask: Ask, term: str) -> list[Hit]:
    """A sprint by its id, and a project with its sprints by the project's."""
    found = await ask.services.sprints.of(term)
    if not found:
        return [_sprint((await ask.services.sprints.detail(term)).sprint)]
    names = await project_names(ask)
    return [_project(term, names.get(term, "")), *map(_sprint, found[:MAX_HITS])]


async def projects(ask: Ask, term: str) -> list[Hit]:
    """Projects by name."""
    named = (await project_names(ask)).items()
    hits = [_project(id, name) for id, name in named if fits(term, name)]
    return hits[:MAX_HITS]


def _sprint(found: Sprint) -> Hit:
    return Hit(
        "Sprint", _named(found.sprint_id, found.sprint_name), path("sprints", found.sprint_id)
    )


def _project(id: str, name: str) -> Hit:
    return Hit("Project", _named(id, name), path("projects", id))


def _named(id: str, name: str) -> str:
    return f"{id}: {name}" if name and name != id else id


async def events(ask: Ask, term: str) -> list[Hit]:
    """The trace that an event's id or correlation names, and the subjects that fit: any as a whole,
    those of the newest events by a word's beginning."""
    url = ask.settings.events_url
    if not url:
        return []
    traced, about, latest = await asyncio.gather(
        ask.events(url, correlation=term, limit=1),
        ask.events(url, subject=term, limit=1),
        newest(ask, MAX_READ),
    )
    hits = [
        Hit("Trace", term, f"/events/trace?{urlencode({'correlation': correlation(event)})}")
        for event in traced
    ]
    subjects = (event["attributes"].get("subject") or "" for event in latest)
    found = [*([term] if about else []), *(name for name in subjects if fits(term, name))]
    return hits + [
        Hit("Events", f"about {name}", f"/events?{urlencode({'subject': name})}")
        for name in list(dict.fromkeys(found))[:MAX_HITS]
    ]


async def refused_requests(ask: Ask, term: str) -> list[Hit]:
    """Requests for an agent that were refused, by who asked."""
    try:
        found = await refused(ask)
    except NotHere:
        return []
    return [
        Hit("Refused request", f"{row['subject']}, {row['login']}", row["href"])
        for row in found
        if fits(term, row["login"])
    ][:MAX_HITS]


async def functions(ask: Ask, term: str) -> list[Hit]:
    """Functions by name."""
    named = [name for name in await service_health.names(ask) if fits(term, name)]
    return [Hit("Function", name, f"/functions#runs-{name}") for name in named[:MAX_HITS]]


async def schedules(ask: Ask, term: str) -> list[Hit]:
    """Schedules by name."""
    names = sorted({name_of(source) for source in await sources_of(ask)})
    named = [name for name in names if fits(term, name)]
    return [Hit("Schedule", name, path("schedules", name)) for name in named[:MAX_HITS]]


async def employees(ask: Ask, term: str) -> list[Hit]:
    """Team members by id or name, on the page of the newest daily scrum."""
    names = await employee_names(ask)
    named = {
        id: name for id, name in names.items() if term.lower() == id.lower() or fits(term, name)
    }
    day = await _newest_scrum(ask) if named else ""
    return [
        Hit("Team member", name, f"/?day={day}#member-{id}")
        for id, name in sorted(named.items(), key=lambda item: item[1])[:MAX_HITS]
    ]


async def _newest_scrum(ask: Ask) -> date:
    """The latest day of a week that has a report; today where none has."""
    today = ask.ctx.now().date()
    days = [today - timedelta(days=number) for number in range(8)]
    notes = await asyncio.gather(*(notes_of(ask, day) for day in days))
    return next((day for day, found in zip(days, notes, strict=True) if found), today)


Source = Callable[[Ask, str], Awaitable[list[Hit]]]
SOURCES: tuple[Source, ...] = (
    employees,
    functions,
    schedules,
    dead_letters,
    jobs,
    orchestrations,
    projects,
    sprints,
    events,
    refused_requests,
)


async def search(view: View) -> Response:
    """`GET /search?q=`: a redirect to the only hit, or the list of all."""
    term = view.query.get("q", "").strip()
    if len(term) > MAX_TERM:
        raise PermanentError(f"q: at most {MAX_TERM} characters")
    hits: list[Hit] = []
    away: list[str] = []
    if term:
        for found in await asyncio.gather(*(_of(source, view.ask, term) for source in SOURCES)):
            if isinstance(found, str):
                away.append(found)
            else:
                hits += found
    if len(hits) == 1 and not away:
        return RedirectResponse(hits[0].href, 303)
    values = {"title": "Search", "term": term, "hits": hits, "away": away}
    return render(view, "search.html", values)


async def _of(source: Source, ask: Ask, term: str) -> list[Hit] | str:
    """The hits; none where there is no such thing, and why where a source is unavailable."""
    try:
        return await source(ask, term)
    except BadAnswer as error:
        return error.detail
    except PermanentError:  # `NotFound` above all
        return []
    except FunctionError as error:
        return error.detail
    except Exception as error:
        # A peer of another version may say things in another shape.
        kind = source.__name__.replace("_", " ")
        logger.error("search of %s", kind, exc_info=error)
        return f"{kind}, as an answer could not be understood ({type(error).__name__})"


async def shortcuts(view: View) -> Response:
    """`GET /shortcuts`: what the keys do."""
    return render(view, "shortcuts.html", {"title": "Keyboard shortcuts"})


def routes() -> list[Route]:
    return [endpoint("/search", search), endpoint("/shortcuts", shortcuts)]
