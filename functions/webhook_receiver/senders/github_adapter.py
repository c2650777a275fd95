"""CloudEvents' GitHub adapter as a table: which part of a payload is which attribute.

Source: cloudevents/spec, cloudevents/adapters/github.md. What the adapter does not list, events
younger than it, follows its rule: `com.github.<event>[.<action>]`, from the repository or the
organisation, about the object of the event's own name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

_UNSAFE = re.compile(r"[^A-Za-z0-9_.\-]+")
_URI = re.compile(r"https?://[A-Za-z0-9\-._~:/?#\[\]@!$&'()*+,;=%]{1,2000}", re.ASCII)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_REPOSITORY = ("repository.url", "organization.url", "installation.account.url", "sender.url")
_OWNER = ("repository.owner.url", *_REPOSITORY)
_ACCOUNT = ("installation.account.url", "sender.url")


@dataclass(frozen=True)
class Rule:
    """Where an event's attributes come from: paths, of which the first that is there counts."""

    name: str = ""
    kind: tuple[str, ...] = ("action",)
    source: tuple[str, ...] = _REPOSITORY
    subject: tuple[str, ...] = ()
    time: tuple[str, ...] = ()


@dataclass(frozen=True)
class Attributes:
    """What the adapter says of a delivery. `time` is RFC 3339."""

    source: str
    type: str
    subject: str | None
    time: str


def _about(part: str, field: str = "id", **other: Any) -> Rule:
    given = {"time": (f"{part}.updated_at",), **other}
    return Rule(subject=(f"{part}.{field}",), **given)


_RULES: Mapping[str, Rule] = {
    "check_run": _about("check_run", time=("check_run.completed_at", "check_run.started_at")),
    "check_suite": _about("check_suite"),
    "commit_comment": _about("comment", source=("comment.url", *_REPOSITORY)),
    "content_reference": Rule(subject=("content_reference.id",)),
    "create": Rule(kind=("ref_type",), subject=("ref",)),
    "delete": Rule(kind=("ref_type",), subject=("ref",)),
    "deploy_key": _about("key", time=("key.deleted_at", "key.created_at")),
    "deployment": _about("deployment", kind=()),
    "deployment_status": _about(
        "deployment_status",
        "url",
        kind=("deployment_status.state",),
        source=("deployment.url", *_REPOSITORY),
    ),
    "fork": _about("forkee", "url", kind=(), time=("forkee.created_at",)),
    "github_app_authorization": Rule(kind=(), source=("sender.url",)),
    "gollum": Rule(kind=()),
    "installation": _about("installation", source=_ACCOUNT),
    "installation_repositories": _about(
        "installation", name="installation_repository", source=_ACCOUNT
    ),
    "issue_comment": _about("comment", source=("issue.url", *_REPOSITORY)),
    "issues": _about("issue", "number", name="issue"),
    "label": Rule(subject=("label.name",)),
    "marketplace_purchase": Rule(
        source=("sender.url",),
        subject=("marketplace_purchase.account.login",),
        time=("effective_date",),
    ),
    "member": Rule(subject=("member.login",)),
    "membership": Rule(
        kind=("scope", "action"), source=("team.url", *_REPOSITORY), subject=("member.login",)
    ),
    "meta": Rule(subject=("hook_id",), time=("hook.updated_at",)),
    "milestone": _about("milestone", "number"),
    "org_block": Rule(source=("organization.url",), subject=("blocked_user.login",)),
    "organization": Rule(source=("organization.url",), subject=("membership.user.login",)),
    "page_build": Rule(kind=(), subject=("build.url",), time=("pusher.updated_at",)),
    "ping": Rule(kind=(), subject=("hook_id",), time=("hook.updated_at",)),
    "project": _about("project"),
    "project_card": _about("project_card"),
    "project_column": _about("project_column"),
    "public": _about("repository", "name", kind=(), source=_OWNER),
    "pull_request": Rule(subject=("number",), time=("pull_request.updated_at",)),
    "pull_request_review": _about(
        "review", source=("pull_request.url", *_REPOSITORY), time=("review.submitted_at",)
    ),
    "pull_request_review_comment": _about(
        "comment", source=("pull_request.url", *_REPOSITORY), time=("pull_request.updated_at",)
    ),
    "push": Rule(kind=(), subject=("ref",)),
    "registry_package": _about("registry_package", "html_url"),
    "release": _about("release", time=("release.{action}_at", "release.created_at")),
    "repository": _about("repository", "name", source=_OWNER),
    "repository_import": _about("repository", "name", kind=(), source=_OWNER),
    "repository_vulnerability_alert": Rule(subject=("alert.id",)),
    "security_advisory": _about("security_advisory", "ghsa_id", source=()),
    "star": Rule(time=("starred_at",)),
    "status": Rule(kind=("state",), subject=("sha",), time=("updated_at",)),
    "team": Rule(subject=("team.id",), time=("updated_at",)),
    "team_add": Rule(subject=("team.id",)),
    "watch": Rule(),
}


