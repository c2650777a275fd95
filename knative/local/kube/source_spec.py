"""What Knative's webhook refuses in a PingSource and in an ApiServerSource."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from functions.cron import Cron, CronError, UnknownZoneError
from knative.local.kube.resources import PING_SOURCE, Resource
from knative.local.kube.status import bad_request

_WEBHOOK = 'admission webhook "validation.webhook.eventing.knative.dev" denied the request'

_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def check_source(resource: Resource, body: Mapping[str, Any]) -> None:
    """ApiError 400 in the webhook's words if the source is not valid."""
    problems_of = _ping_problems if resource == PING_SOURCE else _api_server_problems
    spec = body.get("spec") or {}
    refuse_source([*problems_of(spec), *_sink_problems(spec)])


def refuse_source(problems: Iterable[str]) -> None:
    """ApiError 400 as from the webhook if there are problems."""
    if words := "; ".join(problems):
        raise bad_request(f"{_WEBHOOK}: validation failed: {words}")


def _sink_problems(spec: Mapping[str, Any]) -> Iterator[str]:
    sink = spec.get("sink") or {}
    if not (sink.get("ref") or sink.get("uri")):
        yield "expected at least one, got none: spec.sink.ref, spec.sink.uri"


def _api_server_problems(spec: Mapping[str, Any]) -> Iterator[str]:
    mode = spec.get("mode", "Reference")
    if mode not in ("Reference", "Resource"):
        yield f"invalid value: {mode}: spec.mode: Reference or Resource"
    if not spec.get("resources"):
        yield "missing field(s): spec.resources"
    for number, one in enumerate(spec.get("resources") or ()):
        at = f"spec.resources[{number}]"
        for field in ("apiVersion", "kind"):
            if not one.get(field):
                yield f"missing field(s): {at}.{field}"
        for rule in (one.get("selector") or {}).get("matchExpressions") or ():
            if not rule.get("key") or rule.get("operator") not in _OPERATORS:
                yield f"invalid value: {rule}: {at}.selector.matchExpressions"
    if spec.get("owner") and not (spec["owner"].get("apiVersion") and spec["owner"].get("kind")):
        yield "missing field(s): spec.owner.apiVersion, spec.owner.kind"


def _ping_problems(spec: Mapping[str, Any]) -> Iterator[str]:
    schedule, zone = spec.get("schedule"), spec.get("timezone")
    try:
        Cron(str(schedule or "* * * * *"), str(zone or ""))  # the default, as in Knative
    except UnknownZoneError as error:
        yield f"invalid value: {zone}: spec.timezone: {error}"
    except CronError as error:
        yield f"invalid value: {schedule}: spec.schedule: {error}"
    yield from _data_problems(spec)


def _data_problems(spec: Mapping[str, Any]) -> Iterator[str]:
    data, encoded = spec.get("data") or "", spec.get("dataBase64") or ""
    if data and encoded:
        yield "expected exactly one, got both: spec.data, spec.dataBase64"
    if encoded:
        try:
            data = base64.b64decode(encoded, validate=True)
        except ValueError as error:
            yield f"invalid value: spec.dataBase64: {error}"
            return
    if data and spec.get("contentType") == "application/json":
        try:
            json.loads(data)
        except ValueError as error:
            yield f"invalid value: {data!r}: spec.data: {error}"
