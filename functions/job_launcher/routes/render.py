"""Render the requests for Jobs that a route makes of an event, and check their limits."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from functions.events.base import AnyEvent
from functions.job_grant import REF, OutputRules
from functions.job_launcher.decide.job_request import Approval, JobRequest, SecretKey, Workspace
from functions.job_launcher.kubernetes.egress import SERVICE
from functions.job_launcher.routes import template
from functions.job_launcher.routes.match import RouteChoice, RouteMatch
from functions.job_launcher.routes.rendered_fields import Fields, RenderError
from functions.job_launcher.routes.route_file import JobTemplate, ResourceList, SecretKeyRef
from functions.job_launcher.settings import LauncherSettings

MAX_FILE_BYTES = 900_000  # a ConfigMap holds 1 MiB, its metadata included
MAX_KEY_LENGTH = 500  # of an indexed column


def job_id(kind: str, service: str, task_id: str, source: str, event_id: str, key: str = "") -> str:
    """Return the Job's name, derived from the event: a DNS label of at most 57 characters.

    `key` distinguishes the Jobs of one event. A pod's name adds six characters; its limit is 63.

    >>> job_id("execute", "acme/shop", "7", "https://github.com/acme/shop", "d-1")
    'execute-acme-shop-7-be263ecd328d'
    """
    named = f"{source}\0{event_id}" + (f"\0{key}" if key else "")
    digest = hashlib.sha256(named.encode()).hexdigest()[:12]
    readable = template.slug(f"{kind} {service} {task_id}")[:44].strip("-")
    return f"{readable or 'job'}-{digest}"


def branch_of(task_id: str, repository: str) -> str:
    """Return the branch of a task: the same for each of its Jobs, and of no other task.

    >>> branch_of("acme/shop#42", "acme/shop"), branch_of("Fix it!", "acme/shop")
    ('agent/42', 'agent/fix-it-84ce90')
    """
    number = task_id.removeprefix(f"{repository}#")
    if number.isdecimal() and number != task_id:
        return f"agent/{number}"
    digest = hashlib.sha256(task_id.encode()).hexdigest()[:6]
    return f"agent/{template.slug(f'{template.slug(task_id)[:60]} {digest}')}"


def values_of(
    event: AnyEvent, data: Mapping[str, Any], matches: list[RouteMatch]
) -> dict[str, Any]:
    """Return the variables of templates: the event, its match fields, and with `each` the first
    `item` of the Job and all its `items`."""
    fields = matches[0].fields
    items = [match.item for match in matches if match.item is not None]
    return {
        **({"item": items[0], "items": items} if items else {}),
        **{
            name: event.ce_attributes.get(name)
            for name in ("id", "source", "type", "subject", "time")
        },
        "data": data,
        "action": fields.action or None,
        "labels": fields.labels,
        "branch": fields.branch or None,
        "severity": fields.severity or None,
    }


Rendering = Callable[[], JobRequest]


def render_requests(
    choice: RouteChoice, event: AnyEvent, settings: LauncherSettings
) -> list[JobRequest]:
    """Return all requests that the event's route makes."""
    return [render() for render in renderings_of(choice, event, settings)]


def renderings_of(
    choice: RouteChoice, event: AnyEvent, settings: LauncherSettings
) -> list[Rendering]:
    """Return what renders one request, or with `each` one for each different task.

    It raises `RenderError` where the event lacks a value; with `each` that is a request with a
    `refusal`.
    """
    route = choice.route
    assert route is not None, "a route was chosen"
    assert route.job is not None, "it has a Job"
    name, job = route.name, route.job

    def renderer(matches: list[RouteMatch]) -> _Renderer:
        values = values_of(event, choice.data, matches)
        return _Renderer(name, job, values, settings, choice.fields.pull_request)

    if not route.each:
        return [partial(renderer(choice.matches).request, event)]
    by_task: dict[str, list[RouteMatch]] = {}
    refused: list[Rendering] = []
    for match in choice.matches:
        try:
            by_task.setdefault(renderer([match]).task_id(), []).append(match)
        except Exception as error:
            item = hashlib.sha256(json.dumps(match.item, sort_keys=True).encode()).hexdigest()
            refused.append(partial(renderer([match]).refused, event, f"item {item}", error))

    def rendered(task: str, matches: list[RouteMatch]) -> JobRequest:
        try:
            return renderer(matches).request(event, key=task)
        except Exception as error:
            return renderer(matches).refused(event, task, error)

    return [partial(rendered, task, matches) for task, matches in by_task.items()] + refused


def _secret_keys(refs: Mapping[str, SecretKeyRef]) -> dict[str, SecretKey]:
    return {name: SecretKey(ref.secret, ref.key, ref.optional) for name, ref in refs.items()}


def _bounded_key(text: str) -> str:
    """Return the key, its end replaced by a digest where it is longer than an index allows."""
    if len(text) <= MAX_KEY_LENGTH:
        return text
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{text[: MAX_KEY_LENGTH - len(digest) - 1]} {digest}"


def cause_of(event: AnyEvent) -> dict[str, Any]:
    """Return the fields of a request that name the event which asked for it."""
    attributes = event.ce_attributes
    return {
        "cause_id": attributes["id"],
        "cause_source": attributes["source"],
        "cause_type": attributes["type"],
        "correlation_id": attributes.get("correlationid", attributes["id"]),
        "traceparent": attributes.get("traceparent", ""),
    }


