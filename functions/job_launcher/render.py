"""An event and its route become a request for a Job: every template filled in, every limit held."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any

from functions.events.base import AnyEvent
from functions.job_launcher import template
from functions.job_launcher.decide import JobRequest, SecretKey
from functions.job_launcher.match import Choice, Fit
from functions.job_launcher.route_file import Amounts, Job, SecretKeyRef
from functions.job_launcher.settings import LauncherSettings

MAX_FILE_BYTES = 900_000  # a ConfigMap holds 1 MiB with everything around
MAX_JOBS = 100  # of one event
MAX_NAME = 200  # characters of what a Job is found by
MAX_KEY = 500


class BadRequest(ValueError):
    """The event does not give what its route needs; the text names route and field."""


def job_id(kind: str, service: str, task_id: str, source: str, event_id: str, key: str = "") -> str:
    """The Job's name: readable, and the same for the same event; a DNS label of at most 57.

    `key` tells apart the Jobs of one event. Pods are named after their Job with six characters
    more, and 63 is the limit of both.

    >>> job_id("execute", "acme/shop", "7", "https://github.com/acme/shop", "d-1")
    'execute-acme-shop-7-be263ecd328d'
    """
    named = f"{source}\0{event_id}" + (f"\0{key}" if key else "")
    digest = hashlib.sha256(named.encode()).hexdigest()[:12]
    readable = template.slug(f"{kind} {service} {task_id}")[:44].strip("-")
    return f"{readable or 'job'}-{digest}"


def values_of(event: AnyEvent, data: Mapping[str, Any], fits: list[Fit]) -> dict[str, Any]:
    """What templates may name: the event, what routes match on, and where the route names `each`
    the first `item` of a Job and all its `items`."""
    facts = fits[0].facts
    items = [fit.item for fit in fits if fit.item is not None]
    return {
        **({"item": items[0], "items": items} if items else {}),
        **{name: event.said.get(name) for name in ("id", "source", "type", "subject", "time")},
        "data": data,
        "action": facts.action or None,
        "labels": facts.labels,
        "branch": facts.branch or None,
        "severity": facts.severity or None,
    }


def requests_of(choice: Choice, event: AnyEvent, settings: LauncherSettings) -> list[JobRequest]:
    """The Jobs that its route makes of the event: one, or with `each` one for each task of what
    fits. With `each`, what lacks something is a request with a `refusal`, and the others go on;
    without, that is a `BadRequest`."""
    route = choice.route
    assert route is not None, "a route was chosen"
    assert route.job is not None, "a route that ignores makes no Job"
    name, job = route.name, route.job

    def renderer(fits: list[Fit]) -> _Renderer:
        return _Renderer(name, job, values_of(event, choice.data, fits), settings)

    if not route.each:
        return [renderer(choice.fits).request(event)]
    by_task: dict[str, list[Fit]] = {}
    refused: list[JobRequest] = []
    for fit in choice.fits:
        try:
            by_task.setdefault(renderer([fit]).task_id(), []).append(fit)
        except Exception as error:
            item = hashlib.sha256(json.dumps(fit.item, sort_keys=True).encode()).hexdigest()
            refused.append(renderer([fit]).refused(event, f"item {item}", error))
    count = len(by_task) + len(refused)
    if count > MAX_JOBS:
        raise BadRequest(f"route {name}: each: {count} tasks in one event, {MAX_JOBS} at most")
    requests = []
    for task, fits in by_task.items():
        try:
            requests.append(renderer(fits).request(event, key=task))
        except Exception as error:
            requests.append(renderer(fits).refused(event, task, error))
    return requests + refused


def _keys(named: Mapping[str, SecretKeyRef]) -> dict[str, SecretKey]:
    return {name: SecretKey(one.secret, one.key, one.optional) for name, one in named.items()}


def _key(text: str) -> str:
    """A key of bounded length: an index holds no more."""
    if len(text) <= MAX_KEY:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text[: MAX_KEY - len(digest) - 1]} {digest}"


def _cause(event: AnyEvent) -> dict[str, Any]:
    said = event.said
    return {
        "cause_id": said["id"],
        "cause_source": said["source"],
        "cause_type": said["type"],
        "correlation_id": said.get("correlationid", said["id"]),
        "traceparent": said.get("traceparent", ""),
    }


class _Renderer:
    def __init__(
        self, route: str, job: Job, values: dict[str, Any], settings: LauncherSettings
    ) -> None:
        self._route, self._job, self._values, self._settings = route, job, values, settings

    def task_id(self) -> str:
        return self._name("task_id", self._job.task_id)

    def request(self, event: AnyEvent, key: str = "") -> JobRequest:
        job, settings = self._job, self._settings
        task_id, service = self.task_id(), self._name("service", job.service)
        safe = template.dollar_safe
        files = {name: self._text(f"files.{name}", text) for name, text in job.files.items()}
        size = sum(len(text.encode()) for text in files.values())
        if size > MAX_FILE_BYTES:
            raise BadRequest(
                f"route {self._route}: files are {size} bytes, {MAX_FILE_BYTES} at most: truncate"
            )
        return JobRequest(
            job_id=job_id(job.kind, service, task_id, event.said["source"], event.said["id"], key),
            route=self._route,
            kind=job.kind,
            task_id=task_id,
            service=service,
            repository=self._text("repository", job.repository),
            group=self._name("group", job.group),
            group_limit=job.group_limit,
            supersede=_key(self._text("supersede", job.supersede)),
            image=self._image(job.image or settings.job_image),
            command=self._texts("command", job.command),
            args=self._texts("args", job.args),
            env={name: self._text(f"env.{name}", text, safe) for name, text in job.env.items()},
            secrets=_keys(job.secrets),
            files=files,
            secret_files=_keys(job.secret_files),
            requests=self._amounts(
                "resources.requests",
                job.resources.requests,
                Amounts(cpu=settings.job_cpu_request, memory=settings.job_memory_request),
            ),
            limits=self._amounts(
                "resources.limits",
                job.resources.limits,
                Amounts(
                    cpu=settings.job_cpu_limit,
                    memory=settings.job_memory_limit,
                    storage=settings.job_storage_limit,
                ),
            ),
            ttl_s=self._number("ttl_seconds", job.ttl_seconds, settings.job_ttl_seconds, 0),
            deadline_s=self._number(
                "deadline_seconds", job.deadline_seconds, settings.job_deadline_seconds, 1
            ),
            retries=self._number("retries", job.retries, settings.job_retries, 0),
            **_cause(event),
        )

    def refused(self, event: AnyEvent, key: str, why: Exception) -> JobRequest:
        """What can be said of a Job that cannot be made."""
        words = str(why) if isinstance(why, BadRequest) else f"{type(why).__name__}: {why}"
        task_id, service, group = map(self._name_or_none, ("task_id", "service", "group"))
        said = event.said
        return JobRequest(
            job_id=job_id(self._job.kind, service, task_id, said["source"], said["id"], key),
            route=self._route,
            kind=self._job.kind,
            task_id=task_id,
            service=service,
            repository="",
            group=group,
            group_limit=None,
            supersede="",
            image="",
            command=[],
            args=[],
            env={},
            secrets={},
            files={},
            requests={},
            limits={},
            ttl_s=0,
            deadline_s=0,
            retries=0,
            **_cause(event),
            refusal=words,
        )

    def _name_or_none(self, field: str) -> str:
        try:
            return self._name(field, getattr(self._job, field))
        except Exception:
            return ""

    def _text(self, field: str, text: str, escape: Callable[[str], str] = str) -> str:
        try:
            return template.parse(text).render(self._values, escape)
        except template.Unfit as error:
            raise BadRequest(f"route {self._route}: {field}: {error.args[0]}") from None

    def _image(self, text: str) -> str:
        found = self._text("image", text).strip()
        if not found:
            raise BadRequest(
                f"route {self._route}: image: none is named: set JOB_IMAGE of job-launcher to the "
                "agents' image, by its digest, or image in the route"
            )
        return found

    def _name(self, field: str, text: str) -> str:
        found = self._text(field, text)
        if len(found) > MAX_NAME:
            raise BadRequest(
                f"route {self._route}: {field}: {len(found)} characters, {MAX_NAME} at most"
            )
        return found

    def _texts(self, field: str, texts: list[str] | None) -> list[str]:
        return [
            self._text(f"{field}.{number}", text, template.dollar_safe)
            for number, text in enumerate(texts or ())
        ]

    def _number(self, field: str, text: str | None, otherwise: int, least: int) -> int:
        if text is None:
            return otherwise
        given = self._text(field, text).strip()
        if not given.isdecimal() or not least <= int(given) <= 2**31 - 1:
            raise BadRequest(
                f"route {self._route}: {field}: {given[:40]!r} is no whole number from {least}"
            )
        return int(given)

    def _amounts(self, field: str, given: Amounts, otherwise: Amounts) -> dict[str, str]:
        found = {
            "cpu": given.cpu or otherwise.cpu,
            "memory": given.memory or otherwise.memory,
            "ephemeral-storage": given.storage or otherwise.storage,
        }
        return {name: self._text(f"{field}.{name}", t) for name, t in found.items() if t}
