"""Which statuses the REST API's errors have, and what OpenAPI says of them."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import Any

from fastapi import Request
from starlette.responses import Response

from functions.kit.contract.problem import MEDIA_TYPE, Problem
from functions.kit.errors import FieldError

# The Spring orchestrator answers 400 to whatever it refuses here; its clients look for that.
_ALWAYS_400 = ("/api/orchestration/register", "/api/orchestration/execute/")


def answer(request: Request, found: Problem) -> Response:
    """The answer to an error: its problem details, with the field that its text begins with."""
    if found.status == 422 and request.url.path.startswith(_ALWAYS_400):
        found = replace(found, status=400)
    return replace(found, errors=found.errors or _field_of(found.detail)).response()


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of the errors that a route may answer; 503 may be anywhere."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
        }
        for status in sorted({503, *statuses})
    }


def _field_of(detail: str) -> list[FieldError]:
    field, colon, reason = detail.partition(": ")
    plain = field.replace(".", "").replace("-", "").isalnum()
    return [FieldError(field=field, reason=reason)] if colon and plain else []