class _Renderer:
    def __init__(
        self,
        route: str,
        job: JobTemplate,
        values: dict[str, Any],
        settings: LauncherSettings,
        pull_request: bool,
    ) -> None:
        self._route, self._job, self._settings = route, job, settings
        self._fields = Fields(route, values)
        self._pull_request = pull_request

    def task_id(self) -> str:
        return self._fields.name("task_id", self._job.task_id)

    def request(self, event: AnyEvent, key: str = "") -> JobRequest:
        job, settings, fields = self._job, self._settings, self._fields
        task_id, service = self.task_id(), fields.name("service", job.service)
        safe = template.dollar_safe
        files = {name: fields.text(f"files.{name}", text) for name, text in job.files.items()}
        size = sum(len(text.encode()) for text in files.values())
        if size > MAX_FILE_BYTES:
            raise RenderError(
                f"route {self._route}: files are {size} bytes, {MAX_FILE_BYTES} at most: truncate"
            )
        return JobRequest(
            job_id=job_id(
                job.kind,
                service,
                task_id,
                event.ce_attributes["source"],
                event.ce_attributes["id"],
                key,
            ),
            route=self._route,
            kind=job.kind,
            task_id=task_id,
            service=service,
            repository=fields.text("repository", job.repository),
            group=fields.name("group", job.group),
            group_limit=job.group_limit,
            supersede=_bounded_key(fields.text("supersede", job.supersede)),
            image=fields.image(job.image or settings.job_image),
            command=fields.texts("command", job.command),
            args=fields.texts("args", job.args),
            env={name: fields.text(f"env.{name}", text, safe) for name, text in job.env.items()},
            secrets=_secret_keys(job.secrets),
            files=files,
            secret_files=_secret_keys(job.secret_files),
            requests=fields.quantities(
                "resources.requests",
                job.resources.requests,
                ResourceList(cpu=settings.job_cpu_request, memory=settings.job_memory_request),
            ),
            limits=fields.quantities(
                "resources.limits",
                job.resources.limits,
                ResourceList(
                    cpu=settings.job_cpu_limit,
                    memory=settings.job_memory_limit,
                    storage=settings.job_storage_limit,
                ),
            ),
            ttl_s=fields.number("ttl_seconds", job.ttl_seconds, settings.job_ttl_seconds, 0),
            deadline_s=fields.number(
                "deadline_seconds", job.deadline_seconds, settings.job_deadline_seconds, 1
            ),
            retries=fields.number("retries", job.retries, settings.job_retries, 0),
            **cause_of(event),
            github=fields.repository("github", job.github),
            issue=fields.number("issue", job.issue, 0, 1) if job.issue is not None else None,
            pull_request=self._pull_request,
            workspace=self._workspace(task_id),
            outputs=(job.outputs or OutputRules()).model_dump() if job.gives_outputs else {},
            pod=job.pod.model_dump(exclude_defaults=True) | self._egress(),
            proxy=self._proxy(),
            unless_open=job.unless_open,
            model=_secret_keys({"model": job.model})["model"] if job.model else None,
            model_url=settings.model_url if job.model else "",
            approval=Approval(list(job.approval.before), job.approval.timeout_seconds)
            if job.approval
            else None,
        )

    def refused(self, event: AnyEvent, key: str, error: Exception) -> JobRequest:
        """Return a request with a `refusal`, and the names that do render."""
        known = isinstance(error, RenderError)
        refusal = str(error) if known else f"{type(error).__name__}: {error}"
        task_id, service, group = map(self._name_or_empty, ("task_id", "service", "group"))
        attributes = event.ce_attributes
        return JobRequest(
            job_id=job_id(
                self._job.kind, service, task_id, attributes["source"], attributes["id"], key
            ),
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
            **cause_of(event),
            refusal=refusal,
        )

    def _workspace(self, task_id: str) -> Workspace | None:
        if not self._job.gives_outputs:
            return None
        if not self._settings.workspace_image:
            raise RenderError(
                f"route {self._route}: workspace: set WORKSPACE_IMAGE of job-launcher to the image "
                "of the functions"
            )
        image, url = self._settings.workspace_image, self._settings.agent_outputs_url
        kept_s = self._settings.job_checkpoint_seconds
        wanted, fields = self._job.workspace, self._fields
        repository = fields.repository("workspace.repository", wanted.repository) if wanted else ""
        if wanted is None or not repository:
            return Workspace("", "", image, url, checkpoint_s=kept_s)
        ref = fields.text("workspace.ref", wanted.ref)
        if not re.match(REF, ref):
            raise RenderError(f"route {self._route}: workspace.ref: {ref[:40]!r} is no ref")
        setup = fields.texts("workspace.setup", wanted.setup)
        branch = branch_of(task_id, repository)
        more = {"submodules": wanted.submodules, "lfs": wanted.lfs}
        return Workspace(repository, branch, image, url, ref, setup, kept_s, **more)

    def _egress(self) -> dict[str, str]:
        """The list of host names, where there are lists."""
        lists, wanted = self._settings.egress_ports, self._job.pod.egress
        if not lists and wanted is None:
            return {}
        name = wanted or self._settings.job_egress
        if name not in lists:
            known = ", ".join(lists) or "none"
            raise RenderError(
                f"route {self._route}: pod.egress: there is no list {name}: EGRESS_PROXIES of "
                f"job-launcher has {known}"
            )
        return {"egress": name}

    def _proxy(self) -> str:
        found = self._egress()
        return f"http://{SERVICE}:{self._settings.egress_ports[found['egress']]}" if found else ""

    def _name_or_empty(self, field: str) -> str:
        try:
            return self._fields.name(field, getattr(self._job, field))
        except Exception:
            return ""
