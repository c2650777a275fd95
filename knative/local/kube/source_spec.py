"""What is refused in a PingSource and in an ApiServerSource, as Knative refuses it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from knative.local.kube.status import bad_request
from knative.local.manifests import admission, openapi

_WEBHOOK = 'admission webhook "validation.webhook.eventing.knative.dev" denied the request'


def check_source(body: Mapping[str, Any]) -> None:
    """ApiError 400 if the source does not fit its schema, or in the webhook's words."""
    refuse_source(f"{'.'.join(map(str, path))}: {reason}" for path, reason in openapi.faults(body))
    problems = [
        f"invalid value: {reason}: {'.'.join(map(str, path))}"
        for path, reason in admission.refusals(body)
    ]
    sink = (body.get("spec") or {}).get("sink") or {}
    if not (sink.get("ref") or sink.get("uri")):
        problems.append("expected at least one, got none: spec.sink.ref, spec.sink.uri")
    refuse_source(problems)


def refuse_source(problems: Iterable[str]) -> None:
    """ApiError 400 as from the webhook if there are problems."""
    if reason := "; ".join(problems):
        raise bad_request(f"{_WEBHOOK}: validation failed: {reason}")
