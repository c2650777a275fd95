"""Calls of services that must not be lost: committed like events, and made by the relay."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from functions.kit import cloudevents
from functions.kit.telemetry import correlation


def call_of(
    function: str,
    kind: str,
    key: str,
    body: Mapping[str, Any],
    *,
    subject: str | None = None,
    id: str | None = None,
) -> cloudevents.Message:
    """A call with the trace and the causation of now; those of one `key` are made in order.

    Its `id` is the Idempotency-Key. `Relay.makes` says how calls of a `kind` are made.
    """
    return cloudevents.Message(
        id=id or str(uuid4()),
        source=f"/functions/{function.replace('_', '-')}",
        type=kind,
        data=json.dumps(body, ensure_ascii=False).encode(),
        subject=subject,
        datacontenttype="application/json",
        extensions={**correlation.extensions(), "partitionkey": key},
    )
