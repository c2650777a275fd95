"""REST: what orchestrations there are, how runs stand, and what has happened to them."""

from __future__ import annotations

from typing import Annotated, Any
from uuid import UUID

from fastapi import APIRouter, Query

from functions.kit.contract import Ctx
from functions.kit.errors import NotFound
from functions.orchestrator.api import queries
from functions.orchestrator.api.answers import (
    ExecutionDetail,
    ExecutionPage,
    FoundPage,
    OrchestrationDetail,
    OrchestrationPage,
    RegistrationPage,
    TimelineEntry,
    UndoPlan,
    detail_of,
    plan_of,
)
from functions.orchestrator.api.parameters import (
    AuditFilter,
    ExecutionList,
    ExecutionSearch,
    FlowId,
    OrchestrationList,
    OrchName,
    RegistrationList,
    ToStep,
    listed,
    paged,
    run_of,
)
from functions.orchestrator.api.problems import documented
from functions.orchestrator.decide.model import RunStatus
from functions.orchestrator.decide.undo import plan
from functions.orchestrator.decide.waiting_reason import waiting_for
from functions.orchestrator.engine import run_store
from functions.orchestrator.engine.run_store import Stored
from functions.orchestrator.orchestrator import Orchestrator

router = APIRouter(prefix="/api", tags=["reading"])


@router.get("/orchestrations", response_model=OrchestrationPage, responses=documented(422))
async def orchestrations(ctx: Ctx, query: Annotated[OrchestrationList, Query()]) -> Any:
    """The orchestrations that are registered."""
    async with ctx.store.connection() as connection:
        rows, total = await queries.orchestrations(
            connection,
            query.at(query.sort_by),
            status=query.status,
            type_=query.type,
            name=query.orch_name,
            since=query.registered_from,
            until=query.registered_to,
        )
    return paged(rows, total, query)


@router.get(
    "/orchestrations/{orch_name}",
    response_model=OrchestrationDetail,
    responses=documented(404, 422),
)
async def orchestration(orch_name: OrchName, ctx: Ctx) -> Any:
    """One orchestration with its steps and their workers."""
    return await _known(ctx, orch_name)


@router.get(
    "/orchestrations/{orch_name}/registrations",
    response_model=RegistrationPage,
    responses=documented(422),
)
async def registrations(
    orch_name: OrchName, ctx: Ctx, query: Annotated[RegistrationList, Query()]
) -> Any:
    """Every attempt to register for an orchestration, good and bad."""
    page = query.at("registeredAt")
    async with ctx.store.connection() as connection:
        rows, total = await queries.registrations(connection, orch_name, page)
    return listed(rows, total, page)


@router.get(
    "/orchestrations/{orch_name}/executions",
    response_model=ExecutionPage,
    responses=documented(404, 422),
)
async def executions(
    orch_name: OrchName, ctx: Ctx, query: Annotated[ExecutionList, Query()]
) -> Any:
    """The runs of an orchestration."""
    await _known(ctx, orch_name)
    rows, total = await _runs(ctx, query, query.at(query.sort_by), name=orch_name)
    return paged(rows, total, query)


@router.get("/executions", response_model=FoundPage, responses=documented(422))
async def all_executions(ctx: Ctx, query: Annotated[ExecutionSearch, Query()]) -> Any:
    """The runs of all orchestrations; `stuck` means those that need a user's attention."""
    page = query.at(query.sort_by)
    stuck_at = ctx.now() if query.stuck else None
    rows, total = await _runs(ctx, query, page, part=query.orch_name, stuck_at=stuck_at)
    return listed(rows, total, page)


@router.get("/executions/{flow_id}", response_model=ExecutionDetail, responses=documented(404, 422))
async def execution_by_id(flow_id: FlowId, ctx: Ctx) -> ExecutionDetail:
    """One run with its steps, whatever orchestration it is of."""
    return await _detail(ctx, await run_of(ctx, flow_id))


async def _runs(
    ctx: Ctx, query: ExecutionList | ExecutionSearch, page: queries.Page, **which: Any
) -> tuple[list[dict[str, Any]], int]:
    known = ctx.part(Orchestrator).engine.known
    async with ctx.store.transaction() as tx:
        await tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        rows, total = await queries.runs(
            tx,
            page,
            status=query.status,
            since=query.from_date,
            until=query.to_date,
            **which,
        )
        going = [UUID(row["executionId"]) for row in rows if not RunStatus(row["status"]).ended]
        found = await run_store.read_all(tx, known, going)
    for row in rows:
        stored = found.get(UUID(row["executionId"]))
        row["waitingFor"] = waiting_for(stored.run, stored.workers) if stored else None
    return rows, total


@router.get(
    "/orchestrations/{orch_name}/executions/{flow_id}",
    response_model=ExecutionDetail,
    responses=documented(404, 422),
)
async def execution(orch_name: OrchName, flow_id: FlowId, ctx: Ctx) -> ExecutionDetail:
    """One run with its steps, and why it is waiting."""
    return await _detail(ctx, await _run(ctx, orch_name, flow_id))


@router.get(
    "/orchestrations/{orch_name}/executions/{flow_id}/timeline",
    response_model=list[TimelineEntry],
    responses=documented(404, 422),
)
async def timeline(orch_name: OrchName, flow_id: FlowId, ctx: Ctx) -> Any:
    """What has happened to a run, in order."""
    await _run(ctx, orch_name, flow_id)
    async with ctx.store.connection() as connection:
        return await queries.history(connection, flow_id)


@router.get(
    "/orchestrations/{orch_name}/executions/{flow_id}/undo-plan",
    response_model=UndoPlan,
    responses=documented(404, 422),
)
async def undo_plan(orch_name: OrchName, flow_id: FlowId, ctx: Ctx, to: ToStep = None) -> UndoPlan:
    """What an undo would do, in which order, and what it would leave."""
    stored = await _run(ctx, orch_name, flow_id)
    if to is not None and to not in stored.run.steps:
        raise NotFound(f"to: {to!r} is no step of {orch_name}")
    return plan_of(plan(stored.run, to))


@router.get("/audit/{flow_id}", response_model=list[TimelineEntry], responses=documented(404, 422))
async def audit(flow_id: FlowId, ctx: Ctx, query: Annotated[AuditFilter, Query()]) -> Any:
    """The audit of a run; also of a flow that never was, if a message named it."""
    async with ctx.store.connection() as connection:
        found = await queries.history(
            connection, flow_id, type_=query.event_type, since=query.since, until=query.until
        )
        if not found and not await queries.history(connection, flow_id):
            raise NotFound(f"flowId: nothing is known of {flow_id}")
    return found


async def _known(ctx: Ctx, orch_name: str) -> dict[str, Any]:
    async with ctx.store.connection() as connection:
        found = await queries.orchestration(connection, orch_name)
    if found is None:
        raise NotFound(f"orchName: no orchestration {orch_name!r} is registered")
    return found


async def _detail(ctx: Ctx, stored: Stored) -> ExecutionDetail:
    async with ctx.store.connection() as connection:
        facts = await queries.run_facts(connection, UUID(stored.run.flow_id))
    assert facts is not None
    return detail_of(stored, facts, ctx.resources.now())


async def _run(ctx: Ctx, orch_name: str, flow_id: UUID) -> Stored:
    stored = await run_of(ctx, flow_id)
    if stored.run.definition.name != orch_name:
        raise NotFound(f"flowId: there is no run {flow_id} of {orch_name}")
    return stored
