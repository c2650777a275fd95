"""Read inputs: events, Kafka records, REST bodies; JSON or YAML."""

from __future__ import annotations

import base64
import binascii
import json
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from functions.events.base import Event
from functions.events.saga import ExecutionRequested, RegistrationRequested, StepAnswered
from functions.events.schedule import ScheduleDue
from functions.kit import cloudevents
from functions.kit.contract import envelope
from functions.kit.contract.documents import parsed
from functions.kit.errors import PermanentError
from functions.orchestrator.decide.inputs import Answered
from functions.orchestrator.decide.model import Action
from functions.orchestrator.engine.batch import Start
from functions.orchestrator.registration.registration_request import RegistrationDocument, read
from functions.orchestrator.stored_json import MAX_BYTES, MAX_RESULT_BYTES, storable

INPUTS: tuple[type[Event], ...] = (
    RegistrationRequested,
    ExecutionRequested,
    StepAnswered,
    ScheduleDue,
)
SCHEDULES = ("saga-sweep",)
KAFKA = "dev.knative.kafka.event"
# A record's kind is that of its topic; on a shared topic, of its header eventType.
_TOPICS: dict[str, type[Event]] = {
    "orchestrator.registration": RegistrationRequested,
    "orchestrator.execution.start": ExecutionRequested,
    "orchestrator.response.result": StepAnswered,
}
# Base64 adds a third.
_MAX_BINARY_BYTES = MAX_BYTES // 4 * 3
_SOURCES = "/functions/"
_WORKER_NAMES = ("workerName", "serviceName", "worker_name")


@dataclass(frozen=True)
class Registration:
    """A registration; `service` is the one of its record's header."""

    document: RegistrationDocument
    service: str | None = None


def event_in(message: cloudevents.Message, *, proven: bool) -> Event | Registration:
    """Read a message: an event, a schedule's tick, or a record of a Kafka topic.

    `proven`: the Broker takes events of a service under its own source only, which names it.
    """
    if message.type == KAFKA:
        return _in_record(message)
    if message.type == RegistrationRequested.type:
        service = _service(message.source) if proven else None
        return Registration(read(parsed(message.data)), service)
    event = _in_event(message)
    if proven and isinstance(event, StepAnswered):
        service = _service(message.source)
        if event.worker_name != service:
            raise PermanentError(f"workerName: {event.worker_name!r} is not the source, {service}")
    return event


def _service(source: str) -> str:
    if not source.startswith(_SOURCES):
        raise PermanentError(f"source: must be {_SOURCES}NAME, which names the service")
    return source.removeprefix(_SOURCES)


def _in_event(message: cloudevents.Message) -> Event:
    try:
        return envelope.open_(message, INPUTS, SCHEDULES)
    except envelope.UnknownType:
        raise
    except cloudevents.NotAnEvent:
        kind = next((kind for kind in _TOPICS.values() if kind.type == message.type), None)
        if kind is None:
            raise
        return kind.model_validate(parsed(message.data))


def _in_record(message: cloudevents.Message) -> Event | Registration:
    topic = message.source.partition("#")[2]
    name = topic if topic in _TOPICS else message.extensions.get("kafkaheadereventtype", topic)
    kind = _TOPICS.get(name)
    if kind is None:
        raise PermanentError(f"topic: {name!r} is none of {', '.join(_TOPICS)}")
    document = parsed(message.data)
    service = message.extensions.get("kafkaheaderservicename")
    if kind is RegistrationRequested:
        return Registration(read(document), service)
    if kind is StepAnswered and service and isinstance(document, dict):
        names = [document[name] for name in _WORKER_NAMES if document.get(name) is not None]
        if names and names != [service]:
            raise PermanentError(f"workerName: {names[0]!r} is not {service!r}, as the header says")
        document["workerName"] = service
    return kind.model_validate(document)


def start_of(request: ExecutionRequested, who: str | None) -> Start:
    """Return the start of a run; the payload is an object, or bytes in base64."""
    if not isinstance(request.payload, str):
        storable(request.payload, "payload")
        return Start(request.orch_name, request.payload, "json", who)
    try:
        body = base64.b64decode(request.payload, validate=True)
    except (binascii.Error, ValueError):
        raise PermanentError("payload: must be a JSON object, or bytes in base64") from None
    payload, encoding = payload_of(body)
    return Start(request.orch_name, payload, encoding, who)


def payload_of(body: bytes) -> tuple[Any, str]:
    """Return a run's payload and encoding: JSON where it can be stored as JSON, else base64."""
    if not body:
        return None, "json"
    if len(body) > MAX_BYTES:
        raise PermanentError(f"payload: has {len(body)} bytes, the maximum is {MAX_BYTES}")
    try:
        payload = json.loads(body)
        storable(payload, "payload")
    except (ValueError, RecursionError, PermanentError):
        if len(body) > _MAX_BINARY_BYTES:
            message = f"has {len(body)} bytes, the maximum without JSON is {_MAX_BINARY_BYTES}"
            raise PermanentError(f"payload: {message}") from None
        return base64.b64encode(body).decode(), "base64"
    return payload, "json"


def answer_of(answer: StepAnswered, *, named: bool) -> tuple[UUID, Answered]:
    """Return the run of an answer, and the answer. `named`: must it name its worker?"""
    try:
        flow_id = UUID(answer.flow_id)
    except ValueError:
        raise PermanentError(f"flowId: {answer.flow_id[:100]!r} is no UUID") from None
    failed = answer.action == "FAIL_STEP"
    success = answer.metadata.status == "SUCCESS" and not failed
    result, unstorable = answer.result if success else None, None
    try:
        storable(result, "result", MAX_RESULT_BYTES)
    except PermanentError as error:
        result, unstorable = None, error.detail
    return flow_id, Answered(
        step=answer.step_name,
        action=Action.UNDO if answer.action == "UNDO" else Action.DO,
        success=success,
        attempt=answer.attempt,
        worker=answer.worker_name,
        result=result,
        unstorable=unstorable,
        error=None if answer.metadata.error is None else answer.metadata.error[:2000],
        final=failed or answer.metadata.final,
        named=named,
    )
