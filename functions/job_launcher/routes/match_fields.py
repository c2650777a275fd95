"""The fields of an event that routes match on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from functions.events.agent import command_of
from functions.events.base import AnyEvent


@dataclass(frozen=True)
class MatchFields:
    """The fields that routes match on. `labels` has each label's value, or its name again.

    `author_association` is GitHub's field of that name; `actor` the sender's permission, empty
    where it is unknown for the reason `actor_problem`; `teams` those that it is in, org/slug;
    `fork`, and `bot` of the sender, are None where that is unknown.
    """

    type: str
    source: str
    action: str
    labels: dict[str, str]
    branch: str
    severity: str
    agent: str = ""
    command: str = ""
    pull_request: bool = False
    author_association: str = ""
    actor: str = ""
    actor_problem: str = ""
    teams: tuple[str, ...] = ()
    fork: bool | None = None
    bot: bool | None = None


def match_fields(event: AnyEvent, data: Mapping[str, Any]) -> MatchFields:
    """Read the match fields of an event of GitHub, Grafana or an agent's task.

    `label` of a `labeled` event replaces the issue's labels: an issue with `agent` that gets `bug`
    was not labelled `agent` by that event.
    """
    change = _at(data, "pull_request") or _at(data, "issue")
    alerts = [a for a in maps_in(data.get("alerts")) if a.get("status") == data.get("status")]
    labels: dict[str, str] = {}
    if "label" in data:
        labels = _names([data["label"]])
    elif change:
        labels = _names(maps_in(change.get("labels")))
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
        command=command_of(str(_at(data, "comment").get("body") or "")),
        pull_request="pull_request" in data or "pull_request" in _at(data, "issue"),
        author_association=_author_association(data),
        actor=event.ce_attributes.get("actorpermission", ""),
        actor_problem=event.ce_attributes.get("actorproblem", ""),
        teams=tuple(filter(None, event.ce_attributes.get("actorteams", "").split(","))),
        bot=_bot(_at(data, "sender")),
        fork=_fork(data, event.ce_attributes.get("fork", "")),
    )


def item_match_fields(item: Mapping[str, Any], event: MatchFields) -> MatchFields:
    """Read the match fields of an item; type, source and branch are the event's."""
    given = item.get("labels")
    labels = (
        _names(maps_in(given)) if isinstance(given, list) else _alert_labels(_at(item, "labels"))
    )
    action = str(item.get("action") or item.get("status") or "")
    return replace(event, action=action, labels=labels, severity=_severity(labels, item))


def _author_association(data: Mapping[str, Any]) -> str:
    """Return the association of the event's author: of a comment before that of its issue."""
    for name in ("comment", "review", "pull_request", "issue"):
        if part := _at(data, name):
            return str(part.get("author_association") or "")
    return ""


def _fork(data: Mapping[str, Any], asked: str) -> bool | None:
    """Does a pull request come from another repository? A deleted one counts as another.

    `asked` is what GitHub answered where the payload does not.
    """
    if asked:
        return asked != "false"
    head, ours = _at(data, "pull_request", "head"), _at(data, "repository").get("full_name")
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


def maps_in(value: object) -> list[Mapping[str, Any]]:
    """Return the objects of a list; none of anything else."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _alert_labels(labels: Mapping[Any, Any]) -> dict[str, str]:
    """Return an alert's labels; in Prometheus an empty label equals a missing one."""
    return {str(k): str(v) for k, v in labels.items() if v not in (None, "")}


def _severity(labels: Mapping[str, str], data: Mapping[str, Any]) -> str:
    return str(labels.get("severity") or data.get("severity") or data.get("priority") or "")


def _names(labels: Sequence[object]) -> dict[str, str]:
    names = [str(each["name"]) for each in labels if isinstance(each, Mapping) and "name" in each]
    return {name: name for name in names}
