"""What the REST API answers: models for OpenAPI, and a run as users read it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from functions.orchestrator.decide.model import RunStatus, Step, StepDef, StepStatus
from functions.orchestrator.decide.undo import Plan, left_to_undo
from functions.orchestrator.decide.waiting_reason import waiting_for
from functions.orchestrator.engine.run_store import Stored


class Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)


class Accepted(Answer):
    status: Literal["SUCCESS"] = "SUCCESS"
    message: str


class RegistrationAccepted(Accepted):
    version: int | None = Field(None, description="of the orchestration; none before it is known")
    registration: Literal["SUCCESS", "PENDING"]
    missing_workers: list[str]


class Started(Answer):
    status: Literal["SUCCESS", "FAILED"] = Field(
        "SUCCESS", description="FAILED where the run has ended and has not completed"
    )
    message: str
    flow_id: str
    run: RunStatus = Field(description="how the run stands now")
    reason: str | None = Field(None, description="why it has not completed")
    waiting_for: str | None = Field(None, description="what it waits for")
    results: dict[str, Any] | None = Field(None, description="of a run that has completed")


class RunChanged(Accepted):
    flow_id: str
    run: RunStatus


class Health(Answer):
    status: Literal["UP"] = "UP"


class Orchestration(Answer):
    id: int
    orch_name: str
    type: Literal["sequential", "simultaneous"]
    status: Literal["SUCCESS", "PENDING", "FAILED"]
    version: int
    initiator_name: str
    registered_workers_count: int
    total_workers_expected: int
    last_updated: datetime


class OrchestrationStep(Answer):
    seq: int
    name: str
    object_type: str
    max_retries: int
    depends_on: list[str]
    status: Literal["SUCCESS", "PENDING"] = Field(description="has a worker registered for it?")
    registered_by: str | None
    registered_at: datetime | None
    workers_elsewhere: list[str] = Field(
        description="without a worker: services that do a step of this name of others"
    )


class OrchestrationDetail(Answer):
    orch_name: str
    version: int
    type: Literal["sequential", "simultaneous"]
    status: Literal["SUCCESS", "PENDING", "FAILED"]
    failure_reason: str | None
    initiator: str
    created_at: datetime
    last_updated: datetime
    deadline_seconds: float | None
    on_failure: Literal["undo", "hold"]
    steps: list[OrchestrationStep]


class Registration(Answer):
    as_role: Literal["INITIATOR", "WORKER"]
    service_name: str
    status: Literal["SUCCESS", "PENDING", "FAILED"]
    registered_steps: list[str]
    failed_steps: list[str]
    errors: list[str]
    registered_at: datetime


class Execution(Answer):
    execution_id: str
    status: RunStatus
    reason: str | None
    waiting_for: str | None = Field(description="what it waits for, and since when")
    triggered_by: str | None
    started_at: datetime
    completed_at: datetime | None


class FoundExecution(Execution):
    orch_name: str
    paused_by: str | None


class RetryPolicyAnswer(Answer):
    max_retries: int
    backoff_ms: int


class ExecutionStep(Answer):
    seq: int
    name: str
    status: StepStatus
    worker: str | None
    attempts: int
    undo_attempts: int
    round: int
    retry_policy: RetryPolicyAnswer
    depends_on: list[str]
    result: Any
    error: str | None
    due_at: datetime | None = Field(description="times out, or is tried again")
    started_at: datetime | None
    completed_at: datetime | None
    undone_at: datetime | None


class ExecutionDetail(Execution):
    orch_name: str
    version: int
    type: str
    initiator: str
    correlation_id: str
    last_updated_at: datetime | None
    overall_duration_ms: int | None
    waiting_since: datetime | None
    paused_by: str | None
    cause: str | None
    deadline_at: datetime | None
    left_to_undo: list[str]
    total_steps: int
    successful_steps: int
    failed_steps: int
    rolled_back_steps: int
    percentage_completed: float
    payload: Any
    payload_encoding: str
    steps: list[ExecutionStep]


class TimelineEntry(Answer):
    id: int
    event_type: str
    step_name: str | None
    action: str | None
    attempt: int | None
    detail: str
    who: str | None
    timestamp: datetime


class UndoPlan(Answer):
    waves: list[list[str]] = Field(description="steps that are undone together, wave after wave")
    kept: list[str] = Field(description="steps whose effects stay")
    awaited: list[str] = Field(description="steps in flight, which are awaited first")
    unsure: list[str] = Field(description="steps that may have taken effect: no answer came")


class OrchestrationPage(Answer):
    content: list[Orchestration]
    page: int
    size: int
    total_elements: int
    total_pages: int


class RegistrationPage(Answer):
    content: list[Registration]
    total_elements: int
    next: int | None


class ExecutionPage(Answer):
    content: list[Execution]
    page: int
    size: int
    total_elements: int
    total_pages: int


class FoundPage(Answer):
    content: list[FoundExecution]
    total_elements: int
    next: int | None


def detail_of(stored: Stored, facts: dict[str, Any], now: datetime) -> ExecutionDetail:
    """A run with its steps, and why it is waiting."""
    run, definition = stored.run, stored.run.definition
    statuses = [step.status for step in run.steps.values()]
    done = sum(s in (StepStatus.DO_SUCCESS, StepStatus.SKIPPED) for s in statuses)
    took = (run.completed_at or now) - run.started_at
    return ExecutionDetail(
        execution_id=run.flow_id,
        status=run.status,
        reason=run.reason,
        triggered_by=facts["triggered_by"],
        started_at=run.started_at,
        completed_at=run.completed_at,
        orch_name=definition.name,
        version=facts["version"],
        type=definition.type,
        initiator=definition.initiator,
        correlation_id=facts["correlation_id"],
        last_updated_at=facts["last_updated"],
        overall_duration_ms=round(took.total_seconds() * 1000),
        waiting_for=waiting_for(run, stored.workers),
        waiting_since=None if run.status.ended else run.paused_at or run.since,
        paused_by=run.paused_by,
        deadline_at=run.deadline_at,
        cause=run.cause,
        left_to_undo=left_to_undo(run) if run.status is RunStatus.UNDO_FAILED else [],
        total_steps=len(statuses),
        successful_steps=done,
        failed_steps=sum(s in (StepStatus.DO_FAIL, StepStatus.UNDO_FAIL) for s in statuses),
        rolled_back_steps=statuses.count(StepStatus.UNDO_SUCCESS),
        percentage_completed=round(100 * done / len(statuses), 2),
        payload=run.payload,
        payload_encoding=run.payload_encoding,
        steps=[_step_of(d, run.steps[d.name]) for d in definition.steps],
    )


def plan_of(plan: Plan) -> UndoPlan:
    """An undo's plan as an answer."""
    return UndoPlan(
        waves=[list(wave) for wave in plan.waves],
        kept=list(plan.kept),
        awaited=list(plan.awaited),
        unsure=list(plan.unsure),
    )


def _step_of(definition: StepDef, step: Step) -> ExecutionStep:
    retry = definition.retry
    return ExecutionStep(
        seq=definition.seq,
        name=definition.name,
        status=step.status,
        worker=step.worker,
        attempts=step.attempt,
        undo_attempts=step.undo_attempt,
        round=step.round,
        retry_policy=RetryPolicyAnswer(
            max_retries=retry.attempts - 1, backoff_ms=round(retry.backoff_s * 1000)
        ),
        depends_on=list(definition.after),
        result=step.result,
        error=step.error,
        due_at=step.due_at,
        started_at=step.started_at,
        completed_at=step.completed_at,
        undone_at=step.undone_at,
    )
