"""Which route an event takes, and why the others do not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from functions.events.base import AnyEvent
from functions.job_launcher import template
from functions.job_launcher.event_data import data_of
from functions.job_launcher.route_file import Route
from functions.kit.errors import shortened

Item = Mapping[str, Any]


@dataclass(frozen=True)
class Facts:
    """What routes match on. `labels` has each label's value, or its name again.

    `author_association` is GitHub's word for who wrote what the event is about, empty where it
    says none; `fork` is None where the event is about no pull request, or does not say.
    """

    type: str
    source: str
    action: str
    labels: dict[str, str]
    branch: str
    severity: str
    agent: str = ""
    author_association: str = ""
    fork: bool | None = None


@dataclass(frozen=True)
class Fit:
    """What of an event matches: an item of it where the route names `each`, else all of it."""

    facts: Facts
    item: Item | None = None


@dataclass(frozen=True)
class Choice:
    """The route that an event takes, None if none, with what fits it, and why the ones before it
    do not match. `data` is the event's, read once."""

    route: Route | None
    passed: dict[str, str]
    facts: Facts
    data: Mapping[str, Any]
    fits: list[Fit] = field(default_factory=list)


def facts_of(event: AnyEvent, data: Mapping[str, Any]) -> Facts:
    """Read an event as its sender writes it: GitHub, Grafana, or one of our task events.

    A label that was just added or removed is the only label of that event: an issue that has
    `agent` and gets `bug` was not labelled `agent` by that.
    """
    change = _at(data, "pull_request") or _at(data, "issue")
    alerts = [a for a in _list(data.get("alerts")) if a.get("status") == data.get("status")]
    labels: dict[str, str] = {}
    if "label" in data:
        labels = _names([data["label"]])
    elif change:
        labels = _names(_list(change.get("labels")))
    elif "alerts" in data:
        for one in (_at(data, "commonLabels"), *(_at(a, "labels") for a in alerts)):
            for name, value in _of_alert(one).items():
                labels.setdefault(name, value)
    else:
        labels = {str(k): str(v) for k, v in _at(data, "metadata", "labels").items()}
    ref = _at(change, "base").get("ref") or data.get("ref") or ""
    return Facts(
        type=event.said["type"],
        source=event.said["source"],
        action=str(data.get("action") or (data.get("status") if "alerts" in data else "") or ""),
        labels=labels,
        branch=str(ref).removeprefix("refs/heads/"),
        severity=_severity(labels, data),
        agent=str(data.get("agent_type") or ""),
        author_association=_author_association(data),
        fork=_fork(_at(data, "pull_request", "head"), _at(data, "repository")),
    )


def facts_of_item(item: Item, event: Facts) -> Facts:
    """Read an item as the event is read; type, source and branch are the event's."""
    given = item.get("labels")
    labels = _names(_list(given)) if isinstance(given, list) else _of_alert(_at(item, "labels"))
    action = str(item.get("action") or item.get("status") or "")
    return replace(event, action=action, labels=labels, severity=_severity(labels, item))


def choose(routes: Sequence[Route], event: AnyEvent) -> Choice:
    """The first route that matches."""
    data = data_of(event)
    facts = facts_of(event, data)
    passed: dict[str, str] = {}
    for route in routes:
        fits, why = _fits_of(route, data, facts)
        if fits:
            return Choice(route, passed, facts, data, fits)
        passed[route.name] = why
    return Choice(None, passed, facts, data)


def _fits_of(route: Route, data: Mapping[str, Any], facts: Facts) -> tuple[list[Fit], str]:
    """What of the event fits the route; why nothing does, if nothing does."""
    if route.each is None:
        why = mismatch(route, facts)
        return ([], why) if why else ([Fit(facts)], "")
    items = _list(template.find(template.path(route.each), {"data": data}))
    found = [Fit(facts_of_item(item, facts), item) for item in items]
    fits = [fit for fit in found if not mismatch(route, fit.facts)]
    if fits:
        return fits, ""
    if not found:
        return [], f"{route.each} holds no item"
    last = mismatch(route, found[-1].facts)
    return [], f"none of {len(found)} in {route.each} matches, in the last one {last}"


def mismatch(route: Route, facts: Facts) -> str:
    """Why a route does not match, in words; empty if it does."""
    wanted = route.match
    label_forms = [*facts.labels, *(f"{k}={v}" for k, v in facts.labels.items())]
    association = [facts.author_association] if facts.author_association else []
    for name, patterns, held in (
        ("type", wanted.type, [facts.type]),
        ("source", wanted.source, [facts.source]),
        ("action", wanted.action, [facts.action]),
        ("label", wanted.label, label_forms),
        ("branch", wanted.branch, [facts.branch]),
        ("severity", wanted.severity, [facts.severity]),
        ("agent", wanted.agent, [facts.agent]),
        ("author_association", wanted.author_association, association),
    ):
        # Names of labels do not differ by case, on GitHub.
        folded = name == "label"
        if patterns is None or any(_fits(p, v, folded=folded) for p in patterns for v in held):
            continue
        has = ", ".join(value for value in held if value) or "none"
        return f"{name} is {shortened(has)}, not {' or '.join(patterns)}"
    if wanted.fork is not None and facts.fork is not wanted.fork:
        return f"fork is {'unknown' if facts.fork is None else facts.fork}, not {wanted.fork}"
    return ""


def _fits(pattern: str, value: str, *, folded: bool) -> bool:
    if folded:
        pattern, value = pattern.casefold(), value.casefold()
    if pattern.endswith("*"):
        return value.startswith(pattern[:-1])
    return value == pattern


def _author_association(data: Mapping[str, Any]) -> str:
    """Of who wrote what the event is about: a comment is not its pull request's author's."""
    for part in ("comment", "review", "pull_request", "issue"):
        if said := _at(data, part):
            return str(said.get("author_association") or "")
    return ""


def _fork(head: Mapping[str, Any], repository: Mapping[str, Any]) -> bool | None:
    """Does a pull request come from another repository? One that was deleted is another."""
    ours = repository.get("full_name")
    if "repo" not in head or not isinstance(ours, str):
        return None
    return bool(_at(head, "repo").get("full_name") != ours)


def _at(data: object, *path: str) -> Mapping[str, Any]:
    for name in path:
        data = data.get(name) if isinstance(data, Mapping) else None
    return data if isinstance(data, Mapping) else {}


def _list(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _of_alert(labels: Mapping[Any, Any]) -> dict[str, str]:
    """An alert's label without a value counts as none, as Prometheus has it."""
    return {str(k): str(v) for k, v in labels.items() if v not in (None, "")}


def _severity(labels: Mapping[str, str], said: Mapping[str, Any]) -> str:
    return str(labels.get("severity") or said.get("severity") or said.get("priority") or "")


def _names(labels: Sequence[object]) -> dict[str, str]:
    names = [str(one["name"]) for one in labels if isinstance(one, Mapping) and "name" in one]
    return {name: name for name in names}
