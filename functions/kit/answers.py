"""An error as the HTTP answer that a broker, a service's caller and a person understand."""

from __future__ import annotations

import logging

from pydantic import ValidationError
from starlette.responses import JSONResponse, Response

from functions.kit import wire
from functions.kit.errors import PermanentError, TemporaryError, shortened

logger = logging.getLogger(__name__)

# A stock in-memory dispatcher dies of an error body over 768 bytes: whole bodies stay below 512.
MOST_DETAIL_BYTES = 480


def failure(error: Exception, *, service: bool = False) -> Response:
    """The answer to a request that failed; `service` keeps 404 and 409 apart from 422."""
    headers: dict[str, str] = {}
    match error:
        case wire.NotAnEvent():
            status, detail = 400, str(error)
        case ValidationError():
            status, detail = 422, in_words(error)
        case TemporaryError():
            status, detail = 503, error.detail
            headers["Retry-After"] = str(max(1, round(error.delay_s)))
        case PermanentError():
            status, detail = error.status if service else 422, error.detail
        case _:
            status, detail = 500, type(error).__name__
            if service:
                logger.error("unexpected error", exc_info=error)
    return JSONResponse({"detail": _fitting(detail)}, status, headers)


def in_words(error: ValidationError) -> str:
    """Every field that does not fit, and why."""
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'data'}: {problem['msg']}"
        for problem in error.errors()
    )


def _fitting(detail: str) -> str:
    # Measured as JSON has it: a letter may become six bytes.
    while len(detail.encode("ascii", "backslashreplace")) > MOST_DETAIL_BYTES:
        detail = shortened(detail, int(len(detail) * 0.9))
    return detail
