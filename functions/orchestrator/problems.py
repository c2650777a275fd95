"""Errors of the REST API as problem details (RFC 9457): what is wrong, which field, and why."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from functions.kit import cloudevents
from functions.kit.errors import Conflict, NotFound, PermanentError, TemporaryError, shortened
from functions.orchestrator.decide.registration import Problem
from functions.orchestrator.registration import Refused
from functions.orchestrator.registration_request import in_fields

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"


class FieldError(BaseModel):
    """One field that is wrong."""

    field: str
    reason: str


class ProblemDetails(BaseModel):
    """RFC 9457. `status` and `message` are what callers of the original look at."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldError] = Field([], description="every field that is wrong, at once")


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """What OpenAPI says of the errors that a route may answer; 400 and 503 may be anywhere."""
    return {
        status: {
            "description": HTTPStatus(status).phrase,
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
        }
        for status in sorted({400, 503, *statuses})
    }


def install(app: FastAPI) -> None:
    """Let an application answer errors as problems."""

    async def answer(request: Request, error: Exception) -> Response:
        return of(error)

    for kind in (
        RequestValidationError,
        ValidationError,
        HTTPException,
        PermanentError,
        TemporaryError,
        cloudevents.NotAnEvent,
        RecursionError,
        Exception,
    ):
        app.add_exception_handler(kind, answer)


def of(error: Exception) -> Response:
    """The answer to a request that failed."""
    match error:
        case RequestValidationError() | ValidationError():
            errors = _fields(in_fields(error.errors()))
            detail = "; ".join(f"{one.field}: {one.reason}" for one in errors)
            return _response(400, detail, errors)
        case Refused():
            return _response(400, error.detail, _fields(error.problems))
        case NotFound() | Conflict():
            return _response(error.status, error.detail, _field_of(error.detail))
        case RecursionError():
            return _response(400, "the body is nested too deeply")
        case PermanentError():
            return _response(400, error.detail, _field_of(error.detail))
        case cloudevents.NotAnEvent():
            return _response(400, str(error))
        case TemporaryError():
            headers = {"Retry-After": str(max(1, round(error.delay_s)))}
            return _response(503, error.detail, headers=headers)
        case HTTPException():
            return _response(error.status_code, str(error.detail), headers=error.headers)
        case _:
            logger.error("unexpected error", exc_info=error)
            return _response(500, type(error).__name__)


def _fields(found: Sequence[Problem]) -> list[FieldError]:
    return [FieldError(field=one.field, reason=one.reason) for one in found]


def _field_of(detail: str) -> list[FieldError]:
    field, colon, reason = detail.partition(": ")
    plain = field.replace(".", "").replace("-", "").isalnum()
    return [FieldError(field=field, reason=reason)] if colon and plain else []


def _response(
    status: int,
    detail: str,
    errors: Sequence[FieldError] = (),
    headers: Mapping[str, str] | None = None,
) -> Response:
    problem = ProblemDetails(
        title=HTTPStatus(status).phrase,
        status=status,
        detail=shortened(detail, 2000),
        errors=list(errors),
    )
    body = json.dumps(problem.model_dump())
    return Response(body, status, dict(headers or {}), media_type=MEDIA_TYPE)
