"""The component `oidc`: an identity for each producer, and what each may send.

A SinkBinding has one identity for all that it binds. So here each producer has a SinkBinding of its
own, and an EventPolicy that names it and the types that its code emits.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import yaml

from functions.events.base import Event
from functions.events.saga import RegistrationRequested, StepAnswered
from functions.events.schedule import ScheduleDue
from functions.events.webhook import JobCancelRequested, JobRetryRequested
from tests.contract import callers
from tests.support.repository import (
    KNATIVE,
    Manifest,
    event_types,
    function_folders,
    of_kind,
    producers_of,
    services,
    spec,
)

PATH = KNATIVE / "components" / "oidc" / "policies.yaml"
# What an API of theirs puts on the Broker for a caller.
ASKED_OVER_HTTP: dict[str, list[type[Event]]] = {
    "job-launcher": [JobCancelRequested, JobRetryRequested],
    "scheduler": [ScheduleDue],
}
# The orchestrator knows by the source whose these are: none sends under the source of another.
NAMED_BY_SOURCE = (RegistrationRequested, StepAnswered)
# Sends again whatever could not be handled.
ANYTHING = ("dead-letter",)
_BROKER = {"apiVersion": "eventing.knative.dev/v1", "kind": "Broker", "name": "default"}
_BINDING = {"apiVersion": "sources.knative.dev/v1", "kind": "SinkBinding"}
_HEADER = """\
# Made from what the code emits by `python -m tests.contract.tables --write`; not written by hand.
"""


def text() -> str:
    """The YAML of all bindings and policies."""
    documents = [_operator(), *_producers(), _sources()]
    return _HEADER + "---\n".join(yaml.safe_dump(one, sort_keys=False) for one in documents)


def _operator() -> Manifest:
    """The account under which a user calls: `kubectl create token operator --audience ...`."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {
            "name": callers.OPERATOR,
            "labels": {"app.kubernetes.io/name": callers.OPERATOR},
        },
        "automountServiceAccountToken": False,
    }


@cache
def producers() -> dict[str, list[type[Event]]]:
    """What each Service that publishes may send; an empty list stands for anything."""
    found: dict[str, list[type[Event]]] = {}
    for name, service in services().items():
        if service["metadata"]["labels"].get("dsm.io/publishes") == "true":
            folder = name.replace("-", "_")
            if folder in function_folders():
                kinds = list(spec(folder).emits)
            else:
                kinds = [kind for kind in event_types() if folder in producers_of(kind)]
            kinds = [kind for kind in kinds if kind.type != "dev.knative.sources.ping"]
            kinds += ASKED_OVER_HTTP.get(name, [])
            if kinds or name in ANYTHING:
                found[name] = sorted(kinds, key=lambda kind: kind.type)
    return found


def _producers() -> Iterator[Manifest]:
    for name, kinds in sorted(producers().items()):
        labels = {"app.kubernetes.io/name": name, "dsm.io/publishes": "true"}
        subject = {
            "apiVersion": "serving.knative.dev/v1",
            "kind": "Service",
            "selector": {"matchLabels": labels},
        }
        yield {
            "apiVersion": "sources.knative.dev/v1",
            "kind": "SinkBinding",
            "metadata": _metadata(name),
            "spec": {"subject": subject, "sink": {"ref": _BROKER}},
        }
        allowed = [{"ref": {**_BINDING, "name": f"producer-{name}"}}]
        yield _policy(name, allowed, [_filter(kind, name) for kind in kinds])


def _sources() -> Manifest:
    """The schedules, and those that sprints get at run time, which are named alike.

    By their accounts: a policy that names a source which an overlay has not is never ready, nor is
    its Broker then.
    """
    names = sorted(source["metadata"]["name"] for source in of_kind("PingSource", "sources"))
    accounts = [callers.identity("PingSource", "sources.knative.dev", name) for name in names]
    allowed: list[Manifest] = [{"sub": callers.subject(a)} for a in (*accounts, "run-dailyscrum-*")]
    return _policy("schedules", allowed, [{"exact": {"type": ScheduleDue.type}}])


def _policy(name: str, allowed: list[Manifest], filters: list[Manifest]) -> Manifest:
    body: dict[str, Any] = {"to": [{"ref": _BROKER}], "from": allowed}
    if filters:
        body["filters"] = filters if len(filters) == 1 else [{"any": filters}]
    return {
        "apiVersion": "eventing.knative.dev/v1alpha1",
        "kind": "EventPolicy",
        "metadata": _metadata(name),
        "spec": body,
    }


def _filter(kind: type[Event], service: str) -> Manifest:
    if kind in NAMED_BY_SOURCE:
        return {"exact": {"type": kind.type, "source": f"/functions/{service}"}}
    return {"prefix": {"type": f"{kind.type}."}} if kind.family else {"exact": {"type": kind.type}}


def _metadata(name: str) -> Manifest:
    return {"name": f"producer-{name}", "labels": {"app.kubernetes.io/name": "broker"}}
