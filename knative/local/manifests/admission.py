"""What Knative's admission webhooks refuse and no schema says, of an object as it is written.

The linter, `up` and the local Kubernetes API ask here, so that all of them refuse the same. Filters
and deliveries are checked beside what carries them out, in `broker/filters.py` and `eventing.py`.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from functions.cron import Cron, CronError, UnknownZoneError
from knative.local.manifests import autoscaling
from knative.local.manifests.source import FieldPath

Fault = tuple[FieldPath, str]
Body = Mapping[str, Any]

# CloudEvents' own attributes. No webhook refuses one as a ceOverrides extension; the event is lost.
RESERVED = {
    "id", "source", "type", "specversion", "time", "subject", "dataschema", "datacontenttype",
    "data",
}  # fmt: skip
INJECTION = "eventing.knative.dev/injection"
_DEPENDENCY = "knative.dev/dependency"
_MAX_LABEL = 63
_JSON = "application/json"
_POD: FieldPath = ("spec", "template", "spec")
_HANDLERS = {"httpGet", "tcpSocket", "exec", "grpc"}
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
_PORT_NAMES = {"", "http1", "h2c"}
_MAX_PORT = 65_535
_NAME = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


def refusals(body: Body) -> Iterator[Fault]:
    """Path and fault of each field of `body` that a webhook refuses, whatever its shape."""
    group = str(body.get("apiVersion", "")).rpartition("/")[0].partition(".")[0]
    check = _CHECKS.get((group, str(body.get("kind"))))
    if check is not None:
        yield from check(body)
    name = value_at(body, "metadata", "name")
    if group in _GROUPS and check is not _service and name and not _NAME.fullmatch(str(name)):
        yield ("metadata", "name"), f"{name!r} must be lower-case letters, digits, dashes and dots"


def label_fault(name: str) -> str:
    """Why a name cannot stand where Knative writes it into a label; empty where it can."""
    if len(name) <= _MAX_LABEL:
        return ""
    return f"{len(name)} characters: it becomes a label of at most {_MAX_LABEL}, so is never ready"


def _trigger(body: Body) -> Iterator[Fault]:
    broker = value_at(body, "spec", "broker")
    if not broker and not value_at(body, "spec", "brokerRef"):
        yield ("spec",), "broker is missing"
    path: FieldPath = ("metadata", "annotations")
    annotations = _mapping(body, *path)
    injection = annotations.get(INJECTION)
    if injection not in (None, "enabled", "disabled"):
        yield (*path, INJECTION), f"must be enabled or disabled, it is {injection!r}"
    elif injection and broker != "default":
        yield (*path, INJECTION), f"makes the Broker default only, and spec.broker is {broker!r}"
    if _DEPENDENCY in annotations:
        fault = _dependency_fault(annotations[_DEPENDENCY], value_at(body, "metadata", "namespace"))
        if fault:
            yield (*path, _DEPENDENCY), fault
    yield from _ref(body, ("spec", "subscriber"))


def _dependency_fault(text: Any, namespace: Any) -> str:
    try:
        ref = json.loads(text)
    except (TypeError, ValueError):
        ref = None
    if not isinstance(ref, dict):
        return "is not a JSON object that refers to another"
    missing = [name for name in ("kind", "name", "apiVersion") if not ref.get(name)]
    if missing:
        return f"{', '.join(missing)} is missing"
    other = ref.get("namespace") not in (None, "", namespace or "default")
    return "must name the Trigger's own namespace" if other else ""


def _ping(body: Body) -> Iterator[Fault]:
    spec = _mapping(body, "spec")
    schedule, zone = spec.get("schedule") or "* * * * *", spec.get("timezone") or ""
    try:
        Cron(str(schedule), str(zone))
    except UnknownZoneError as error:
        yield ("spec", "timezone" if zone else "schedule"), str(error)
        if zone and (fault := _cron_fault(str(schedule))):
            yield ("spec", "schedule"), fault
    except CronError as error:
        yield ("spec", "schedule"), str(error)
    yield from _ping_data(spec)
    yield from _source(body)


def _cron_fault(schedule: str) -> str:
    try:
        Cron(schedule)
    except CronError as error:
        return str(error)
    return ""


def _ping_data(spec: Body) -> Iterator[Fault]:
    data, encoded = spec.get("data") or "", spec.get("dataBase64") or ""
    field = "dataBase64" if encoded else "data"
    if data and encoded:
        yield ("spec", "dataBase64"), "data and dataBase64 are exclusive"
        return
    if encoded:
        try:
            data = base64.b64decode(re.sub(r"[\r\n]", "", str(encoded)), validate=True)
        except (binascii.Error, ValueError):
            yield ("spec", "dataBase64"), "is not base64"
            return
    if data and spec.get("contentType") == _JSON:
        try:
            value = json.loads(data)
        except (TypeError, ValueError, RecursionError) as error:
            yield ("spec", field), f"is not valid JSON: {error}"
        else:
            if value is not None and not isinstance(value, dict):
                yield ("spec", field), f"must be a JSON object under contentType {_JSON}"


def _source(body: Body) -> Iterator[Fault]:
    """What all sources have: a sink and the extensions of their events."""
    yield from _ref(body, ("spec", "sink"))
    yield from _overrides(body)


def _overrides(body: Body) -> Iterator[Fault]:
    path = ("spec", "ceOverrides", "extensions")
    for name in _mapping(body, *path):
        if not re.fullmatch(r"[A-Za-z0-9]+", str(name)):
            yield (*path, str(name)), f"{str(name)!r} must be letters and digits only"


def _api_server(body: Body) -> Iterator[Fault]:
    mode = value_at(body, "spec", "mode")
    if mode not in (None, "Reference", "Resource"):
        yield ("spec", "mode"), f"must be Reference or Resource, it is {mode!r}"
    resources = _items(body, "spec", "resources")
    if not resources:
        yield ("spec",), "resources is missing"
    for number in range(len(resources)):
        at: FieldPath = ("spec", "resources", number)
        yield from _missing(body, at, "apiVersion", "kind")
        for place in range(len(_items(body, *at, "selector", "matchExpressions"))):
            rule: FieldPath = (*at, "selector", "matchExpressions", place)
            if (
                not value_at(body, *rule, "key")
                or value_at(body, *rule, "operator") not in _OPERATORS
            ):
                yield rule, f"needs a key and an operator of {', '.join(_OPERATORS)}"
    if _mapping(body, "spec", "owner"):
        yield from _missing(body, ("spec", "owner"), "apiVersion", "kind")
    yield from _source(body)


def _sink_binding(body: Body) -> Iterator[Fault]:
    subject = _mapping(body, "spec", "subject")
    if not subject:
        yield ("spec",), "subject is missing"
    else:
        yield from _missing(body, ("spec", "subject"), "apiVersion", "kind")
        if bool(subject.get("name")) is (subject.get("selector") is not None):
            yield ("spec", "subject"), "needs exactly one of name or selector"
    yield from _source(body)


def _container_source(body: Body) -> Iterator[Fault]:
    containers = _items(body, *_POD, "containers")
    if not containers:
        yield ("spec",), "template.spec.containers is missing"
    for number in range(len(containers)):
        yield from _missing(body, (*_POD, "containers", number), "name", "image")
    yield from _source(body)


def _sequence(body: Body) -> Iterator[Fault]:
    steps = _items(body, "spec", "steps")
    if not steps:
        yield ("spec",), "steps is missing"
    for number in range(len(steps)):
        yield from _destination(body, ("spec", "steps", number))
    yield from _channel_template(body)


def _parallel(body: Body) -> Iterator[Fault]:
    branches = _items(body, "spec", "branches")
    if not branches:
        yield ("spec",), "branches is missing"
    for number in range(len(branches)):
        at: FieldPath = ("spec", "branches", number)
        yield from _missing(body, at, "subscriber")
        for name in ("filter", "subscriber", "reply"):
            if value_at(body, *at, name) is not None:
                yield from _destination(body, (*at, name))
    yield from _channel_template(body)


def _subscription(body: Body) -> Iterator[Fault]:
    if not _mapping(body, "spec", "channel"):
        yield ("spec",), "channel is missing"
    else:
        yield from _missing(body, ("spec", "channel"), "apiVersion", "kind", "name")
    if not _mapping(body, "spec", "subscriber") and not _mapping(body, "spec", "reply"):
        yield ("spec",), "needs a subscriber or a reply"


def _channel_template(body: Body) -> Iterator[Fault]:
    if _mapping(body, "spec", "channelTemplate"):
        yield from _missing(body, ("spec", "channelTemplate"), "apiVersion", "kind")


def _service(body: Body) -> Iterator[Fault]:
    name = str(value_at(body, "metadata", "name") or "")
    if name and not re.fullmatch(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?", name):
        message = "lower-case letters, digits and dashes, a letter first, at most 63 characters"
        yield ("metadata", "name"), f"{name!r} must be {message}"
    revision = value_at(body, "spec", "template", "metadata", "name")
    if revision and not str(revision).startswith(f"{name}-"):
        yield ("spec", "template", "metadata", "name"), f"must begin with {name}-"
    path: FieldPath = ("spec", "template", "metadata", "annotations")
    for setting, fault in autoscaling.faults(_mapping(body, *path)):
        yield (*path, autoscaling.PREFIX + setting), fault
    yield from _traffic(body)
    yield from _containers(body)


def _traffic(body: Body) -> Iterator[Fault]:
    targets, total = _items(body, "spec", "traffic"), 0
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
    containers = _items(body, *_POD, "containers")
    if not containers:
        yield ("spec", "template"), "spec.containers is missing"
    mounted: set[str] = set()
    for number in range(len(containers)):
        at: FieldPath = (*_POD, "containers", number)
        yield from _missing(body, at, "image")
        for probe in ("readinessProbe", "livenessProbe", "startupProbe"):
            handlers = sorted(_HANDLERS & _mapping(body, *at, probe).keys())
            if len(handlers) > 1:
                yield (*at, probe), f"has {' and '.join(handlers)}, of which one is allowed"
        for place in range(len(_items(body, *at, "ports"))):
            name = value_at(body, *at, "ports", place, "name") or ""
            if name not in _PORT_NAMES:
                yield (*at, "ports", place, "name"), f"{name!r} must be http1, h2c or nothing"
            port = value_at(body, *at, "ports", place, "containerPort")
            if isinstance(port, int) and not 0 <= port <= _MAX_PORT:
                path: FieldPath = (*at, "ports", place, "containerPort")
                yield path, f"{port} is not within 0 to {_MAX_PORT}"
        if value_at(body, *at, "securityContext", "privileged"):
            yield (*at, "securityContext", "privileged"), "is not allowed"
        for place in range(len(_items(body, *at, "volumeMounts"))):
            mount: FieldPath = (*at, "volumeMounts", place)
            mounted.add(str(value_at(body, *mount, "name")))
            if value_at(body, *mount, "mountPropagation"):
                yield (*mount, "mountPropagation"), "is not allowed"
    for number in range(len(_items(body, *_POD, "volumes"))):
        volume = value_at(body, *_POD, "volumes", number, "name")
        if volume and volume not in mounted:
            yield (*_POD, "volumes", number), f"no container mounts the volume {volume}"


def _destination(body: Body, path: FieldPath) -> Iterator[Fault]:
    if not value_at(body, *path, "ref") and not value_at(body, *path, "uri"):
        yield path, "needs a ref or a uri"
    yield from _ref(body, path)


def _ref(body: Body, path: FieldPath) -> Iterator[Fault]:
    if value_at(body, *path, "ref"):
        yield from _missing(body, (*path, "ref"), "apiVersion", "kind", "name")


def _missing(body: Body, path: FieldPath, *names: str) -> Iterator[Fault]:
    for name in names:
        if not value_at(body, *path, name):
            yield path, f"{name} is missing"


def value_at(value: Any, *path: str | int) -> Any:
    """What stands at `path` in an object, whatever its shape; None where there is nothing."""
    for part in path:
        if isinstance(value, Mapping):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        else:
            return None
    return value


def _mapping(body: Body, *path: str | int) -> Mapping[Any, Any]:
    value = value_at(body, *path)
    return value if isinstance(value, Mapping) else {}


def _items(body: Body, *path: str | int) -> list[Any]:
    value = value_at(body, *path)
    return value if isinstance(value, list) else []


_CHECKS: dict[tuple[str, str], Callable[[Body], Iterator[Fault]]] = {
    ("eventing", "Trigger"): _trigger,
    ("flows", "Parallel"): _parallel,
    ("flows", "Sequence"): _sequence,
    ("messaging", "Channel"): _channel_template,
    ("messaging", "Subscription"): _subscription,
    ("serving", "Service"): _service,
    ("sources", "ApiServerSource"): _api_server,
    ("sources", "ContainerSource"): _container_source,
    ("sources", "PingSource"): _ping,
    ("sources", "SinkBinding"): _sink_binding,
}
_GROUPS = {group for group, _ in _CHECKS}
