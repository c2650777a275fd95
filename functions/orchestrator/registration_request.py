"""What a registration says, also where it does not fit: all its flaws are named at once."""

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
_OF_ORCHESTRATION = ("orchName", "orchestrationName", "orch_name")


@dataclass(frozen=True)
class Asked:
    """A registration as it was read.

    `problems` are what does not fit the model, `request` the rest of it, where that makes one.
    """

    orch_name: str
    role: Literal["initiator", "worker"]
    service_name: str | None
    steps: Sequence[str]
    request: RegistrationRequested | None
    problems: Sequence[Problem] = ()


def read(document: Any) -> Asked:
    """Read a registration; pydantic's `ValidationError` where it does not even say of what."""
    try:
        request = RegistrationRequested.model_validate(document)
    except ValidationError as error:
        if not isinstance(document, dict):
            raise
        given = next((document[name] for name in _OF_ORCHESTRATION if name in document), None)
        if (orch_name := _name(given)) is None:
            raise
        return _misfit(document, orch_name, error)
    steps = [step.name for step in request.steps]
    return Asked(request.orch_name, request.as_, request.service_name, steps, request)


def _misfit(document: dict[str, Any], orch_name: str, error: ValidationError) -> Asked:
    given = document.get("steps")
    steps = given if isinstance(given, list) else []
    names = [_name(step.get("name")) for step in steps if isinstance(step, dict)]
    return Asked(
        orch_name,
        "worker" if document.get("as") == "worker" else "initiator",
        _name(document.get("serviceName")),
        [name for name in names if name is not None],
        _rest(document, error),
        [
            Problem(shortened(one.field, 200), shortened(one.reason, 200))
            for one in wrong_fields(error.errors()[:20])
        ],
    )


def _rest(document: dict[str, Any], error: ValidationError) -> RegistrationRequested | None:
    """The registration without what does not fit; None where it cannot do without that."""
    rest = copy.deepcopy(document)
    for problem in error.errors():
        _remove(rest, problem["loc"])
    try:
        return RegistrationRequested.model_validate(rest)
    except ValidationError:
        return None


def _remove(document: Any, where: Sequence[int | str]) -> None:
    """Remove the innermost field, and no item of a list: the others must keep their places."""
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
