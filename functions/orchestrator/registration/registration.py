"""Register orchestrations and workers: validated and stored as a whole, always audited."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from functions.events.saga import RegistrationDecided, RegistrationRequested
from functions.kit.durable import Connection
from functions.kit.errors import FieldError, NotFound, PermanentError
from functions.orchestrator.conditions import flaw_of
from functions.orchestrator.decide.model import Definition
from functions.orchestrator.decide.registration import Problem, check_worker, define, missing
from functions.orchestrator.registration import registration_store
from functions.orchestrator.registration.registration_request import RegistrationDocument


@dataclass(frozen=True)
class Registered:
    """The result of a registration. `problems` is empty where it was accepted."""

    decided: RegistrationDecided
    problems: Sequence[Problem] = ()

    def to_json(self) -> dict[str, Any]:
        problems = [[problem.field, problem.reason] for problem in self.problems]
        return {"decided": self.decided.model_dump(mode="json"), "problems": problems}

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Registered:
        """The inverse of `to_json`."""
        decided = RegistrationDecided.model_validate(document["decided"])
        return cls(decided, [Problem(field, reason) for field, reason in document["problems"]])


class RegistrationRejected(PermanentError):
    """A registration that is invalid; `fields` are all its problems."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("; ".join(f"{p.field}: {p.reason}" for p in problems))
        self.fields = tuple(FieldError(field=p.field, reason=p.reason) for p in problems)


async def register(
    tx: Connection, submitted: RegistrationDocument, caller: str | None, now: datetime
) -> Registered:
    """Store a registration, or audit why it is rejected; the caller's transaction must commit both.

    `caller`: the service by its header; a body with another one is rejected.
    """
    service = caller or submitted.service_name or f"{submitted.orch_name}-service"
    await registration_store.lock(tx, submitted.orch_name)
    problems = [*submitted.problems, *_of_service(submitted, service)]
    if submitted.request is not None:
        known = {problem.field for problem in problems}
        found = await _validate(tx, submitted.request, service)
        if isinstance(found, Definition):
            if not problems:
                await _store(tx, found, now)
        else:
            problems += [problem for problem in found if problem.field not in known]
        if not problems and submitted.role == "worker":
            await registration_store.store_worker(
                tx, submitted.orch_name, submitted.steps, service, now
            )
    decided = await _decided(tx, submitted, service, problems, now)
    await registration_store.audit(tx, decided, submitted.steps, now)
    return Registered(decided, problems)


def _of_service(submitted: RegistrationDocument, service: str) -> list[Problem]:
    if submitted.service_name in (None, service):
        return []
    reason = f"{submitted.service_name!r} is not {service!r}, the X-Service-Name"
    return [Problem("serviceName", reason)]


async def _validate(
    tx: Connection, request: RegistrationRequested, service: str
) -> Definition | list[Problem]:
    """Return an initiator's definition, or all problems of a registration."""
    if request.as_ == "initiator":
        return define(request, service, flaw_of)
    names = await registration_store.step_names(tx, request.orch_name)
    workers = await registration_store.workers(tx, request.orch_name)
    return check_worker(request, service, names, workers)


async def _store(tx: Connection, definition: Definition, now: datetime) -> None:
    """Store a changed definition as a new version."""
    current = await registration_store.current(tx, definition.name)
    if current is None or current.definition != definition:
        version = 1 if current is None else current.version + 1
        await registration_store.store(tx, definition, version, now)


async def leave(tx: Connection, orch_name: str, service: str, who: str, now: datetime) -> list[str]:
    """Remove a worker's registrations; return its steps."""
    await registration_store.lock(tx, orch_name)
    steps = await registration_store.remove_worker(tx, orch_name, service)
    if not steps:
        raise NotFound(f"service: {service!r} is no worker of {orch_name!r}")
    await _heal(tx, orch_name, now)
    decided = RegistrationDecided.model_validate(
        {"orchName": orch_name, "as": "worker", "serviceName": service, "status": "PENDING"}
    )
    await registration_store.audit(tx, decided, steps, now, note=f"removed by {who}")
    return steps


async def heal(tx: Connection, now: datetime) -> list[str]:
    """Correct the status of every orchestration; return the names of the complete."""
    healed = []
    for name in await registration_store.unhealthy(tx):
        await registration_store.lock(tx, name)
        if await _heal(tx, name, now) == []:
            healed.append(name)
    return healed


async def _decided(
    tx: Connection,
    submitted: RegistrationDocument,
    service: str,
    problems: Sequence[Problem],
    now: datetime,
) -> RegistrationDecided:
    version: int | None = None
    lacking: list[str] = []
    known = False
    if not problems:
        healed = await _heal(tx, submitted.orch_name, now)
        current = await registration_store.current(tx, submitted.orch_name)
        known = current is not None
        version = None if current is None else current.version
        lacking = healed or []
    status = "FAILED" if problems else "SUCCESS" if known and not lacking else "PENDING"
    document: dict[str, Any] = {
        "orchName": submitted.orch_name,
        "as": submitted.role,
        "serviceName": service,
        "status": status,
        "version": version,
        "missingWorkers": lacking,
        "errors": [f"{p.field}: {p.reason}" for p in problems],
    }
    return RegistrationDecided.model_validate(document)


async def _heal(tx: Connection, orch_name: str, now: datetime) -> list[str] | None:
    """Set an orchestration's status; return the steps without a worker, None if unknown."""
    current = await registration_store.current(tx, orch_name)
    if current is None:
        return None
    lacking = missing(current.definition, await registration_store.workers(tx, orch_name))
    status = "PENDING" if lacking else "SUCCESS"
    reason = f"no worker for {', '.join(lacking)}" if lacking else None
    await registration_store.set_status(tx, orch_name, status, reason, now)
    return lacking
