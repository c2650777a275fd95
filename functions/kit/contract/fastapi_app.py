"""A FastAPI application whose errors are problem details, or `{"detail": ...}` as FastAPI's own."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from functions.kit import cloudevents
from functions.kit.cloudevents.json_data import why_unreadable
from functions.kit.contract import problem
from functions.kit.contract.problem import MAX_BYTES, Problem
from functions.kit.errors import FunctionError, shortened

Answer = Callable[[Request, Problem], Response]

_ERRORS: tuple[type[Exception], ...] = (
    RequestValidationError,
    ValidationError,
    HTTPException,
    FunctionError,
    cloudevents.NotAnEvent,
    RecursionError,
    Exception,
)
# Where FastAPI found a value; clients know it by its name alone.
_PLACES = ("query", "path", "header")


def problem_details(request: Request, found: Problem) -> Response:
    """The answer of an API of ours."""
    return found.response()


def new_app(title: str, answer: Answer = problem_details, **options: Any) -> FastAPI:
    """An application that answers each error with the status that the error deserves."""
    app = FastAPI(title=title, **options)

    async def handler(request: Request, error: Exception) -> Response:
        return answer(request, _problem_of(error))

    for kind in _ERRORS:
        app.add_exception_handler(kind, handler)
    return app


def new_app_with_fastapi_errors(title: str) -> FastAPI:
    """An application whose errors are FastAPI's own, where clients of an original read those."""
    app = FastAPI(title=title)

    async def failed(request: Request, error: Exception) -> Response:
        found = problem.of(error, api=True)
        limit = MAX_BYTES
        while len(body := json.dumps({"detail": shortened(found.detail, limit)})) > MAX_BYTES:
            limit = int(limit * 0.9)
        return Response(body, found.status, dict(found.headers), "application/json")

    async def invalid(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)
        return Response(_fitting(error.errors()[:20]), 422, media_type="application/json")

    async def unparsed(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        if cause := _why_unparsed(error):
            error = HTTPException(error.status_code, cause)
        return await http_exception_handler(request, error)

    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(HTTPException, unparsed)
    app.add_exception_handler(FunctionError, failed)
    app.add_exception_handler(RecursionError, failed)
    app.add_exception_handler(Exception, failed)
    return app


def _problem_of(error: Exception) -> Problem:
    if isinstance(error, HTTPException) and (cause := _why_unparsed(error)):
        return Problem(error.status_code, cause)
    if not isinstance(error, RequestValidationError):
        return problem.of(error, api=True)
    named = [
        {**one, "loc": [part for part in one["loc"] if part not in _PLACES]}
        for one in error.errors()
    ]
    errors = problem.wrong_fields(named)
    return Problem(422, "; ".join(map(str, errors)), errors=errors)


def _why_unparsed(error: HTTPException) -> str:
    """What was wrong with a body that FastAPI could not parse, which it does not say itself."""
    if error.status_code == 400 and isinstance(error.__cause__, ValueError | RecursionError):
        return shortened(f"{error.detail}: {why_unreadable(error.__cause__)}", 300)
    return ""


def _fitting(errors: Sequence[Any]) -> str:
    """As many errors as a body may hold, the first one shortened where it must be."""
    limit = 100
    while True:
        shown = [
            {
                "type": shortened(error["type"], limit),
                "loc": [p if isinstance(p, int) else shortened(p, limit) for p in error["loc"]][:9],
                "msg": shortened(error["msg"], limit),
                "input": _printable(error["input"], limit),
            }
            for error in errors
        ]
        body = json.dumps({"detail": shown})
        if len(body) <= MAX_BYTES:
            return body
        if len(errors) > 1:
            errors = errors[:-1]
        else:
            limit = int(limit * 0.8)


def _printable(given: object, limit: int) -> object:
    """A value as JSON has it: not every input is text or a number that JSON has."""
    if given is None or isinstance(given, bool) or (isinstance(given, int) and abs(given) < 2**63):
        return given
    return shortened(given if isinstance(given, str) else repr(given), limit)
