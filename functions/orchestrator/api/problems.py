"""The statuses of the REST API's errors, and their OpenAPI responses."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import Any

from fastapi import Request
from starlette.responses import Response

from functions.kit.contract import Problem
from functions.kit.contract.problem import MEDIA_TYPE
from functions.kit.errors import FieldError

# The Spring orchestrator answers 400 to every rejected request here.
_ALWAYS_400 = ("/api/orchestration/register", "/api/orchestration/execute/")


def answer(request: Request, found: Problem) -> Response:
    """Return the problem details of an error, with the field that its text begins with."""
    if found.status == 422 and request.url.path.startswith(_ALWAYS_400):
        found = replace(found, status=400)
    return replace(found, errors=found.errors or _field_of(found.detail)).response()


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI responses of a route's errors; every route may answer 401, 403 and 503."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
        }
        for status in sorted({401, 403, 503, *statuses})
    }


def _field_of(detail: str) -> list[FieldError]:
    field, colon, reason = detail.partition(": ")
    plain = field.replace(".", "").replace("-", "").isalnum()
    return [FieldError(field=field, reason=reason)] if colon and plain else []
