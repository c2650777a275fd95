"""What Knative's webhooks refuse of sources and of a SinkBinding."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator

from functions.cron import Cron, CronError, UnknownZoneError
from knative.local.manifests.fields import (
    POD,
    Body,
    Fault,
    items_at,
    mapping_at,
    missing,
    ref,
    value_at,
)
from knative.local.manifests.yaml_lines import FieldPath

_JSON = "application/json"
_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def ping(body: Body) -> Iterator[Fault]:
    spec = mapping_at(body, "spec")
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
    yield from ref(body, ("spec", "sink"))
    yield from _overrides(body)


def _overrides(body: Body) -> Iterator[Fault]:
    path = ("spec", "ceOverrides", "extensions")
    for name in mapping_at(body, *path):
        if not re.fullmatch(r"[A-Za-z0-9]+", str(name)):
            yield (*path, str(name)), f"{str(name)!r} must be letters and digits only"


def api_server(body: Body) -> Iterator[Fault]:
    mode = value_at(body, "spec", "mode")
    if mode not in (None, "Reference", "Resource"):
        yield ("spec", "mode"), f"must be Reference or Resource, it is {mode!r}"
    resources = items_at(body, "spec", "resources")
    if not resources:
        yield ("spec",), "resources is missing"
    for number in range(len(resources)):
        at: FieldPath = ("spec", "resources", number)
        yield from missing(body, at, "apiVersion", "kind")
        for place in range(len(items_at(body, *at, "selector", "matchExpressions"))):
            rule: FieldPath = (*at, "selector", "matchExpressions", place)
            if (
                not value_at(body, *rule, "key")
                or value_at(body, *rule, "operator") not in _OPERATORS
            ):
                yield rule, f"needs a key and an operator of {', '.join(_OPERATORS)}"
    if mapping_at(body, "spec", "owner"):
        yield from missing(body, ("spec", "owner"), "apiVersion", "kind")
    yield from _source(body)


def sink_binding(body: Body) -> Iterator[Fault]:
    subject = mapping_at(body, "spec", "subject")
    if not subject:
        yield ("spec",), "subject is missing"
    else:
        yield from missing(body, ("spec", "subject"), "apiVersion", "kind")
        if bool(subject.get("name")) is (subject.get("selector") is not None):
            yield ("spec", "subject"), "needs exactly one of name or selector"
    yield from _source(body)


def container_source(body: Body) -> Iterator[Fault]:
    containers = items_at(body, *POD, "containers")
    if not containers:
        yield ("spec",), "template.spec.containers is missing"
    for number in range(len(containers)):
        yield from missing(body, (*POD, "containers", number), "name", "image")
    yield from _source(body)
