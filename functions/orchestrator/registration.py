"""Registering orchestrations and workers: checked as a whole, done as a whole, always audited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from functions.events.saga import RegistrationDecided, RegistrationRequested
from functions.kit.durable.database import Connection
from functions.kit.errors import FieldError, NotFound, PermanentError
from functions.orchestrator import registration_store
from functions.orchestrator.conditions import flaw_of
from functions.orchestrator.decide.model import Definition
from functions.orchestrator.decide.registration import Problem, check_worker, define, missing
from functions.orchestrator.registration_request import Asked


@dataclass(frozen=True)
class Registered:
    """What became of a registration. `problems` is empty where it was accepted."""

    decided: RegistrationDecided
    problems: Sequence[Problem] = ()

    def to_json(self) -> dict[str, Any]:
        """As it is recorded."""
        problems = [[problem.field, problem.reason] for problem in self.problems]
        return {"decided": self.decided.model_dump(mode="json"), "problems": problems}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Registered:
        """The inverse of `to_json`."""
        decided = RegistrationDecided.model_validate(document["decided"])
        return cls(decided, [Problem(field, reason) for field, reason in document["problems"]])


class Refused(PermanentError):
    """A registration that is unsound; `fields` are all that is wrong with it."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(f"{p.field}: {p.reason}" for p in problems))
        self.fields = tuple(FieldError(field=p.field, reason=p.reason) for p in problems)


async def register(tx: Connection, asked: Asked, caller: str | None, now: datetime) -> Registered:
    """Take a registration, or write down why not; the caller's transaction must commit both.

    `caller`: who asks, as a header says; a body that says otherwise is refused.
    """
    service = caller or asked.service_name or f"{asked.orch_name}-service"
    await registration_store.lock(tx, asked.orch_name)
    problems = [*asked.problems, *_of_service(asked, service)]
    if asked.request is not None:
        known = {problem.field for problem in problems}
        found = await _sound(tx, asked.request, service)
        if isinstance(found, Definition):
            if not problems:
                await _store(tx, found, now)
        else:
            problems += [problem for problem in found if problem.field not in known]
        if not problems and asked.role == "worker":
            await registration_store.store_worker(tx, asked.orch_name, asked.steps, service, now)
    decided = await _decided(tx, asked, service, problems, now)
    await registration_store.audit(tx, decided, asked.steps, now)
    return Registered(decided, problems)


def _of_service(asked: Asked, service: str) -> list[Problem]:
    if asked.service_name in (None, service):
        return []
    said = f"{asked.service_name!r} is not {service!r}, as X-Service-Name says"
    return [Problem("serviceName", said)]


async def _sound(
    tx: Connection, request: RegistrationRequested, service: str
) -> Definition | list[Problem]:
    """What an initiator's registration defines; or else all that is wrong with a registration."""
    if request.as_ == "initiator":
        return define(request, service, flaw_of)
    names = await registration_store.step_names(tx, request.orch_name)
    workers = await registration_store.workers(tx, request.orch_name)
    return check_worker(request, service, names, workers)


async def _store(tx: Connection, definition: Definition, now: datetime) -> None:
    """A definition that has changed is a new version."""
    current = await registration_store.current(tx, definition.name)
    if current is None or current.definition != definition:
        version = 1 if current is None else current.version + 1
        await registration_store.store(tx, definition, version, now)


async def leave(tx: Connection, orch_name: str, service: str, who: str, now: datetime) -> list[str]:
    """Take a worker's registrations back; return the steps that it had."""
    await registration_store.lock(tx, orch_name)
    steps = await registration_store.remove_worker(tx, orch_name, service)
    if not steps:
        raise NotFound(f"service: {service!r} is no worker of {orch_name!r}")
    await _heal(tx, orch_name, now)
    decided = RegistrationDecided.model_validate(
        {"orchName": orch_name, "as": "worker", "serviceName": service, "status": "PENDING"}
    )
    await registration_store.audit(tx, decided, steps, now, note=f"left, at the word of {who}")
    return steps


async def heal(tx: Connection, now: datetime) -> list[str]:
    """Set right the status of every orchestration; return the names of those that healed."""
    healed = []
    for name in await registration_store.unhealthy(tx):
        await registration_store.lock(tx, name)
        if await _heal(tx, name, now) == []:
            healed.append(name)
    return healed


async def _decided(
    tx: Connection,
    asked: Asked,
    service: str,
    problems: Sequence[Problem],
    now: datetime,
) -> RegistrationDecided:
    version: int | None = None
    lacking: list[str] = []
    known = False
    if not problems:
        healed = await _heal(tx, asked.orch_name, now)
        current = await registration_store.current(tx, asked.orch_name)
        known = current is not None
        version = None if current is None else current.version
        lacking = healed or []
    status = "FAILED" if problems else "SUCCESS" if known and not lacking else "PENDING"
    document: dict[str, Any] = {
        "orchName": asked.orch_name,
        "as": asked.role,
        "serviceName": service,
        "status": status,
        "version": version,
        "missingWorkers": lacking,
        "errors": [f"{p.field}: {p.reason}" for p in problems],
    }
    return RegistrationDecided.model_validate(document)


async def _heal(tx: Connection, orch_name: str, now: datetime) -> list[str] | None:
    """Set an orchestration's status by its workers; return who is missing, None if unknown."""
    current = await registration_store.current(tx, orch_name)
    if current is None:
        return None
    lacking = missing(current.definition, await registration_store.workers(tx, orch_name))
    status = "PENDING" if lacking else "SUCCESS"
    reason = f"no worker for {', '.join(lacking)}" if lacking else None
    await registration_store.set_status(tx, orch_name, status, reason, now)
    return lacking
