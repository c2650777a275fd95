"""What a laptop has in place of what only a cluster has: one flag runs a production overlay.

- A Broker of any class becomes the local broker; Kafka's sources and sinks, and the Triggers that
  lead there, are left out, as are policies and monitoring.
- A database outside (a Service of type ExternalName labelled as database) becomes the embedded
  PostgreSQL, as the component `postgres` describes it.
- What asks a reverse proxy, a Deployment with the annotation `knative-local/in-front-of`, asks what
  is behind it.
- A key of a Secret that is not in the overlay, as it should not be, gets a value of no meaning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from knative.local.manifests.kustomize import build_component
from knative.local.manifests.meta import CLUSTER_WIDE
from knative.local.manifests.resource import Resource
from knative.local.manifests.yaml_lines import Document

# Kinds that a cluster has and a laptop only recognises.
CLUSTER_ONLY = {
    ("eventing.knative.dev/v1alpha1", "KafkaSink"),
    ("sources.knative.dev/v1", "KafkaSource"),
    ("eventing.knative.dev/v1alpha1", "RabbitmqBrokerConfig"),
    ("eventing.knative.dev/v1alpha1", "EventPolicy"),
    ("monitoring.coreos.com/v1", "PodMonitor"),
    ("monitoring.coreos.com/v1", "PrometheusRule"),
    ("apps/v1", "Deployment"),
}
POSTGRES = Path(__file__).resolve().parents[2] / "components" / "postgres"
_BROKER_CLASS = "eventing.knative.dev/broker.class"
_LOCAL_CLASS = "MTChannelBasedBroker"
_MEANINGLESS = "stand-in"
_IN_FRONT_OF = "knative-local/in-front-of"


def stand_in(resources: list[Resource]) -> list[str]:
    """Change `resources` in place; what was changed, in words."""
    notes = [*_brokers(resources), *_reverse_proxies(resources), *_left_out(resources)]
    notes += _databases(resources)
    return notes + _secrets(resources)


def _brokers(resources: list[Resource]) -> Iterator[str]:
    for resource in resources:
        annotations = resource.metadata.get("annotations") or {}
        name = annotations.get(_BROKER_CLASS, _LOCAL_CLASS)
        if resource.kind == "Broker" and name != _LOCAL_CLASS:
            del annotations[_BROKER_CLASS]
            resource.body.get("spec", {}).pop("config", None)
            yield f"Broker {resource.name}: the local broker instead of {name}"


def _reverse_proxies(resources: list[Resource]) -> Iterator[str]:
    for proxy in resources:
        behind = (proxy.metadata.get("annotations") or {}).get(_IN_FRONT_OF)
        if proxy.kind != "Deployment" or behind is None:
            continue
        host = f"{proxy.name}.{proxy.metadata.get('namespace', 'default')}.svc.cluster.local"
        at = re.compile(rf"http://{re.escape(host)}(:\d+)?(?=/|$)")
        for variable in (one for r in resources for one in _variables(r.body)):
            asked = variable.get("value")
            if isinstance(asked, str) and at.match(asked):
                variable["value"] = at.sub(behind, asked)
                yield f"{variable['name']}: {behind}, without the proxy in front of it"


def _variables(body: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every variable of a container."""
    pod = ((body.get("spec") or {}).get("template") or {}).get("spec") or {}
    for container in pod.get("containers") or ():
        yield from container.get("env") or ()


def _left_out(resources: list[Resource]) -> Iterator[str]:
    kinds = {kind for _, kind in CLUSTER_ONLY}
    pods = [
        (((r.body.get("spec") or {}).get("template") or {}).get("metadata") or {}).get("labels")
        or {}
        for r in resources
        if r.kind == "Deployment"
    ]
    for resource in list(resources):
        spec = resource.body.get("spec") or {}
        leads_to = ((spec.get("subscriber") or {}).get("ref") or {}).get("kind")
        chosen = spec.get("selector") if _key(resource) == ("v1", "Service") else None
        leads_to_pods = chosen and any(chosen.items() <= labels.items() for labels in pods)
        if _key(resource) in CLUSTER_ONLY or leads_to in kinds or leads_to_pods:
            resources.remove(resource)
            yield f"{resource.kind} {resource.name}: left out"


def _databases(resources: list[Resource]) -> Iterator[str]:
    outside = [r for r in resources if _is_database_outside(r)]
    if not outside:
        return
    namespace = outside[0].metadata.get("namespace", "default")
    own = {(r.kind, r.name): r for r in build_component(POSTGRES)}
    for resource in outside:
        host = resource.body["spec"]["externalName"]
        resource.body["spec"] = own["Service", "postgres"].body["spec"]
        yield f"Service {resource.name}: the embedded PostgreSQL instead of {host}"
    there = {(r.kind, r.name) for r in resources if r.metadata.get("namespace") == namespace}
    for key, new in own.items():
        if key not in there:
            if new.kind not in CLUSTER_WIDE:
                new.metadata["namespace"] = namespace
            resources.append(new)


def _is_database_outside(resource: Resource) -> bool:
    spec = resource.body.get("spec") or {}
    labels = resource.metadata.get("labels") or {}
    outside = _key(resource) == ("v1", "Service") and spec.get("type") == "ExternalName"
    return outside and labels.get("app.kubernetes.io/component") == "database"


def _secrets(resources: list[Resource]) -> list[str]:
    secrets = {
        (r.metadata.get("namespace"), r.name): r for r in resources if _key(r) == ("v1", "Secret")
    }
    notes = []
    for resource in list(resources):
        namespace = resource.metadata.get("namespace")
        for reference in _references(resource.body):
            name, key = reference["name"], reference["key"]
            if (namespace, name) not in secrets:
                metadata = {"name": name, "namespace": namespace}
                body = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata}
                nowhere = Document(resource.source.file, resource.source.line, body)
                secrets[namespace, name] = Resource(body, nowhere)
                resources.append(secrets[namespace, name])
                notes.append(f"Secret {name}: a value of no meaning")
            held = secrets[namespace, name].body
            if key not in {**held.get("data", {}), **held.get("stringData", {})}:
                held.setdefault("stringData", {})[key] = _MEANINGLESS
    return notes


def _references(value: Any) -> Iterator[dict[str, Any]]:
    """Every secretKeyRef that is not optional."""
    if isinstance(value, dict):
        reference = value.get("secretKeyRef")
        if isinstance(reference, dict) and not reference.get("optional"):
            yield reference
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)


def _key(resource: Resource) -> tuple[str, str]:
    return str(resource.body.get("apiVersion")), resource.kind
