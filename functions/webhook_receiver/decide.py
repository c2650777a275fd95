"""What a PM agent's or a user's signed request means: an event, or a question to job-launcher.

Bodies, as agents and the command line have always sent them:

pm    {"action", "project_id", "task": {"id", "title", "description", "acceptance_criteria", ...}}
cli   {"command", "args": [...], "options": {...}}
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from functions.events.base import DOT_SEGMENTS
from functions.events.webhook import (
    JobCancelRequested,
    JobRetryRequested,
    TaskRequested,
    TaskUpdateRequested,
)

Body = Mapping[str, Any]
Asked = TaskRequested | TaskUpdateRequested | JobCancelRequested | JobRetryRequested

PM_ACTIONS = ("create_task", "update_task", "get_task_status", "cancel_task", "retry_task")
MAX_NAME = 500
CLI_COMMANDS = (*PM_ACTIONS, "list_jobs", "get_job", "get_job_logs", "cancel_job")


@dataclass(frozen=True)
class Question:
    """Something that job-launcher knows: a path of its HTTP API."""

    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    is_log: bool = False


def pm(body: Body, delivery: str) -> Asked | Question:
    """What a PM agent asks. `ValueError` names the field that does not fit.

    >>> pm({"action": "get_task_status", "task": {"id": 7}}, "d")
    Question(path='/tasks/7', query={}, is_log=False)
    """
    action = _word(body, "action", PM_ACTIONS)
    task = dict(_object(body, "task"))
    _take(task, "id", "task_id")
    if action in ("create_task", "update_task") and body.get("project_id") is not None:
        task.setdefault("project_id", body["project_id"])
    return _task_action(action, task, origin="pm")


def cli(body: Body, delivery: str) -> Asked | Question:
    """What a user asks. `ValueError` names the field that does not fit.

    >>> cli({"command": "get_job_logs", "args": ["j 1"], "options": {"follow": True}}, "d")
    Question(path='/jobs/j%201/logs', query={'follow': 'true'}, is_log=True)
    """
    command = _word(body, "command", CLI_COMMANDS)
    options = dict(_object(body, "options"))
    args = body.get("args") or []
    if not isinstance(args, list) or not all(isinstance(arg, str | int) for arg in args):
        raise ValueError("args: must be a list of strings")
    names = [str(arg) for arg in args]
    match command:
        case "list_jobs":
            return Question("/jobs", _query(options))
        case "get_job":
            return Question(f"/jobs/{_named(names, 'job')}")
        case "get_job_logs":
            return Question(f"/jobs/{_named(names, 'job')}/logs", _query(options), is_log=True)
        case "cancel_job":
            _named(names, "job")
            return JobCancelRequested.model_validate({**options, "job": names[0]})
        case "create_task":
            if names:
                options.setdefault("title", " ".join(names))
            options.setdefault("task_id", f"cli-{_digest(delivery)[:10]}")
        case _:
            if names:
                options.setdefault("task_id", names[0])
    return _task_action(command, options, origin="cli")


def pm_field(name: str) -> str:
    """Where a PM agent's body has a field of the event.

    >>> pm_field("title"), pm_field("task_id"), pm_field("project_id")
    ('task.title', 'task.id', 'project_id')
    """
    own = {
        "task_id": "task.id",
        "project_id": "project_id",
        "service": "task.service, task.metadata.service or project_id",
    }
    return own.get(name, f"task.{name}")


def cli_field(name: str) -> str:
    """Where a user's body has a field of the event.

    >>> cli_field("title"), cli_field("service"), cli_field("priority")
    ('args or options.title', 'options.microservice', 'options.priority')
    """
    own = {
        "title": "args or options.title",
        "task_id": "args or options.task_id",
        "service": "options.microservice",
    }
    return own.get(name, f"options.{name}")


def grafana_id(notification: Body) -> str:
    """What makes two notifications the same: group, status, and each alert, start and status."""
    alerts = [
        json.dumps(
            [
                alert.get("fingerprint") or alert.get("labels"),
                alert.get("startsAt"),
                alert.get("status"),
            ],
            sort_keys=True,
        )
        for alert in notification["alerts"]
    ]
    parts = [notification.get("groupKey"), notification.get("status"), sorted(alerts)]
    return _digest(json.dumps(parts))


def _task_action(action: str, given: Body, *, origin: str) -> Asked | Question:
    # What is null is not given.
    task = {name: value for name, value in given.items() if value is not None}
    if task.get("task_id") in DOT_SEGMENTS:
        raise ValueError(f"task_id: {task['task_id']!r} is no id: a URL loses it")
    _take(task, "microservice", "service")
    if isinstance(task.get("task_id"), int):
        task["task_id"] = str(task["task_id"])
    match action:
        case "create_task":
            task.pop("status", None)  # a new task has none to speak of
            metadata = _object(task, "metadata")
            task.setdefault("service", metadata.get("service") or task.get("project_id"))
            return TaskRequested.model_validate({**task, "origin": origin})
        case "update_task":
            return TaskUpdateRequested.model_validate({**task, "origin": origin})
        case "cancel_task" | "retry_task":
            wanted = {name: task[name] for name in ("task_id", "reason") if name in task}
            kind = JobCancelRequested if action == "cancel_task" else JobRetryRequested
            return kind.model_validate(wanted)
        case _:
            return Question(f"/tasks/{_named([task.get('task_id')], 'task')}")


def _word(body: Body, name: str, known: tuple[str, ...]) -> str:
    found = body.get(name)
    if not isinstance(found, str) or found not in known:
        raise ValueError(f"{name}: must be one of {', '.join(known)}")
    return found


def _object(body: Body, name: str) -> Body:
    found = body.get(name)
    if found is None:
        return {}
    if not isinstance(found, Mapping):
        raise ValueError(f"{name}: must be an object")
    return found


def _take(fields: dict[str, Any], given: str, ours: str) -> None:
    if given in fields:
        fields.setdefault(ours, fields.pop(given))


def _named(names: list[Any], what: str) -> str:
    if not names or not isinstance(names[0], str) or not 0 < len(names[0]) <= MAX_NAME:
        raise ValueError(f"{what}: name which")
    if names[0] in DOT_SEGMENTS:
        raise ValueError(f"{what}: {names[0]!r} is no id: a URL loses it")
    return quote(names[0], safe="", errors="replace")


def _query(options: Body) -> dict[str, str]:
    literals = {True: "true", False: "false"}
    query = {}
    for name, value in options.items():
        if value is None:
            continue
        if not isinstance(value, str | int | bool):
            raise ValueError("options: must be strings, numbers or booleans")
        text = literals[value] if isinstance(value, bool) else str(value)
        if len(name) + len(text) > MAX_NAME:
            raise ValueError(f"options: over {MAX_NAME} characters")
        query[_plain(name)] = _plain(text)
    # As the command line has always called them.
    for old, ours in (("microservice", "service"), ("status", "state"), ("task_id", "task")):
        if old in query:
            query.setdefault(ours, query.pop(old))
    return query


def _plain(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
