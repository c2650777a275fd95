"""Which route an event takes, and why the others do not."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from functions.events.base import AnyEvent
from functions.job_launcher.route_file import Route


@dataclass(frozen=True)
class Facts:
    """What routes match on. `labels` has each label's value, or its name again."""

    type: str
    source: str
    action: str
    labels: dict[str, str]
    branch: str
    severity: str


@dataclass(frozen=True)
class Choice:
    """The route that an event takes, None if none, and why the ones before it do not match."""

    route: Route | None
    passed: dict[str, str]


def data_of(event: AnyEvent) -> dict[str, Any]:
    """An event's data, where it is a JSON object; else nothing that a path leads to."""
    try:
        data = json.loads(event.data or b"{}")
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def facts_of(event: AnyEvent) -> Facts:
    """Read an event as its sender writes it: GitHub, Grafana, or one of our task events.

    A label that was just added or removed is the only label of that event: an issue that has
    `agent` and gets `bug` was not labelled `agent` by that.
    """
    data = data_of(event)
    change = _at(data, "pull_request") or _at(data, "issue")
    alerts = [a for a in _list(data.get("alerts")) if a.get("status") == data.get("status")]
    labels: dict[str, str] = {}
    if "label" in data:
        labels = _names([data["label"]])
    elif change:
        labels = _names(_list(change.get("labels")))
    elif "alerts" in data:
        for one in (_at(data, "commonLabels"), *(_at(a, "labels") for a in alerts)):
            labels = {**{str(k): str(v) for k, v in one.items()}, **labels}
    else:
        labels = {str(k): str(v) for k, v in _at(data, "metadata", "labels").items()}
    ref = _at(change, "base").get("ref") or data.get("ref") or ""
    severity = labels.get("severity") or data.get("severity") or data.get("priority") or ""
    return Facts(
        type=event.said["type"],
        source=event.said["source"],
        action=str(data.get("action") or (data.get("status") if "alerts" in data else "") or ""),
        labels=labels,
        branch=str(ref).removeprefix("refs/heads/"),
        severity=str(severity),
    )


def choose(routes: Sequence[Route], facts: Facts) -> Choice:
    """The first route that matches."""
    passed: dict[str, str] = {}
    for route in routes:
        why = mismatch(route, facts)
        if not why:
            return Choice(route, passed)
        passed[route.name] = why
    return Choice(None, passed)


def mismatch(route: Route, facts: Facts) -> str:
    """Why a route does not match, in words; empty if it does."""
    wanted = route.match
    label_forms = [*facts.labels, *(f"{k}={v}" for k, v in facts.labels.items())]
    for name, patterns, held in (
        ("type", wanted.type, [facts.type]),
        ("source", wanted.source, [facts.source]),
        ("action", wanted.action, [facts.action]),
        ("label", wanted.label, label_forms),
        ("branch", wanted.branch, [facts.branch]),
        ("severity", wanted.severity, [facts.severity]),
    ):
        if patterns is None or any(_fits(p, value) for p in patterns for value in held):
            continue
        has = ", ".join(value for value in held if value) or "none"
        return f"{name} is {has}, not {' or '.join(patterns)}"
    return ""


def _fits(pattern: str, value: str) -> bool:
    if pattern.endswith("*"):
        return value.startswith(pattern[:-1])
    return value == pattern


def _at(data: object, *path: str) -> Mapping[str, Any]:
    for name in path:
        data = data.get(name) if isinstance(data, Mapping) else None
    return data if isinstance(data, Mapping) else {}


def _list(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _names(labels: Sequence[object]) -> dict[str, str]:
    names = [str(one["name"]) for one in labels if isinstance(one, Mapping) and "name" in one]
    return {name: name for name in names}
