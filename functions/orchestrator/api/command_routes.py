"""REST: register, execute, undo, and what operators do to runs."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Header, Query, Request

from functions.kit.clients.off_loop import off_loop
from functions.kit.contract import Ctx, IdempotencyKey, user_of
from functions.kit.contract.callers import check_operator
from functions.kit.contract.documents import parsed
from functions.kit.errors import Conflict
from functions.orchestrator.api import queries
from functions.orchestrator.api.answers import (
    Accepted,
    Health,
    RegistrationAccepted,
    RunChanged,
    Started,
)
from functions.orchestrator.api.parameters import (
    FlowId,
    HandOver,
    OrchName,
    Reason,
    Reassign,
    Saga,
    ServiceName,
    ToStep,
    Who,
    run_of,
)
from functions.orchestrator.api.problems import documented
from functions.orchestrator.decide.inputs import (
    CancelRequested,
    Input,
    PauseRequested,
    ResumeRequested,
    RetryRequested,
    UndoRequested,
)
from functions.orchestrator.decide.model import Run, RunStatus, StepStatus
from functions.orchestrator.decide.waiting_reason import waiting_for
from functions.orchestrator.engine.batch import Start
from functions.orchestrator.engine.deduplication import Claim
from functions.orchestrator.intake import payload_of
from functions.orchestrator.orchestrator import Orchestrator
from functions.orchestrator.registration import registration
from functions.orchestrator.registration.registration_request import read

router = APIRouter(prefix="/api/orchestration", tags=["orchestration"])

# Another process may end the run that a request here waits for.
_LOOK_AGAIN_S = 0.5  # at first; a long run is looked at less and less often
_MAX_LOOK_AGAIN_S = 5.0
_SCHEMA = {"$ref": "#/components/schemas/RegistrationRequested"}
_REGISTRATION = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": _SCHEMA}, "application/yaml": {}},
    }
}
_PAYLOAD = {
    "requestBody": {
        "required": False,
        "content": {
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
            "application/json": {"schema": {}},
        },
    }
}
Wait = Annotated[float, Query(ge=0, le=60, description="wait so many seconds for the run's end")]


@router.post(
    "/register",
    response_model=RegistrationAccepted,
    responses=documented(400),
    openapi_extra=_REGISTRATION,
)
async def register(request: Request, ctx: Ctx, saga: Saga, service: ServiceName = None) -> Any:
    """Register an orchestration (as initiator) or the steps that a service does (as worker)."""
    if service is None:  # its document names it, and may name any
        check_operator(request.scope, ctx)
    body = await request.body()
    submitted = await off_loop(len(body), lambda: read(parsed(body)))
    done = await saga.register(submitted, service, str(uuid4()))
    return RegistrationAccepted(
        message=f"Registration initiated for orchestration: {done.decided.orch_name}",
        version=done.decided.version,
        registration="SUCCESS" if done.decided.status == "SUCCESS" else "PENDING",
        missing_workers=done.decided.missing_workers,
    )


@router.delete("/register/{orch_name}/{service}", responses=documented(400, 404))
async def leave(
    request: Request, orch_name: OrchName, service: OrchName, ctx: Ctx, who: ServiceName = None
) -> Accepted:
    """Take back all that a service has registered as worker; its steps wait for another."""
    check_operator(request.scope, ctx, owner=service)
    async with ctx.store.transaction() as tx:
        caller, now = who or "anonymous", ctx.resources.now()
        steps = await registration.leave(tx, orch_name, service, caller, now)
    return Accepted(message=f"{service} works no more for {', '.join(steps)} of {orch_name}")


@router.post(
    "/execute/{orch_name}",
    response_model=Started,
    responses=documented(400, 404, 409),
    openapi_extra=_PAYLOAD,
)
async def execute(
    request: Request,
    orch_name: OrchName,
    ctx: Ctx,
    saga: Saga,
    service: ServiceName = None,
    idempotency_key: Annotated[IdempotencyKey, Header()] = None,
    wait: Wait = 0,
    reason: Reason = "",
) -> Any:
    """Start a run. Without its workers it waits, says so, and starts when they register."""
    body = await request.body()
    payload, encoding = await off_loop(len(body), payload_of, body)
    claim = None
    if idempotency_key is not None:
        digest = hashlib.sha256(orch_name.encode() + b"\0" + body).hexdigest()
        claim = Claim("POST /execute", idempotency_key, "http", {"request": digest})
    who = user_of(request.headers) or service or "anonymous"
    start = Start(orch_name, payload, encoding, who, reason)
    flow_id, done = await saga.start(start, claim)
    if done.repeated and claim is not None and done.answer["request"] != claim.answer["request"]:
        raise Conflict("Idempotency-Key: it was used for another request")
    run = done.run
    if run is None or (wait and not run.status.ended):
        run = await _ended(ctx, saga, flow_id, wait)
    waits = run.status is RunStatus.WAITING
    results = {n: s.result for n, s in run.steps.items() if s.status is StepStatus.DO_SUCCESS}
    return Started(
        status="FAILED" if run.status.ended and not run.completed else "SUCCESS",
        message="Orchestration execution started",
        flow_id=flow_id,
        run=run.status,
        reason=run.reason,
        waiting_for=waiting_for(run, (await run_of(ctx, UUID(flow_id))).workers) if waits else None,
        results=results if run.completed else None,
    )


@router.post("/undo/{flow_id}", response_model=RunChanged, responses=documented(404, 409, 422))
async def undo(
    flow_id: FlowId, saga: Saga, who: Who, to: ToStep = None, reason: Reason = ""
) -> RunChanged:
    """Undo a run: all of it, or what came after the step `to`."""
    return await _apply(saga, flow_id, UndoRequested(who, to, reason), "Undo initiated")


@router.post("/cancel/{flow_id}", response_model=RunChanged, responses=documented(404, 409, 422))
async def cancel(flow_id: FlowId, saga: Saga, who: Who, reason: Reason = "") -> RunChanged:
    """Stop an unfinished run; what was done is undone."""
    return await _apply(saga, flow_id, CancelRequested(who, reason), "Cancel initiated")


@router.post("/pause/{flow_id}", response_model=RunChanged, responses=documented(404, 409, 422))
async def pause(flow_id: FlowId, saga: Saga, who: Who, reason: Reason = "") -> RunChanged:
    """Send nothing new for a run until it is resumed; answers are still taken."""
    return await _apply(saga, flow_id, PauseRequested(who, reason), "Paused")


@router.post("/resume/{flow_id}", response_model=RunChanged, responses=documented(404, 409, 422))
async def resume(flow_id: FlowId, saga: Saga, who: Who, reason: Reason = "") -> RunChanged:
    """Let a paused run go on."""
    return await _apply(saga, flow_id, ResumeRequested(who, reason), "Resumed")


@router.post("/retry/{flow_id}", response_model=RunChanged, responses=documented(404, 409, 422))
async def retry(
    flow_id: FlowId,
    saga: Saga,
    who: Who,
    reassign: Reassign = False,
    hand_over: HandOver = False,
    reason: Reason = "",
) -> RunChanged:
    """Let a run that ended badly go on from where it failed, be it forward or back."""
    return await _apply(
        saga, flow_id, RetryRequested(who, reassign or hand_over, reason), "Retry initiated"
    )


@router.get("/health", response_model=Health, responses=documented())
async def health(ctx: Ctx) -> Health:
    """Can the orchestrator reach its tables?"""
    async with ctx.store.connection() as connection:
        await connection.fetchval("SELECT count(*) FROM orchestration_run WHERE timer_at < now()")
    return Health()


async def _apply(saga: Orchestrator, flow_id: UUID, given: Input, result: str) -> RunChanged:
    done = await saga.apply(flow_id, given)
    if done.refused is not None:
        raise Conflict(done.refused)
    assert done.run is not None
    message = f"{result} for flowId: {flow_id}"
    return RunChanged(message=message, flow_id=str(flow_id), run=done.run.status)


async def _ended(ctx: Ctx, saga: Orchestrator, flow_id: str, wait_s: float) -> Run:
    """The run once it has ended, or as it is after `wait_s` seconds."""
    ended = saga.engine.watch(flow_id)
    deadline = asyncio.get_running_loop().time() + wait_s
    pause_s = _LOOK_AGAIN_S
    try:
        while True:
            left = deadline - asyncio.get_running_loop().time()
            if left > 0:
                await asyncio.wait([ended], timeout=min(left, pause_s))
            if ended.done():
                return ended.result()
            async with ctx.store.connection() as connection:
                status = await queries.status(connection, UUID(flow_id))
            if left <= pause_s or status is None or RunStatus(status).ended:
                return (await run_of(ctx, UUID(flow_id))).run
            pause_s = min(pause_s * 1.5, _MAX_LOOK_AGAIN_S)
    finally:
        saga.engine.unwatch(flow_id, ended)
