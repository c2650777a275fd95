"""Match an event against the routes; report why each of the others does not match."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from functions.events.base import AnyEvent
from functions.job_launcher import template
from functions.job_launcher.event_data import visible_data
from functions.job_launcher.route_file import Route
from functions.kit.errors import shortened

Item = Mapping[str, Any]


@dataclass(frozen=True)
class MatchFields:
    """The fields that routes match on. `labels` has each label's value, or its name again.

    `author_association` is GitHub's field of that name; `fork`, and `bot` of
    the sender, are None where that is unknown.
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
    bot: bool | None = None


@dataclass(frozen=True)
class RouteMatch:
    """An event that matches a route, or one item of the route's `each`."""

    fields: MatchFields
    item: Item | None = None


@dataclass(frozen=True)
class RouteChoice:
    """The first route that matches an event, or None, and why those before it do not match."""

    route: Route | None
    mismatches: dict[str, str]
    fields: MatchFields
    data: Mapping[str, Any]
    matches: list[RouteMatch] = field(default_factory=list)


def match_fields(event: AnyEvent, data: Mapping[str, Any]) -> MatchFields:
    """Read the match fields of an event of GitHub, Grafana or an agent's task.

    `label` of a `labeled` event replaces the issue's labels: an issue with `agent` that gets `bug`
    was not labelled `agent` by that event.
    """
    change = _at(data, "pull_request") or _at(data, "issue")
    alerts = [a for a in _list(data.get("alerts")) if a.get("status") == data.get("status")]
    labels: dict[str, str] = {}
    if "label" in data:
        labels = _names([data["label"]])
    elif change:
        labels = _names(_list(change.get("labels")))
    elif "alerts" in data:
        for group in (_at(data, "commonLabels"), *(_at(a, "labels") for a in alerts)):
            for name, value in _alert_labels(group).items():
                labels.setdefault(name, value)
    else:
        labels = {str(k): str(v) for k, v in _at(data, "metadata", "labels").items()}
    ref = _at(change, "base").get("ref") or data.get("ref") or ""
    return MatchFields(
        type=event.ce_attributes["type"],
        source=event.ce_attributes["source"],
        action=str(data.get("action") or (data.get("status") if "alerts" in data else "") or ""),
        labels=labels,
        branch=str(ref).removeprefix("refs/heads/"),
        severity=_severity(labels, data),
        agent=str(data.get("agent_type") or ""),
        author_association=_author_association(data),
        bot=_bot(_at(data, "sender")),
        fork=_fork(_at(data, "pull_request", "head"), _at(data, "repository")),
    )


def item_match_fields(item: Item, event: MatchFields) -> MatchFields:
    """Read the match fields of an item; type, source and branch are the event's."""
    given = item.get("labels")
    labels = _names(_list(given)) if isinstance(given, list) else _alert_labels(_at(item, "labels"))
    action = str(item.get("action") or item.get("status") or "")
    return replace(event, action=action, labels=labels, severity=_severity(labels, item))


def choose(routes: Sequence[Route], event: AnyEvent) -> RouteChoice:
    """Return the first route that matches."""
    data = visible_data(event)
    fields = match_fields(event, data)
    mismatches: dict[str, str] = {}
    for route in routes:
        matches, reason = _matches_of(route, data, fields)
        if matches:
            return RouteChoice(route, mismatches, fields, data, matches)
        mismatches[route.name] = reason
    return RouteChoice(None, mismatches, fields, data)


def _matches_of(
    route: Route, data: Mapping[str, Any], fields: MatchFields
) -> tuple[list[RouteMatch], str]:
    """Return the event or its items that match; else why none does."""
    if route.each is None:
        reason = mismatch(route, fields)
        return ([], reason) if reason else ([RouteMatch(fields)], "")
    items = _list(template.find(template.path(route.each), {"data": data}))
    candidates = [RouteMatch(item_match_fields(item, fields), item) for item in items]
    matches = [match for match in candidates if not mismatch(route, match.fields)]
    if matches:
        return matches, ""
    if not candidates:
        return [], f"{route.each} holds no item"
    last = mismatch(route, candidates[-1].fields)
    return [], f"none of {len(candidates)} in {route.each} matches, in the last one {last}"


def mismatch(route: Route, fields: MatchFields) -> str:
    """Return why a route does not match; empty if it does."""
    wanted = route.match
    label_forms = [*fields.labels, *(f"{k}={v}" for k, v in fields.labels.items())]
    association = [fields.author_association] if fields.author_association else []
    for name, patterns, values in (
        ("type", wanted.type, [fields.type]),
        ("source", wanted.source, [fields.source]),
        ("action", wanted.action, [fields.action]),
        ("label", wanted.label, label_forms),
        ("branch", wanted.branch, [fields.branch]),
        ("severity", wanted.severity, [fields.severity]),
        ("agent", wanted.agent, [fields.agent]),
        ("author_association", wanted.author_association, association),
    ):
        # GitHub's labels are case-insensitive.
        folded = name == "label"
        if patterns is None or any(_like(v, p, folded=folded) for p in patterns for v in values):
            continue
        actual = ", ".join(value for value in values if value) or "none"
        return f"{name} is {shortened(actual)}, not {' or '.join(patterns)}"
    for name, flag, value in (
        ("fork", wanted.fork, fields.fork),
        ("bot", wanted.bot, fields.bot),
    ):
        if flag is not None and value is not flag:
            return f"{name} is {'unknown' if value is None else value}, not {flag}"
    return ""


def _like(value: str, pattern: str, *, folded: bool) -> bool:
    if folded:
        pattern, value = pattern.casefold(), value.casefold()
    if pattern.endswith("*"):
        return value.startswith(pattern[:-1])
    return value == pattern


def _author_association(data: Mapping[str, Any]) -> str:
    """Return the association of the event's author: of a comment before that of its issue."""
    for name in ("comment", "review", "pull_request", "issue"):
        if part := _at(data, name):
            return str(part.get("author_association") or "")
    return ""


def _fork(head: Mapping[str, Any], repository: Mapping[str, Any]) -> bool | None:
    """Does a pull request come from another repository? A deleted one counts as another."""
    ours = repository.get("full_name")
    if "repo" not in head or not isinstance(ours, str):
        return None
    return bool(_at(head, "repo").get("full_name") != ours)


def _bot(sender: Mapping[str, Any]) -> bool | None:
    """Did a bot do it? GitHub's Apps have this type, and a login that ends so."""
    login = sender.get("login")
    if not isinstance(login, str):
        return None
    return sender.get("type") == "Bot" or login.endswith("[bot]")


def _at(data: object, *path: str) -> Mapping[str, Any]:
    for name in path:
        data = data.get(name) if isinstance(data, Mapping) else None
    return data if isinstance(data, Mapping) else {}


def _list(value: object) -> list[Mapping[str, Any]]:
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _alert_labels(labels: Mapping[Any, Any]) -> dict[str, str]:
    """Return an alert's labels; in Prometheus an empty label equals a missing one."""
    return {str(k): str(v) for k, v in labels.items() if v not in (None, "")}


def _severity(labels: Mapping[str, str], data: Mapping[str, Any]) -> str:
    return str(labels.get("severity") or data.get("severity") or data.get("priority") or "")


def _names(labels: Sequence[object]) -> dict[str, str]:
    names = [str(each["name"]) for each in labels if isinstance(each, Mapping) and "name" in each]
    return {name: name for name in names}
