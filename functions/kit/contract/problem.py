"""An error as an HTTP answer: problem details (RFC 9457) in at most 512 bytes.

`type`, `title`, `status` and `detail`; where fields are wrong, `errors` names as many as there is
room for. Every function and every API of ours answers so.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, Field, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.responses import Response

from functions.kit import cloudevents
from functions.kit.errors import FieldError, PermanentError, TemporaryError, shortened

logger = logging.getLogger(__name__)

MEDIA_TYPE = "application/problem+json"
# A stock in-memory dispatcher dies of an error body over 768 bytes.
MAX_BYTES = 512
# Texts are cut down to this many characters before a field is left out.
_SHORT = 40


class ProblemDetails(BaseModel):
    """The body of an error."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    errors: list[FieldError] = Field([], description="the fields that are wrong, as many as fit")


@dataclass(frozen=True)
class Problem:
    """What an error is to the client."""

    status: int
    detail: str
    headers: Mapping[str, str] = field(default_factory=dict)
    errors: Sequence[FieldError] = ()

    def response(self) -> Response:
        """The answer, with texts shortened until its body has at most 512 bytes."""
        errors, limit = list(self.errors[:20]), MAX_BYTES
        while len(body := self._body(errors, limit)) > MAX_BYTES:
            if limit <= _SHORT and len(errors) > 1:
                errors.pop()
            else:
                limit = int(limit * 0.9)
        return Response(body, self.status, dict(self.headers), MEDIA_TYPE)

    def _body(self, errors: Sequence[FieldError], limit: int) -> bytes:
        details = ProblemDetails(
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=shortened(self.detail, limit),
            errors=[
                FieldError(field=shortened(one.field, limit), reason=shortened(one.reason, limit))
                for one in errors
            ],
        )
        return details.model_dump_json(exclude=None if errors else {"errors"}).encode()


def of(error: Exception, *, api: bool = False) -> Problem:
    """What an error is to a Broker; with `api` to a client, for whom 404 and 409 stand apart."""
    match error:
        case ValidationError():
            errors = wrong_fields(error.errors())
            return Problem(422, "; ".join(map(str, errors)), errors=errors)
        case TemporaryError():
            after = {"Retry-After": str(max(1, round(error.delay_s)))}
            return Problem(503, error.detail, after)
        case PermanentError():
            status = error.status if api else 422
            return Problem(status, error.detail, errors=error.fields)
        case cloudevents.NotAnEvent():
            return Problem(400, str(error))
        case ClientDisconnect():
            return Problem(400, "the connection ended before the body did")
        case RecursionError():
            return Problem(422, "data: is nested too deeply")
        case HTTPException():
            return Problem(error.status_code, str(error.detail), error.headers or {})
    if api:
        logger.error("unexpected error", exc_info=error)
    return Problem(500, type(error).__name__)


def failure(error: Exception, *, api: bool = False) -> Response:
    """The answer to a request that failed."""
    return of(error, api=api).response()


def refusal(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """The answer to a request that is refused without an exception."""
    return Problem(status, detail, headers or {}).response()


def describe(error: ValidationError) -> str:
    """Every field that does not fit, and why."""
    return "; ".join(map(str, wrong_fields(error.errors())))


def wrong_fields(errors: Iterable[Any]) -> list[FieldError]:
    """Pydantic's errors by the names that the client has used."""
    return [
        FieldError(field=".".join(map(str, one["loc"])) or "data", reason=one["msg"])
        for one in errors
    ]
