"""Typed asynchronous clients of the DSM services.

A call that is safe to repeat (a read, or a write with an Idempotency-Key) is tried three times.
Each carries the trace and the correlation of what it is made for (`kit.cause`).
What a service answers becomes one of our two errors, in its own words, shortened.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any, TypeVar
from urllib.parse import quote, urlencode
from uuid import NAMESPACE_URL, uuid5

import httpx
import stamina
from pydantic import TypeAdapter, ValidationError

from functions.events.cycle import BacklogGenerated, Orchestration
from functions.events.scrum import ScrumRun
from functions.events.sprint import (
    Member,
    ProjectSprints,
    Sprint,
    SprintDetail,
    Task,
    TaskSummary,
)
from functions.kit import cause
from functions.kit.errors import Conflict, NotFound, PermanentError, TemporaryError, shortened
from functions.kit.settings import ServiceSettings

T = TypeVar("T")

_TEMPORARY = (408, 425, 429)
_PERMANENT = {404: NotFound, 409: Conflict}


class ServiceClient:
    """One service: JSON in, typed JSON out. `name` begins every error."""

    def __init__(self, name: str, base_url: str, http: httpx.AsyncClient) -> None:
        self.name = name
        self.base_url = base_url.rstrip("/")
        self._http = http

    async def get(self, at: str, kind: type[T], **query: str | None) -> T:
        wanted = urlencode({name: value for name, value in query.items() if value is not None})
        return _typed(self.name, kind, await self._call("GET", f"{at}?{wanted}" if wanted else at))

    async def post(self, at: str, kind: type[T], *, key: str, body: object = None) -> T:
        """A write, safe to repeat because `key` makes the service answer the first result."""
        return await self._write("POST", at, kind, {"Idempotency-Key": key}, body)

    async def put(self, at: str, kind: type[T], body: object) -> T:
        """A write that is safe to repeat, as it says how things are to be."""
        return await self._write("PUT", at, kind, {}, body)

    async def _write(
        self, method: str, at: str, kind: type[T], headers: dict[str, str], body: object
    ) -> T:
        content = None if body is None else json.dumps(body)
        headers = {**headers, "Content-Type": "application/json"}
        return _typed(
            self.name, kind, await self._call(method, at, content=content, headers=headers)
        )

    async def _call(self, method: str, at: str, **options: Any) -> httpx.Response:
        async for attempt in stamina.retry_context(
            on=TemporaryError, attempts=3, wait_initial=0.1, wait_max=2.0, timeout=30.0
        ):
            with attempt:
                return await self._once(method, at, **options)
        raise AssertionError("unreachable: stamina raises the last error")

    async def _once(self, method: str, at: str, **options: Any) -> httpx.Response:
        sent = {**cause.headers(), **options.pop("headers", {})}
        try:
            response = await self._http.request(
                method, f"{self.base_url}{at}", headers=sent, **options
            )
        except httpx.HTTPError as error:
            raise TemporaryError(f"{self.name}: {type(error).__name__} {error}".rstrip()) from error
        if response.is_success:
            return response
        words = f"{self.name} answered {response.status_code}: {_detail(response)}"
        if response.status_code >= 500 or response.status_code in _TEMPORARY:
            raise TemporaryError(words, delay_s=_retry_after(response))
        raise _PERMANENT.get(response.status_code, PermanentError)(words)


class Services:
    """The six DSM services."""

    def __init__(self, http: httpx.AsyncClient, settings: ServiceSettings) -> None:
        self.projects = Projects("project-service", settings.project_service_url, http)
        self.sprints = Sprints("sprint-service", settings.sprint_service_url, http)
        self.backlogs = Backlogs("backlog-service", settings.backlog_service_url, http)
        self.scrums = Scrums("daily-scrum-service", settings.daily_scrum_service_url, http)
        self.chronicle = Chronicle("chronicle-service", settings.chronicle_service_url, http)
        self.orchestrator = Orchestrator(
            "project-orchestrator", settings.project_orchestrator_url, http
        )


class Projects(ServiceClient):
    async def all_ids(self) -> list[str]:
        return [p["id"] for p in await self.get("/projects", list[dict[str, Any]])]

    async def team(self, project_id: str) -> list[Member]:
        answer = await self.get(path("projects", project_id, "team-members"), dict[str, Any])
        return _typed(self.name, list[Member], answer.get("team_members"))


class Sprints(ServiceClient):
    async def by_project(self) -> list[ProjectSprints]:
        """The projects that ever had a sprint, each with its sprints."""
        return await self.get("/sprints/list_projects", list[ProjectSprints])

    async def of(self, project_id: str) -> list[Sprint]:
        """Every sprint of a project, newest start first."""
        return await self.get(path("sprints", "by-project", project_id), list[Sprint])

    async def active(self, project_id: str) -> Sprint | None:
        """The project's sprint in progress, the newest where there are several."""
        found = await self.get(
            path("sprints", "by-project", project_id), list[Sprint], status="in_progress"
        )
        return found[0] if found else None

    async def summary(self, sprint_id: str) -> TaskSummary:
        return await self.get(path("sprints", sprint_id, "task-summary"), TaskSummary)

    async def detail(self, sprint_id: str) -> SprintDetail:
        """A sprint with its tasks; `NotFound` where there is none."""
        return await self.get(path("sprints", sprint_id), SprintDetail)

    async def tasks(self, sprint_id: str) -> list[Task]:
        return await self.get(path("sprints", sprint_id, "tasks"), list[Task])


