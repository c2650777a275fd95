"""What Knative's webhooks refuse of a Service of Serving."""

from __future__ import annotations

import re
from collections.abc import Iterator

from knative.local.manifests import autoscaling
from knative.local.manifests.fields import POD, Body, Fault, items_at, mapping_at, missing, value_at
from knative.local.manifests.yaml_lines import FieldPath

_HANDLERS = {"httpGet", "tcpSocket", "exec", "grpc"}
_PORT_NAMES = {"", "http1", "h2c"}
_MAX_PORT = 65_535


def service(body: Body) -> Iterator[Fault]:
    name = str(value_at(body, "metadata", "name") or "")
    if name and not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name):
        message = "lower-case letters, digits and dashes, a letter first, at most 63 characters"
        yield ("metadata", "name"), f"{name!r} must be {message}"
    revision = value_at(body, "spec", "template", "metadata", "name")
    if revision and not str(revision).startswith(f"{name}-"):
        yield ("spec", "template", "metadata", "name"), f"must begin with {name}-"
    path: FieldPath = ("spec", "template", "metadata", "annotations")
    for setting, fault in autoscaling.faults(mapping_at(body, *path)):
        yield (*path, autoscaling.PREFIX + setting), fault
    yield from _traffic(body)
    yield from _containers(body)


def _traffic(body: Body) -> Iterator[Fault]:
    targets, total = items_at(body, "spec", "traffic"), 0
    for number, target in enumerate(targets):
        at: FieldPath = ("spec", "traffic", number)
        if isinstance(target, dict):
            percent = target.get("percent")
            total += percent if isinstance(percent, int) else 0
            if bool(target.get("revisionName")) is bool(target.get("latestRevision")):
                yield at, "needs exactly one of revisionName or latestRevision: true"
    if targets and total != 100:
        yield ("spec", "traffic"), f"the percents add up to {total}, not to 100"


def _containers(body: Body) -> Iterator[Fault]:
    containers = items_at(body, *POD, "containers")
    if not containers:
        yield ("spec", "template"), "spec.containers is missing"
    mounted: set[str] = set()
    for number in range(len(containers)):
        at: FieldPath = (*POD, "containers", number)
        yield from missing(body, at, "image")
        for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
            handlers = sorted(_HANDLERS & mapping_at(body, *at, probe).keys())
            if len(handlers) > 1:
                yield (*at, probe), f"has {' and '.join(handlers)}, of which one is allowed"
        for place in range(len(items_at(body, *at, "ports"))):
            name = value_at(body, *at, "ports", place, "name") or ""
            if name not in _PORT_NAMES:
                yield (*at, "ports", place, "name"), f"{name!r} must be http1, h2c or nothing"
            port = value_at(body, *at, "ports", place, "containerPort")
            if isinstance(port, int) and not 0 <= port <= _MAX_PORT:
                path: FieldPath = (*at, "ports", place, "containerPort")
                yield path, f"{port} is not within 0 to {_MAX_PORT}"
        if value_at(body, *at, "securityContext", "privileged"):
            yield (*at, "securityContext", "privileged"), "is not allowed"
        for place in range(len(items_at(body, *at, "volumeMounts"))):
            mount: FieldPath = (*at, "volumeMounts", place)
            mounted.add(str(value_at(body, *mount, "name")))
            if value_at(body, *mount, "mountPropagation"):
                yield (*mount, "mountPropagation"), "is not allowed"
    for number in range(len(items_at(body, *POD, "volumes"))):
        volume = value_at(body, *POD, "volumes", number, "name")
        if volume and volume not in mounted:
            yield (*POD, "volumes", number), f"no container mounts the volume {volume}"