def adapt(event: str, payload: Mapping[str, Any], received: datetime) -> Attributes:
    """The attributes of the delivery of `event` (the header X-GitHub-Event).

    >>> at = datetime(2026, 1, 2, tzinfo=UTC)
    >>> adapt("issues", {"action": "labeled", "issue": {"number": 7}}, at).type
    'com.github.issue.labeled'
    >>> adapt("brand_new", {"action": "shone", "repository": {"url": "https://x/r"}}, at)
    Attributes(source='https://x/r', type='com.github.brand_new.shone', subject=None, \
time='2026-01-02T00:00:00Z')
    """
    rule = _RULES.get(event) or _about(event, "number")
    parts = [rule.name or event, *(_text(_at(payload, path)) for path in rule.kind)]
    subject = _first(payload, rule.subject) or (
        None if event in _RULES else _first(payload, (f"{event}.id",))
    )
    return Attributes(
        source=_source(event, rule, payload),
        type=".".join(["com.github", *(_UNSAFE.sub("_", part)[:100] for part in parts if part)]),
        subject=subject,
        time=_time(payload, rule) or _written(received),
    )


def listed_type(event: str, action: str | None) -> str:
    """The type of an event as far as a list of deliveries tells it: `*` stands for the rest.

    >>> listed_type("issues", "labeled"), listed_type("push", None), listed_type("create", None)
    ('com.github.issue.labeled', 'com.github.push', 'com.github.create*')
    """
    rule = _RULES.get(event) or _about(event, "number")
    kind = ".".join(["com.github", _UNSAFE.sub("_", rule.name or event)[:100]])
    if rule.kind == ("action",):
        return f"{kind}.{_UNSAFE.sub('_', action)[:100]}" if action else kind
    return f"{kind}*" if rule.kind else kind


def _source(event: str, rule: Rule, payload: Mapping[str, Any]) -> str:
    if event == "security_advisory":
        return "github.com"
    found = next((u for path in rule.source if _is_uri(u := _text(_at(payload, path)))), "")
    if event == "commit_comment" and found and (commit := _text(_at(payload, "comment.commit_id"))):
        return f"{found}/{_UNSAFE.sub('_', commit)[:100]}"
    if event == "marketplace_purchase" and found:
        return found.rpartition("/")[0]
    return found or "github.com"


def _is_uri(text: str) -> bool:
    return _URI.fullmatch(text) is not None and not _BAD_ESCAPE.search(text)


def _time(payload: Mapping[str, Any], rule: Rule) -> str | None:
    for path in rule.time:
        value = _at(payload, path.replace("{action}", _text(payload.get("action"))))
        if isinstance(value, str) and _TIME.fullmatch(value):
            try:
                datetime.fromisoformat(value.upper().replace("Z", "+00:00"))
            except ValueError:
                continue
            return value
        if isinstance(value, int) and 0 < value < 10**11:
            return _written(datetime.fromtimestamp(value, UTC))
    return None


def _written(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _first(payload: Mapping[str, Any], paths: tuple[str, ...]) -> str | None:
    return next((text for path in paths if (text := _text(_at(payload, path)))), None)


def _at(payload: Any, path: str) -> Any:
    for name in path.split("."):
        if not isinstance(payload, Mapping):
            return None
        payload = payload.get(name)
    return payload


def _text(value: Any) -> str:
    """A string or number as text that any store and header can hold; empty for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int):
        return ""
    text = value if isinstance(value, str) else str(value) if abs(value) < 10**30 else ""
    text = text[:1000]
    return text if text.isprintable() else "".join(c for c in text if c.isprintable())
