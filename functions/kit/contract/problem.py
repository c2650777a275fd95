"""An error as the HTTP answer that a broker, a service's caller and a person understand."""

from __future__ import annotations

import logging
from collections.abc import Mapping

from pydantic import ValidationError
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response

from functions.kit import cloudevents
from functions.kit.errors import PermanentError, TemporaryError, shortened

logger = logging.getLogger(__name__)

# A stock in-memory dispatcher dies of an error body over 768 bytes.
MOST_BYTES = 512


def failure(error: Exception, *, service: bool = False) -> Response:
    """The answer to a request that failed; `service` keeps 404 and 409 apart from 422."""
    headers: dict[str, str] = {}
    match error:
        case cloudevents.NotAnEvent():
            status, detail = 400, str(error)
        case ValidationError():
            status, detail = 422, in_words(error)
        case TemporaryError():
            status, detail = 503, error.detail
            headers["Retry-After"] = str(max(1, round(error.delay_s)))
        case PermanentError():
            status, detail = error.status if service else 422, error.detail
            if status in (408, 413):
                headers["Connection"] = "close"  # the rest of the body is not waited for
        case ClientDisconnect():
            status, detail = 400, "the connection ended before the body did"
        case RecursionError():
            status, detail = 422, "data: is nested too deeply"
        case _:
            status, detail = 500, type(error).__name__
            if service:
                logger.error("unexpected error", exc_info=error)
    return refusal(status, detail, headers)


def refusal(status: int, detail: str, headers: Mapping[str, str] | None = None) -> Response:
    """`{"detail": ...}`, shortened until the whole body has at most 512 bytes."""
    said = detail.encode(errors="backslashreplace").decode()  # half a surrogate pair is no UTF-8
    response = JSONResponse({"detail": said}, status, headers)
    # Measured as it is sent: in JSON a letter may become six bytes.
    while len(response.body) > MOST_BYTES:
        said = shortened(said, min(MOST_BYTES, int(len(said) * 0.9)))
        response = JSONResponse({"detail": said}, status, headers)
    return response


def in_words(error: ValidationError) -> str:
    """Every field that does not fit, and why."""
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'data'}: {problem['msg']}"
        for problem in error.errors()
    )
