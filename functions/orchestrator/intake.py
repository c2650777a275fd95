"""What comes in, whatever way: native events, Kafka records, REST bodies; JSON or YAML."""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any
from uuid import UUID

import yaml

from functions.events.base import Event
from functions.events.saga import ExecutionRequested, RegistrationRequested, StepAnswered
from functions.events.schedule import ScheduleDue
from functions.kit import envelope, wire
from functions.kit.errors import PermanentError
from functions.orchestrator.batch import Start
from functions.orchestrator.decide.happenings import Answered
from functions.orchestrator.decide.model import Action
from functions.orchestrator.rows import storable

INPUTS: tuple[type[Event], ...] = (
    RegistrationRequested,
    ExecutionRequested,
    StepAnswered,
    ScheduleDue,
)
KAFKA = "dev.knative.kafka.event"
# A record's topic says what it is; on a shared topic, its header eventType does.
_TOPICS: dict[str, type[Event]] = {
    "orchestrator.registration": RegistrationRequested,
    "orchestrator.execution.start": ExecutionRequested,
    "orchestrator.response.result": StepAnswered,
}


def event_in(message: wire.Message) -> Event:
    """The typed event in a message: ours, a schedule's tick, or a record of a Kafka topic."""
    if message.type != KAFKA:
        return envelope.open_(message, INPUTS)
    topic = message.source.partition("#")[2]
    name = topic if topic in _TOPICS else message.extensions.get("kafkaheadereventtype", topic)
    kind = _TOPICS.get(name)
    if kind is None:
        raise PermanentError(f"topic: {name!r} is none of {', '.join(_TOPICS)}")
    document = parsed(message.data)
    service = message.extensions.get("kafkaheaderservicename")
    if service and kind is not ExecutionRequested and isinstance(document, dict):
        document.setdefault("serviceName", service)
    return kind.model_validate(document)


def parsed(body: bytes) -> Any:
    """A body of JSON or YAML; JSON first, as it is the stricter of the two."""
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise wire.NotAnEvent([f"the body is no UTF-8 text: {error.reason}"]) from None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        pass
    try:
        return yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:200]
        raise wire.NotAnEvent([f"the body is neither JSON nor YAML: {reason}"]) from None


def start_of(request: ExecutionRequested, who: str | None) -> Start:
    """What an event asks to start: its payload is an object, or bytes in base64."""
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
    """A run's payload from bytes: JSON where they are JSON that can be kept, base64 where not."""
    if not body:
        return None, "json"
    try:
        payload = json.loads(body)
        storable(payload, "payload")
    except (ValueError, RecursionError, PermanentError):
        encoded = base64.b64encode(body).decode()
        storable(encoded, "payload")
        return encoded, "base64"
    return payload, "json"


def answer_of(answer: StepAnswered) -> tuple[UUID, Answered]:
    """Whose answer it is, and what it says."""
    try:
        flow_id = UUID(answer.flow_id)
    except ValueError:
        raise PermanentError(f"flowId: {answer.flow_id[:100]!r} is no UUID") from None
    storable(answer.result, "result")
    failed = answer.action == "FAIL_STEP"
    return flow_id, Answered(
        step=answer.step_name.replace("\x00", ""),
        action=Action.UNDO if answer.action == "UNDO" else Action.DO,
        success=answer.metadata.status == "SUCCESS" and not failed,
        attempt=answer.attempt,
        worker=answer.worker_name,
        result=answer.result,
        error=None if answer.metadata.error is None else answer.metadata.error[:2000],
        final=failed or answer.metadata.final,
    )
