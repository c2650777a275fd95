"""What the Kubernetes API answers to a request that failed, as one of our errors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from functions.kit.errors import Conflict, NotFound, PermanentError, TemporaryError, shortened

_MISSING_NAMESPACE = re.compile(r'namespaces "[^"]*" not found')
# The text of RBAC itself; an admission webhook may use any other.
_NO_RIGHT = re.compile(r'User "[^"]*" cannot \w+ resource "')
_VERBS = {"POST": "create", "GET": "read", "DELETE": "delete", "PATCH": "change"}


class Forbidden(PermanentError):
    """Kubernetes understood and does not let us: no quota left, or admission refuses."""


class NoRight(Forbidden):
    """The service account has no right to it, whatever the object."""


class QuotaUsedUp(Forbidden):
    """The namespace's quota has no room for this object now."""


def refusal(
    method: str, path: str, status: int, headers: Mapping[str, str], raw: bytes
) -> NotFound | Conflict | PermanentError | TemporaryError:
    """An answer that is no success, as an error with a message."""
    plural, namespace, name = _named(path)
    try:
        message = str(json.loads(raw).get("message") or "")
    except (ValueError, AttributeError):
        message = raw.decode(errors="replace")
    message = shortened(message)
    what = f"{plural.removesuffix('s')} {name}" if name else plural
    match status:
        case 401:
            return TemporaryError(
                "Kubernetes does not accept our credentials: the token is wrong or has expired",
                delay_s=10,
            )
        case 403 if "exceeded quota" in message:
            return QuotaUsedUp(f"the quota of namespace {namespace} is used up: {message}")
        case 403 if _NO_RIGHT.search(message) or not message:
            verb = "list" if method == "GET" and not name else _VERBS.get(method, method.lower())
            refused = f"service account may not {verb} {plural} in {namespace}"
            return NoRight(f"{refused}: {message}".removesuffix(": "))
        case 403:
            return Forbidden(f"Kubernetes forbids {plural} in {namespace}: {message}")
        case 404 if _MISSING_NAMESPACE.search(message):
            return NotFound(f"namespace {namespace} does not exist")
        case 404:
            return NotFound(f"{what} does not exist in {namespace}")
        case 409:
            return Conflict(message or f"{what} exists in {namespace}")
        case 408 | 429 | 500 | 502 | 503 | 504:
            failure = f"Kubernetes is busy ({status})" if status == 429 else f"Kubernetes: {status}"
            delay_s = _retry_after(headers.get("Retry-After", ""))
            return TemporaryError(f"{failure} {message}".rstrip(), delay_s=delay_s)
        case _ if status > 504:
            return TemporaryError(f"Kubernetes: {status} {message}".rstrip())
        case _:
            return PermanentError(f"Kubernetes refuses {what} ({status}): {message}")


def _named(path: str) -> tuple[str, str, str]:
    parts = path.partition("/namespaces/")[2].split("/")
    return parts[1], parts[0], parts[2] if len(parts) > 2 else ""


def _retry_after(given: str) -> float:
    if given.isdecimal():
        return float(given)
    try:
        return max(0.0, (parsedate_to_datetime(given) - datetime.now(UTC)).total_seconds())
    except (TypeError, ValueError):
        return 1.0
