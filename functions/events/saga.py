"""Sagas: orchestrations that services register, runs of them, and the steps that workers do.

Field names on the wire are camelCase, as those who speak to the orchestrator are used to.
"""

from __future__ import annotations

import json
import re
from datetime import datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, AliasChoices, BeforeValidator, ConfigDict, Field

from functions.events.base import NOT_KEPT, Attribute, Event, Request, Text, Value

_WIRE = ConfigDict(frozen=True, populate_by_name=True, serialize_by_alias=True)
_STRICT = ConfigDict(frozen=True, populate_by_name=True, serialize_by_alias=True, extra="forbid")
# Names go into URLs, event attributes and topics.
_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"

Name = Annotated[str, Field(min_length=1, max_length=100, pattern=_NAME)]
# ISO 8601 ("PT30S") or a number of seconds; at most a year.
Duration = Annotated[timedelta, Field(gt=timedelta(0), le=timedelta(days=366))]


def _text_of(value: Any) -> Any:
    """Text in whatever form, as a database can keep it: it explains, and decides nothing."""
    if value is None:
        return None
    text = value if isinstance(value, str) else json.dumps(value)
    return NOT_KEPT.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


OrchName = Annotated[
    Name,
    Field(
        validation_alias=AliasChoices("orchName", "orchestrationName", "orch_name"),
        serialization_alias="orchName",
    ),
]


class RetryPolicy(Value):
    """How a step's DO and UNDO are tried: the attempts in all, and the pauses between them."""

    model_config = _STRICT

    attempts: int = Field(4, ge=1, le=100, description="how often it is tried in all")
    backoff: Annotated[timedelta, Field(ge=timedelta(0), le=timedelta(days=1))] = Field(
        timedelta(seconds=1), description="pause before the second attempt"
    )
    factor: float = Field(2.0, ge=1, le=100, description="each further pause is this much longer")
    max_backoff: Duration = Field(
        timedelta(seconds=60), alias="maxBackoff", description="no pause is longer"
    )
    jitter: float = Field(0.2, ge=0, le=1, description="share by which a pause varies")
    final_errors: list[Annotated[Text, Field(max_length=200)]] = Field(
        [],
        alias="finalErrors",
        max_length=50,
        description='errors that end it at once, as patterns: "Invalid*"',
    )


class StepSpec(Value):
    """One step of an orchestration, or one that a worker can do."""

    model_config = _STRICT

    name: Name
    seq: int | None = Field(None, ge=0, le=1_000_000, description="place in a sequential run")
    object_type: Text = Field("String", alias="objectType", max_length=200)
    timeout: Duration | None = Field(None, description="how long one attempt may take; PT5M")
    retry: RetryPolicy = RetryPolicy()
    undo: bool = Field(True, description="is its effect undone when the run turns back?")
    depends_on: list[Name] | None = Field(
        None, alias="dependsOn", description="steps that must be done before it"
    )
    when: Text | None = Field(
        None,
        min_length=1,
        max_length=1000,
        description="JMESPath over payload and results: the step is skipped unless it holds",
    )


class RegistrationRequested(Request):
    """A service registers an orchestration (as initiator) or steps that it can do (as worker)."""

    type: ClassVar[str] = "io.dsm.saga.registration.requested.v1"
    model_config = _STRICT

    orch_name: OrchName
    as_: Literal["initiator", "worker"] = Field(alias="as")
    kind: Literal["sequential", "simultaneous", "parallel"] | None = Field(None, alias="type")
    steps: list[StepSpec] = Field(min_length=1, max_length=200)
    deadline: Duration | None = Field(None, description="how long a run may take in all")
    on_failure: Literal["undo", "hold"] = Field(
        "undo", alias="onFailure", description="undo at once, or leave it to an operator"
    )
    service_name: Name | None = Field(None, alias="serviceName")

    def subject(self) -> str | None:
        return self.orch_name


class RegistrationDecided(Event):
    """What became of a registration, and whether the orchestration can run now."""

    type: ClassVar[str] = "io.dsm.saga.registration.decided.v1"
    model_config = _WIRE

    orch_name: OrchName
    as_: Literal["initiator", "worker"] = Field(alias="as")
    service_name: str = Field(alias="serviceName")
    status: Literal["SUCCESS", "PENDING", "FAILED"]
    version: int | None = None
    missing_workers: list[str] = Field([], alias="missingWorkers")
    errors: list[str] = Field([])

    def subject(self) -> str | None:
        return self.orch_name


