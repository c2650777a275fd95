"""Read a registration, also an invalid one, so that all its problems are reported at once."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from functions.events.saga import Name, RegistrationRequested
from functions.kit.contract.problem import wrong_fields
from functions.kit.errors import shortened
from functions.orchestrator.decide.registration import Problem

_NAMES: TypeAdapter[str] = TypeAdapter(Name)
_ORCHESTRATION_NAMES = ("orchName", "orchestrationName", "orch_name")


@dataclass(frozen=True)
class RegistrationDocument:
    """A registration: its validation `problems`, and its valid part as a `request`."""

    orch_name: str
    role: Literal["initiator", "worker"]
    service_name: str | None
    steps: Sequence[str]
    request: RegistrationRequested | None
    problems: Sequence[Problem] = ()


def read(document: Any) -> RegistrationDocument:
    """Read a registration; `ValidationError` where it does not name its orchestration."""
    try:
        request = RegistrationRequested.model_validate(document)
    except ValidationError as error:
        if not isinstance(document, dict):
            raise
        given = next((document[name] for name in _ORCHESTRATION_NAMES if name in document), None)
        if (orch_name := _name(given)) is None:
            raise
        return _read_invalid(document, orch_name, error)
    steps = [step.name for step in request.steps]
    return RegistrationDocument(
        request.orch_name, request.as_, request.service_name, steps, request
    )


def _read_invalid(
    document: dict[str, Any], orch_name: str, error: ValidationError
) -> RegistrationDocument:
    given = document.get("steps")
    steps = given if isinstance(given, list) else []
    names = [_name(step.get("name")) for step in steps if isinstance(step, dict)]
    return RegistrationDocument(
        orch_name,
        "worker" if document.get("as") == "worker" else "initiator",
        _name(document.get("serviceName")),
        [name for name in names if name is not None],
        _rest(document, error),
        [
            Problem(shortened(wrong.field, 200), shortened(wrong.reason, 200))
            for wrong in wrong_fields(error.errors()[:20])
        ],
    )


def _rest(document: dict[str, Any], error: ValidationError) -> RegistrationRequested | None:
    """Return the registration without its invalid fields; None where one is required."""
    rest = copy.deepcopy(document)
    for problem in error.errors():
        _remove(rest, problem["loc"])
    try:
        return RegistrationRequested.model_validate(rest)
    except ValidationError:
        return None


def _remove(document: Any, where: Sequence[int | str]) -> None:
    """Remove the innermost field; list items stay, so that the indexes of others do not change."""
    holder, name = None, None
    for part in where:
        if isinstance(document, dict) and part in document:
            holder, name = document, part
        elif not (isinstance(document, list) and isinstance(part, int) and part < len(document)):
            break
        document = document[part]
    if holder is not None:
        holder.pop(name, None)


def _name(value: object) -> str | None:
    try:
        return _NAMES.validate_python(value)
    except ValidationError:
        return None