class Backlogs(ServiceClient):
    async def generate(self, project_id: str, *, key: str) -> BacklogGenerated:
        """Add ten new tasks to the project's backlog."""
        return await self.post(path("backlogs", project_id), BacklogGenerated, key=key)


class Scrums(ServiceClient):
    async def run(self, sprint_id: str, *, key: str) -> ScrumRun:
        """Simulate a sprint's working day."""
        return await self.post(path("scrums", sprint_id, "run"), ScrumRun, key=key)


class Chronicle(ServiceClient):
    async def file_daily_report(self, report: Mapping[str, object], *, key: str) -> str:
        """File a daily report; returns the note's id."""
        answer = await self.post(
            "/v1/notes/daily_scrum_report", dict[str, Any], key=key, body=report
        )
        return str(answer["note_id"])

    async def note(
        self, kind: str, body: Mapping[str, object], *, key: str, within_s: float
    ) -> dict[str, Any]:
        """Write a note of a kind; `TemporaryError` where that takes longer than `within_s`.

        For what must not hold up the work that it tells of.
        """
        try:
            async with asyncio.timeout(within_s):
                return await self.post(
                    path("v1", "notes", kind), dict[str, Any], key=key, body=body
                )
        except TimeoutError:
            raise TemporaryError(f"{self.name}: no answer within {within_s:g} s") from None


class Orchestrator(ServiceClient):
    async def orchestrate(
        self, project_id: str, options: Mapping[str, object], *, key: str
    ) -> Orchestration:
        """Let project-orchestrator look at a project and do what is due."""
        return await self.post(
            path("orchestrate", "project", project_id),
            Orchestration,
            key=key,
            body={"action": "analyze_and_orchestrate", "options": dict(options)},
        )


def path(*segments: str) -> str:
    """A path of quoted segments: an id may hold anything."""
    return "".join(f"/{quote(segment, safe='')}" for segment in segments)


def derived_key(*parts: str) -> str:
    """An Idempotency-Key for a call made on behalf of a request: the same for each repeat of it.

    >>> derived_key("one", "close")
    '08b7f44d-4985-5bfa-ae8f-c273fe115f9d'
    """
    return str(uuid5(NAMESPACE_URL, "#".join(parts)))


_adapters: dict[object, TypeAdapter[Any]] = {}


def _adapter(kind: type[T]) -> TypeAdapter[T]:
    """Made once per kind: making one costs more than a call."""
    if kind not in _adapters:
        _adapters[kind] = TypeAdapter(kind)
    return _adapters[kind]


def _typed(name: str, kind: type[T], answer: object) -> T:
    adapter = _adapter(kind)
    try:
        if isinstance(answer, httpx.Response):
            return adapter.validate_json(answer.content)
        return adapter.validate_python(answer)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise PermanentError(
            f"{name} answered what we cannot read: {where} {first['msg']}"
        ) from None


def _detail(response: httpx.Response) -> str:
    try:
        answer = response.json()
        text = answer["detail"] if isinstance(answer, dict) and "detail" in answer else answer
    except ValueError:
        text = response.text
    return shortened(text if isinstance(text, str) else json.dumps(text), 200)


def _retry_after(response: httpx.Response) -> float:
    given = response.headers.get("Retry-After", "")
    return float(given) if given.isdecimal() else 1.0
