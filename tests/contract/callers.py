"""The component `oidc`: which token each Service asks of its callers, and which it is called with.

A Trigger delivers under an identity of its own to the audience of its subscriber, if it names one;
a Service of Knative has none of itself, so here each gets the one that Knative would have made.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from functools import cache
from textwrap import indent
from typing import Any

import yaml

from tests.support.repository import (
    KNATIVE,
    Manifest,
    all_folders,
    container,
    of_kind,
    services,
    triggers,
)

PATH = KNATIVE / "components" / "oidc" / "kustomization.yaml"
NAMESPACE = "dsm"
# Asks everybody, and says for whom.
CONSOLE = "console"
# The account of a user's tokens.
OPERATOR = "operator"
# Jobs that call a Service, from the component `sample`.
JOBS = {"setup-backlog": ["backlog-setup"]}
# Where a cluster's own API may be; link-local, where clouds give out credentials, is not among it.
PRIVATE = ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")
_CLIENTS = {
    "projects": "project-service",
    "sprints": "sprint-service",
    "backlogs": "backlog-service",
    "scrums": "daily-scrum-service",
    "chronicle": "chronicle-service",
    "orchestrator": "project-orchestrator",
}
_OTHERS = {"webhook-receiver": ["job-launcher"]}
_SINK = "dead-letter"
_MOUNT = "/var/run/dsm"
_HEADER = """\
# Every producer has an identity and may send what its code emits; every Service knows its callers
# by their tokens. It needs the features authentication-oidc and, for the tokens,
# transport-encryption, and comes last of an overlay's components.
# Made from the code by `python -m tests.contract.tables --write`; not written by hand.
apiVersion: kustomize.config.k8s.io/v1alpha1
kind: Component
resources:
  - policies.yaml
patches:
  # A SinkBinding has one identity: each producer gets its own.
  - patch: |
      $patch: delete
      apiVersion: sources.knative.dev/v1
      kind: SinkBinding
      metadata:
        name: publishers
"""
_ALIKE = f"""\
- op: add
  path: /spec/template/spec/containers/0/env/-
  value:
    name: OIDC_JWKS_URL
    value: https://kubernetes.default.svc/openid/v1/jwks
- op: add
  path: /spec/template/spec/containers/0/env/-
  value:
    name: OIDC_ISSUER_TOKEN_FILE
    value: {_MOUNT}/issuer/token
- op: add
  path: /spec/template/spec/containers/0/env/-
  value:
    name: OIDC_ISSUER_CA_FILE
    value: {_MOUNT}/issuer/ca.crt
- op: add
  path: /spec/template/spec/containers/0/env/-
  value:
    name: SERVICE_TOKENS
    value: {_MOUNT}/services
- op: add
  path: /spec/template/spec/containers/0/envFrom
  value:
  - configMapRef:
      name: users
      optional: true
"""


def text() -> str:
    """The component's kustomization."""
    return _HEADER + "".join(_patches())


def audience(service: str) -> str:
    """The audience of a Service, as Knative would have named it."""
    return f"serving.knative.dev/service/{NAMESPACE}/{service}"


def subject(account: str) -> str:
    return f"system:serviceaccount:{NAMESPACE}:{account}"


def identity(kind: str, group: str, name: str) -> str:
    """The account that Knative makes for a Trigger or a source (`kmeta.ChildName`).

    >>> identity("Broker", "eventing.knative.dev", "my-broker")
    'my-broker-oidc-eventing.knative.dev-broker'
    >>> identity("Broker", "eventing.knative.dev", "my-l" + "o" * 38 + "g-Broker")
    'my-looooooooooooooooooooooooooo2dfc2a3825b8d82077b0f25518b36884'
    """
    suffix = f"-oidc-{group}-{kind}"
    whole = name + suffix
    if len(whole) <= 63:
        return whole.lower()
    assert len(suffix) > 30, "a shorter one is cut in another way"
    digest = hashlib.md5(whole.encode()).hexdigest()
    return f"{name[:31]}{digest}{suffix}"[:63].lower().rstrip("-.")


@cache
def calls() -> dict[str, list[str]]:
    """Which Services each Service or Job calls."""
    found: dict[str, list[str]] = dict(JOBS)
    for name, service in services().items():
        source = "".join(p.read_text() for p in all_folders()[name.replace("-", "_")].rglob("*.py"))
        used = set(re.findall(r"(?:\bdsm\([^)]*\)|services)\.(\w+)", source))
        called = {_CLIENTS[client] for client in used & set(_CLIENTS)} | set(_OTHERS.get(name, ()))
        if service["metadata"]["labels"].get("dsm.io/publishes") == "true":
            called.add(_SINK)
        if name == CONSOLE:
            called = set(services())
        found[name] = sorted(called - {name})
    return found


def callers(service: str) -> list[str]:
    """The subjects that may make requests of a Service other than events."""
    accounts = [name for name, called in sorted(calls().items()) if service in called]
    if service == _SINK:
        accounts = [CONSOLE]  # the others send it events
    return [subject(account) for account in (OPERATOR, *accounts)]


def senders(service: str) -> list[str]:
    """The subjects under which events come to a Service."""
    delivering = [subject(_of_trigger(t.name)) for t in triggers() if t.service == service]
    delivering += [
        subject(_of_source(source["metadata"]["name"]))
        for source in of_kind("KafkaSource", "sources.knative.dev/")
        if service in (source["spec"]["sink"]["ref"]["name"], _SINK)
    ]
    if service == _SINK:
        # A channel delivers a dead letter as its Subscription, Kafka's Broker as the Trigger, a
        # KafkaSource as itself; the outboxes send what the Broker has refused.
        every = [m["metadata"]["name"] for m in of_kind("Trigger", "eventing.knative.dev/")]
        delivering += [subject("default-*"), *(subject(_of_trigger(name)) for name in every)]
        publishing = (name for name, called in calls().items() if _SINK in called)
        delivering += [subject(name) for name in publishing if name != CONSOLE]
    return sorted(set(delivering))


