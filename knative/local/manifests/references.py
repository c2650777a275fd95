"""Does every name that an object mentions lead somewhere?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import TypeVar

from knative.local.hosts import BROKER_HOST
from knative.local.manifests import admission, core, eventing, serving, sources
from knative.local.manifests.meta import Destination, Manifest
from knative.local.manifests.pods import PodSpec
from knative.local.manifests.problems import Problem
from knative.local.manifests.resource import Resource
from knative.local.manifests.yaml_lines import FieldPath

Objects = list[tuple[Manifest, Resource]]
Fault = tuple[FieldPath, str]
M = TypeVar("M", bound=Manifest)

_SOURCES = (sources.PingSource, sources.ApiServerSource)


def check_references(objects: Objects) -> list[Problem]:
    """The problems of all references; empty when all of them resolve."""
    world = _Names([item for item, _ in objects])
    return [
        resource.problem(*fault) for item, resource in objects for fault in _faults(item, world)
    ]


def warnings(objects: Objects) -> list[Problem]:
    """What a cluster takes all the same: sources that are never ready, or never fire."""
    world = _Names([item for item, _ in objects])
    return [
        resource.problem(path, f"{reason}; a cluster takes it, and it never fires")
        for item, resource in objects
        for path, reason in _silent(item, world)
    ]


def faults_of(item: Manifest, objects: Iterable[Manifest]) -> list[Fault]:
    """The references of one more object that lead to none of `objects`."""
    return list(_faults(item, _Names(list(objects))))


def address(destination: Destination, namespace: str) -> str:
    """The URL that a destination resolves to, as Knative resolves it."""
    if destination.ref is None:
        return destination.uri or ""
    ref = destination.ref
    home = ref.namespace or namespace
    if ref.kind == "Broker":
        base = f"http://{BROKER_HOST}/{home}/{ref.name}"
    else:
        base = f"http://{ref.name}.{home}.svc.cluster.local"
    if not destination.uri:
        return base
    return f"{base}/{destination.uri.lstrip('/')}"


_SLICE_OF = "kubernetes.io/service-name"


class _Names:
    def __init__(self, objects: list[Manifest]) -> None:
        self._objects = {(type(item), item.namespace, item.name): item for item in objects}
        self.items = objects

    def get(self, kind: type[M], namespace: str, name: str) -> M | None:
        found = self._objects.get((kind, namespace, name))
        return found if isinstance(found, kind) else None


def _faults(item: Manifest, world: _Names) -> Iterator[Fault]:
    match item:
        case serving.KnativeService():
            yield from _pod(item, item.spec.template.spec, world)
        case core.Job():
            yield from _pod(item, item.spec.template.spec, world)
        case core.StatefulSet():
            yield from _pod(item, item.spec.template.spec, world)
        case core.Service():
            yield from _leads_somewhere(item, world)
        case eventing.Broker():
            yield from _delivery(item, item.spec.delivery, world)
        case eventing.Trigger():
            if world.get(eventing.Broker, item.namespace, item.spec.broker) is None:
                yield ("spec", "broker"), f"there is no Broker {item.namespace}/{item.spec.broker}"
            yield from _destination(item, item.spec.subscriber, ("spec", "subscriber"), world)
            yield from _delivery(item, item.spec.delivery, world)
        case sources.SinkBinding():
            yield from _destination(item, item.spec.sink, ("spec", "sink"), world)
            if not any(binds(item, other) for other in world.items):
                yield ("spec", "subject"), "selects nothing"


def _silent(item: Manifest, world: _Names) -> Iterator[Fault]:
    if isinstance(item, _SOURCES):
        yield from _destination(item, item.spec.sink, ("spec", "sink"), world)
    for name in item.spec.ce_overrides.extensions if isinstance(item, _SOURCES) else ():
        if name.lower() in admission.RESERVED:
            path = ("spec", "ceOverrides", "extensions", name)
            yield path, f"{name!r} is CloudEvents' own"
    if isinstance(item, sources.PingSource) and item.spec.cron.after(datetime.now(UTC)) is None:
        yield ("spec", "schedule"), f"{item.spec.schedule!r} never comes"


def binds(binding: sources.SinkBinding, item: Manifest) -> bool:
    """Does the SinkBinding inject into this object?"""
    subject = binding.spec.subject
    if not isinstance(item, serving.KnativeService | core.Job):
        return False
    if (subject.api_version, subject.kind) != (item.api_version, item.kind):
        return False
    if (subject.namespace or binding.namespace) != item.namespace:
        return False
    if subject.selector is None:
        return subject.name == item.name
    return subject.selector.match_labels.items() <= item.metadata.labels.items()


def _destination(
    item: Manifest, destination: Destination, path: FieldPath, world: _Names
) -> Iterator[Fault]:
    ref = destination.ref
    if ref is None:
        return
    namespace = ref.namespace or item.namespace
    kinds: dict[tuple[str, str], type[Manifest]] = {
        ("serving.knative.dev/v1", "Service"): serving.KnativeService,
        ("eventing.knative.dev/v1", "Broker"): eventing.Broker,
        ("v1", "Service"): core.Service,
    }
    kind = kinds.get((ref.api_version, ref.kind))
    if kind is None:
        reason = "locally a ref is a Service, of Knative or v1, or a Broker"
        yield (*path, "ref", "kind"), f"{ref.api_version} {ref.kind}: {reason}"
    elif world.get(kind, namespace, ref.name) is None:
        yield (*path, "ref", "name"), f"there is no {ref.kind} {namespace}/{ref.name}"


def _delivery(
    item: Manifest, delivery: eventing.DeliverySpec | None, world: _Names
) -> Iterator[Fault]:
    if delivery is not None and delivery.dead_letter_sink is not None:
        path = ("spec", "delivery", "deadLetterSink")
        yield from _destination(item, delivery.dead_letter_sink, path, world)


def _pod(item: Manifest, pod: PodSpec, world: _Names) -> Iterator[Fault]:
    top: FieldPath = ("spec", "template", "spec", "containers", 0)
    kinds: tuple[tuple[str, type[core.ConfigMap] | type[core.Secret]], ...] = (
        ("config_map", core.ConfigMap),
        ("secret", core.Secret),
    )
    container = pod.containers[0]
    for at, variable in enumerate(container.env):
        for prefix, kind in kinds:
            selector = getattr(variable.value_from, f"{prefix}_key_ref", None)
            if selector is None or selector.optional:
                continue
            path = (*top, "env", at, "valueFrom")
            holder = world.get(kind, item.namespace, selector.name)
            if holder is None:
                yield path, f"there is no {kind.__name__} {item.namespace}/{selector.name}"
            elif selector.key not in holder.files():
                yield path, f"{kind.__name__} {selector.name} has no key {selector.key!r}"
    for at, source in enumerate(container.env_from):
        for prefix, kind in kinds:
            ref = getattr(source, f"{prefix}_ref")
            if ref and not ref.optional and world.get(kind, item.namespace, ref.name) is None:
                reason = f"there is no {kind.__name__} {item.namespace}/{ref.name}"
                yield (*top, "envFrom", at), reason
    for at, volume in enumerate(pod.volumes):
        tokens = volume.projected.sources if volume.projected else ()
        if any(source.service_account_token for source in tokens):
            reason = "holds a ServiceAccount's token, and no token is issued on a laptop"
            yield ("spec", "template", "spec", "volumes", at), reason
        for prefix, kind in kinds:
            held = getattr(volume, prefix)
            if held is None or held.optional:
                continue
            name = held.name if prefix == "config_map" else held.secret_name
            if world.get(kind, item.namespace, name) is None:
                reason = f"there is no {kind.__name__} {item.namespace}/{name}"
                yield ("spec", "template", "spec", "volumes", at), reason


def _leads_somewhere(item: core.Service, world: _Names) -> Iterator[Fault]:
    if item.spec.type == "ExternalName":
        return
    if not item.spec.selector:
        slices = [one for one in world.items if isinstance(one, core.EndpointSlice)]
        if not any(one.metadata.labels.get(_SLICE_OF) == item.name for one in slices):
            yield ("spec", "selector"), f"is missing, and no EndpointSlice is labelled {_SLICE_OF}"
        return
    for other in world.items:
        if isinstance(other, core.StatefulSet) and other.namespace == item.namespace:
            labels = other.spec.template.metadata.labels
            if item.spec.selector and item.spec.selector.items() <= labels.items():
                return
    reason = "selects no StatefulSet; locally a v1 Service with a selector stands for PostgreSQL"
    yield ("spec", "selector"), reason
