"""Request bodies: JSON, and YAML for server-side apply; no more than Kubernetes takes."""

from __future__ import annotations

import json
from typing import Any

import yaml
from starlette.requests import Request

from knative.local.kube.status import ApiError, bad_request

MAX_BODY = 3 * 1024 * 1024
APPLY = "application/apply-patch+yaml"
PATCHES = (
    "application/json-patch+json",
    "application/merge-patch+json",
    "application/strategic-merge-patch+json",
    APPLY,
)


async def read_body(request: Request) -> Any:
    """The decoded body, None if empty; ApiError 400 (not readable) or 413 (over 3 MiB)."""
    parts: list[bytes] = []
    async for part in request.stream():
        parts.append(part)
        if sum(map(len, parts)) > MAX_BODY:
            message = f"Request entity too large: limit is {MAX_BODY}"
            raise ApiError(413, "RequestEntityTooLarge", message)
    raw = b"".join(parts)
    if not raw:
        return None
    try:
        if request.headers.get("content-type", "").startswith(APPLY):
            # YAML knows dates; Kubernetes reads it as JSON, where they are text.
            return json.loads(json.dumps(yaml.safe_load(raw), default=str))
        body = json.loads(raw, parse_constant=_refuse)
        if b"\\ud" in raw or b"\\uD" in raw:
            json.dumps(body, ensure_ascii=False).encode()  # half a surrogate pair is no text
        return body
    except (ValueError, TypeError, RecursionError, yaml.YAMLError) as error:
        raise bad_request(f"couldn't read the body: {error}") from error


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")