def _of_trigger(name: str) -> str:
    return identity("Trigger", "eventing.knative.dev", name)


def _of_source(name: str) -> str:
    return identity("KafkaSource", "sources.knative.dev", name)


def _patches() -> Iterator[str]:
    yield _patch("serving.knative.dev", "Service", "|".join(sorted(services())), _ALIKE)
    for name, service in sorted(services().items()):
        yield _patch("serving.knative.dev", "Service", name, _dump(list(_own(name, service))))
    for job, called in JOBS.items():
        yield _patch("batch", "Job", job, _dump(list(_of_job(called))))
    for trigger in sorted(triggers(), key=lambda t: t.name):
        at = [("/spec/subscriber/audience", trigger.service)]
        if trigger.delivery not in _brokers_deliveries():
            at.append(("/spec/delivery/deadLetterSink/audience", _SINK))
        yield _patch("eventing.knative.dev", "Trigger", trigger.name, _dump(_added(at)))
    at = [("/spec/delivery/deadLetterSink/audience", _SINK)]
    yield _patch("eventing.knative.dev", "Broker", "default", _dump(_added(at)))
    served = {trigger.name for trigger in triggers()}
    for manifest in of_kind("Trigger", "eventing.knative.dev/"):
        # A KafkaSink has an audience of its own.
        if (name := manifest["metadata"]["name"]) not in served:
            yield _patch("eventing.knative.dev", "Trigger", name, _dump(_added(at)))
    for source in of_kind("KafkaSource", "sources.knative.dev/"):
        both = [("/spec/sink/audience", source["spec"]["sink"]["ref"]["name"]), *at]
        name = source["metadata"]["name"]
        yield _patch("sources.knative.dev", "KafkaSource", name, _dump(_added(both)))
    # All ask Kubernetes for the keys of its tokens; nothing on the internet.
    to = [{"ipBlock": {"cidr": cidr}} for cidr in PRIVATE]
    ports = [{"protocol": "TCP", "port": port} for port in (443, 6443)]
    opened = [{"op": "add", "path": "/spec/egress/-", "value": {"to": to, "ports": ports}}]
    yield _patch("networking.k8s.io", "NetworkPolicy", "to-the-platform", _dump(opened))


def _brokers_deliveries() -> list[Manifest]:
    return [broker["spec"]["delivery"] for broker in of_kind("Broker", "eventing.knative.dev/")]


def _added(places: list[tuple[str, str]]) -> list[Manifest]:
    return [{"op": "add", "path": at, "value": audience(service)} for at, service in places]


def _own(name: str, service: Manifest) -> Iterator[Manifest]:
    """What a Service has of its own: whom it lets in, and with what it calls others."""
    at = "/spec/template/spec"
    if name != CONSOLE:  # its users sign in
        settings = {
            "OIDC_AUDIENCE": audience(name),
            "OIDC_SENDERS": ",".join(senders(name)),
            "OIDC_CALLERS": ",".join(callers(name)),
            "OIDC_OPERATORS": subject(OPERATOR),
            "OIDC_PROXIES": subject(CONSOLE),
        }
        for setting, value in settings.items():
            if value:
                variable = {"name": setting, "value": value}
                yield {"op": "add", "path": f"{at}/containers/0/env/-", "value": variable}
    pod = service["spec"]["template"]["spec"]
    yield from _mounted(at, pod, container(service), calls()[name])


def _of_job(called: list[str]) -> Iterator[Manifest]:
    at = "/spec/template/spec"
    variable = {"name": "SERVICE_TOKENS", "value": f"{_MOUNT}/services"}
    yield {"op": "add", "path": f"{at}/containers/0/env", "value": [variable]}
    yield from _mounted(at, {}, {}, called)


def _mounted(at: str, pod: Manifest, one: Manifest, called: list[str]) -> Iterator[Manifest]:
    mount = {"name": "identity", "mountPath": _MOUNT, "readOnly": True}
    volume = {"name": "identity", "projected": {"sources": list(_sources(called))}}
    yield _appended(f"{at}/containers/0/volumeMounts", mount, one.get("volumeMounts"))
    yield _appended(f"{at}/volumes", volume, pod.get("volumes"))


def _appended(path: str, value: Manifest, existing: object) -> Manifest:
    if existing:
        return {"op": "add", "path": f"{path}/-", "value": value}
    return {"op": "add", "path": path, "value": [value]}


def _sources(called: list[str]) -> Iterator[Manifest]:
    yield {"serviceAccountToken": {"path": "issuer/token"}}
    items = [{"key": "ca.crt", "path": "issuer/ca.crt"}]
    yield {"configMap": {"name": "kube-root-ca.crt", "items": items}}
    for service in called:
        path = f"services/{service}.{NAMESPACE}"
        yield {"serviceAccountToken": {"path": path, "audience": audience(service)}}


def _patch(group: str, kind: str, name: str, patch: str) -> str:
    target = {"group": group, "kind": kind, "name": name}
    return f"  - target:\n{indent(_dump(target), '      ')}    patch: |\n{indent(patch, '      ')}"


def _dump(value: Any) -> str:
    text: str = yaml.safe_dump(value, sort_keys=False, width=10_000)
    return text
