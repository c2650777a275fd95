"""Match an event against the routes; report why each of the others does not match."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from functions.events.base import AnyEvent
from functions.events.webhook import PERMISSIONS
from functions.job_launcher.routes import template
from functions.job_launcher.routes.event_data import visible_data
from functions.job_launcher.routes.match_fields import (
    MatchFields,
    item_match_fields,
    maps_in,
    match_fields,
)
from functions.job_launcher.routes.route_file import Match, Route
from functions.kit.errors import shortened

Item = Mapping[str, Any]


@dataclass(frozen=True)
class RouteMatch:
    """An event that matches a route, or one item of the route's `each`."""

    fields: MatchFields
    item: Item | None = None


@dataclass(frozen=True)
class RouteChoice:
    """The first route that matches an event, or None, and why those before it do not match.

    Without one, `refused` is the first route that matches all but who did it.
    """

    route: Route | None
    mismatches: dict[str, str]
    fields: MatchFields
    data: Mapping[str, Any]
    matches: list[RouteMatch] = field(default_factory=list)
    refused: Route | None = None


def choose(routes: Sequence[Route], event: AnyEvent) -> RouteChoice:
    """Return the first route that matches."""
    data = visible_data(event)
    fields = match_fields(event, data)
    mismatches: dict[str, str] = {}
    refused: Route | None = None
    for route in routes:
        matches, reason = _matches_of(route, data, fields)
        if matches:
            return RouteChoice(route, mismatches, fields, data, matches)
        mismatches[route.name] = reason
        if refused is None and route.each is None and not what_differs(route.match, fields):
            refused = route
    return RouteChoice(None, mismatches, fields, data, refused=refused)


def _matches_of(
    route: Route, data: Mapping[str, Any], fields: MatchFields
) -> tuple[list[RouteMatch], str]:
    """Return the event or its items that match; else why none does."""
    if route.each is None:
        reason = mismatch(route, fields)
        return ([], reason) if reason else ([RouteMatch(fields)], "")
    items = maps_in(template.find(template.path(route.each), {"data": data}))
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
    return (
        what_differs(route.match, fields)
        or who_may_not(route.match, fields)
        or _secret_for_a_fork(route, fields)
    )


def _secret_for_a_fork(route: Route, fields: MatchFields) -> str:
    """Return why an agent may not read a pull request: its text could have it tell a secret."""
    if not fields.pull_request or fields.fork is False:
        return ""
    if route.job is None or not route.job.has_secrets:
        return ""
    of = "may be" if fields.fork is None else "is"
    return f"it {of} of a fork, and the route's agent has secrets: model would keep them from it"


def what_differs(wanted: Match, fields: MatchFields) -> str:
    """Return what of the event itself does not match."""
    label_forms = [*fields.labels, *(f"{k}={v}" for k, v in fields.labels.items())]
    for name, patterns, values in (
        ("type", wanted.type, [fields.type]),
        ("source", wanted.source, [fields.source]),
        ("action", wanted.action, [fields.action]),
        ("label", wanted.label, label_forms),
        ("branch", wanted.branch, [fields.branch]),
        ("severity", wanted.severity, [fields.severity]),
        ("agent", wanted.agent, [fields.agent]),
        ("command", wanted.command, [fields.command]),
    ):
        # GitHub's labels are case-insensitive.
        folded = name == "label"
        if patterns is None or any(_like(v, p, folded=folded) for p in patterns for v in values):
            continue
        return _differs(name, values, patterns)
    return _flag_differs("pull_request", wanted.pull_request, fields.pull_request)


def who_may_not(wanted: Match, fields: MatchFields) -> str:
    """Return what of who did it does not match; what is unknown does not."""
    association, patterns = fields.author_association, wanted.author_association
    if patterns is not None and not (
        association and any(_like(association, p, folded=False) for p in patterns)
    ):
        return _differs("author_association", [association], patterns)
    if wanted.actor is not None:
        if fields.actor not in PERMISSIONS:
            if not fields.actor_problem:
                return f"actor is unknown, not {wanted.actor} or more"
            why = shortened(fields.actor_problem)
            return f"GitHub could not be asked whether actor is {wanted.actor} or more: {why}"
        if PERMISSIONS.index(fields.actor) < PERMISSIONS.index(wanted.actor):
            return f"actor is {fields.actor}, not {wanted.actor} or more"
    if wanted.team is not None and not {one.lower() for one in wanted.team} & set(fields.teams):
        why = f": {shortened(fields.actor_problem)}" if fields.actor_problem else ""
        return f"actor is not known to be in {' or '.join(wanted.team)}{why}"
    for name, flag, value in (
        ("fork", wanted.fork, fields.fork),
        ("bot", wanted.bot, fields.bot),
    ):
        if reason := _flag_differs(name, flag, value):
            return reason
    return ""


def _differs(name: str, values: Sequence[str], patterns: Sequence[str]) -> str:
    actual = ", ".join(value for value in values if value) or "none"
    return f"{name} is {shortened(actual)}, not {' or '.join(patterns)}"


def _flag_differs(name: str, wanted: bool | None, value: bool | None) -> str:
    if wanted is None or value is wanted:
        return ""
    return f"{name} is {'unknown' if value is None else value}, not {wanted}"


def has_label(patterns: Sequence[str], label: str) -> bool:
    """Is the label one of a route's? GitHub's labels are case-insensitive."""
    return any(_like(label, pattern, folded=True) for pattern in patterns)


def _like(value: str, pattern: str, *, folded: bool) -> bool:
    if folded:
        pattern, value = pattern.casefold(), value.casefold()
    if pattern.endswith("*"):
        return value.startswith(pattern[:-1])
    return value == pattern