class ExecutionRequested(Request):
    """Start a run. The payload is a JSON object, or bytes in base64."""

    type: ClassVar[str] = "io.dsm.saga.execution.requested.v1"
    model_config = _STRICT

    orch_name: OrchName
    payload: dict[str, Any] | list[Any] | str | None = None

    def subject(self) -> str | None:
        return self.orch_name


class StepCommanded(Event):
    """The command to a worker to do or to undo a step.

    `effect_key` names what the step does, over all attempts: do it once for each key.
    """

    type: ClassVar[str] = "io.dsm.saga.step.commanded.v1"
    model_config = _WIRE

    orch_name: Annotated[str, Attribute()]
    step_name: Annotated[str, Attribute()]
    action: Annotated[Literal["DO", "UNDO"], Attribute()]
    worker_name: Annotated[str, Attribute()]
    flow_id: str = Field(alias="flowId")
    attempt: int = Field(ge=1)
    effect_key: str = Field(alias="effectKey")
    seq: int
    object_type: str = Field("String", alias="objectType")
    payload: Any = None
    payload_encoding: Literal["json", "base64"] = Field("json", alias="payloadEncoding")
    results: dict[str, Any] = Field({}, description="what earlier steps answered, by name")
    result: Any = Field(None, description="UNDO: what this step's DO answered")
    effect: bool = Field(
        False, description="UNDO: the DO is known to have had its effect; else it may have"
    )
    deadline: datetime = Field(description="an answer after this instant comes too late")

    def subject(self) -> str | None:
        return self.flow_id


_TRUE = re.compile(r"true|yes|1|on|success", re.IGNORECASE)
_FALSE = re.compile(r"false|no|0|off|failed|failure", re.IGNORECASE)


def _outcome(value: Any) -> Any:
    if isinstance(value, bool):
        return "SUCCESS" if value else "FAILED"
    text = str(value)
    if _TRUE.fullmatch(text):
        return "SUCCESS"
    return "FAILED" if _FALSE.fullmatch(text) else value


class Outcome(Value):
    """How a step went."""

    model_config = _WIRE

    status: Annotated[Literal["SUCCESS", "FAILED"], BeforeValidator(_outcome)]
    error: Annotated[str | None, BeforeValidator(_text_of)] = Field(
        None, validation_alias=AliasChoices("error", "errorMessage")
    )
    final: bool = Field(False, description="another attempt cannot help")


def _named(worker: str | None) -> str | None:
    if worker is not None and not worker.strip():
        raise ValueError("is blank; give the name of the service that answers")
    return worker


class StepAnswered(Request):
    """A worker answers a step's command. `attempt` is the command's; without it the latest counts.

    FAIL_STEP means that a DO has failed and that another attempt cannot help.
    """

    type: ClassVar[str] = "io.dsm.saga.step.answered.v1"
    model_config = _STRICT | {"extra": "ignore"}

    flow_id: Text = Field(alias="flowId", min_length=1, max_length=100)
    orch_name: Text | None = Field(
        None,
        max_length=100,
        validation_alias=AliasChoices("orchName", "orchestrationName", "orch_name"),
        serialization_alias="orchName",
    )
    step_name: Text = Field(alias="stepName", min_length=1, max_length=100)
    action: Literal["DO", "UNDO", "FAIL_STEP"] = "DO"
    attempt: int | None = Field(None, ge=1)
    worker_name: Annotated[Text | None, AfterValidator(_named)] = Field(
        None,
        max_length=100,
        validation_alias=AliasChoices("workerName", "serviceName", "worker_name"),
        serialization_alias="workerName",
    )
    result: Any = None
    metadata: Outcome

    def subject(self) -> str | None:
        return self.flow_id


class RunEnded(Event):
    """A run has come to an end; one that is undone or retried later ends again."""

    type: ClassVar[str] = "io.dsm.saga.run.ended.v1"
    model_config = _WIRE

    flow_id: str = Field(alias="flowId")
    orch_name: Annotated[str, Attribute()]
    status: Annotated[
        Literal["COMPLETED", "FAILED", "UNDONE", "UNDO_FAILED", "CANCELLED"], Attribute()
    ]
    reason: str | None = None
    left: list[str] = Field([], description="steps whose effects could not be undone")
    results: dict[str, Any] = Field({})

    def subject(self) -> str | None:
        return self.flow_id
