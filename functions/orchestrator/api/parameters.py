"""What the routes take besides bodies: names, ids, pages, instants; nonsense is refused."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import Depends, Header, Path, Query, Request
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from functions.kit.contract import Ctx, user_of
from functions.kit.contract.callers import check_operator
from functions.kit.contract.query import Paging
from functions.kit.errors import NotFound
from functions.orchestrator.api.queries import Page
from functions.orchestrator.decide.model import RunStatus
from functions.orchestrator.engine import run_store
from functions.orchestrator.engine.run_store import Stored
from functions.orchestrator.orchestrator import Orchestrator

logger = logging.getLogger(__name__)

_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
OrchName = Annotated[str, Path(min_length=1, max_length=100, pattern=_NAME)]
FlowId = Annotated[UUID, Path(description="the run's flowId")]
ServiceName = Annotated[
    str | None,
    Header(
        alias="X-Service-Name", min_length=1, max_length=100, pattern=_NAME, description="who asks"
    ),
]


async def _who(request: Request, ctx: Ctx, service: ServiceName = None) -> str:
    check_operator(request.scope, ctx)
    return user_of(request.headers) or service or "anonymous"


# An operator: a user, whom the console names in X-User, or the service that asks.
Who = Annotated[str, Depends(_who)]
ToStep = Annotated[
    str | None,
    Query(min_length=1, max_length=100, pattern=_NAME, description="undo back to just after it"),
]

Reason = Annotated[
    str,
    Query(max_length=500, pattern=r"^[^\x00]*$", description="why; it goes into the history"),
]
Reassign = Annotated[
    bool,
    Query(description="undo at the workers registered now what others did that have left"),
]
HandOver = Annotated[
    bool, Query(alias="handOver", deprecated=True, description="the old name of `reassign`")
]


def _sane(at: datetime) -> datetime:
    at = at if at.tzinfo else at.replace(tzinfo=UTC)
    if not 1970 < at.year < 9000:
        raise ValueError("must be an instant between 1971 and 8999")
    return at


Instant = Annotated[datetime, AfterValidator(_sane)]
Text100 = Annotated[str, StringConstraints(max_length=100, pattern=r"^[^\x00]*$")]


Direction = Literal["asc", "desc"]


class _Paged(BaseModel):
    """A page of a list that the Spring orchestrator has. An unknown parameter is refused."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    page: int = Field(0, ge=0, le=1_000_000)
    size: int = Field(10, ge=1, le=200)
    direction: Direction = "desc"

    def at(self, sort_by: str) -> Page:
        return Page(self.page * self.size, self.size, sort_by, self.direction == "desc")


class _Listed(Paging):
    """A page of a list of ours; a cursor is how many rows are before it."""

    direction: Direction = "desc"
    # The old names of `cursor` and `limit`, read for one release.
    page: int | None = Field(None, ge=0, le=1_000_000, json_schema_extra={"deprecated": True})
    size: int | None = Field(None, ge=1, le=200, json_schema_extra={"deprecated": True})

    def at(self, sort_by: str) -> Page:
        if (self.page, self.size) == (None, None):
            return Page(self.cursor, self.limit, sort_by, self.direction == "desc")
        logger.warning("query parameters 'page' and 'size' are deprecated: use 'cursor', 'limit'")
        size = self.size or 10
        return Page((self.page or 0) * size, size, sort_by, self.direction == "desc")


class RegistrationList(_Listed):
    """Which registrations are wanted."""


class OrchestrationList(_Paged):
    """Which orchestrations are wanted."""

    sort_by: Literal["orchName", "type", "status", "initiatorName", "lastUpdated"] = Field(
        "lastUpdated", alias="sortBy"
    )
    status: Literal["SUCCESS", "PENDING", "FAILED"] | None = None
    type: Literal["sequential", "simultaneous"] | None = None
    orch_name: Text100 | None = Field(None, alias="orchName", description="a part of the name")
    registered_from: Instant | None = Field(None, alias="registeredFrom")
    registered_to: Instant | None = Field(None, alias="registeredTo")


class _Executions(BaseModel):
    sort_by: Literal["startedAt", "completedAt", "status"] = Field("startedAt", alias="sortBy")
    status: RunStatus | None = None
    from_date: Instant | None = Field(None, alias="fromDate")
    to_date: Instant | None = Field(None, alias="toDate")


class ExecutionList(_Executions, _Paged):
    """Which runs are wanted."""


class ExecutionSearch(_Executions, _Listed):
    """Which runs are wanted, of all orchestrations."""

    orch_name: Text100 | None = Field(None, alias="orchName", description="a part of the name")
    stuck: bool = Field(
        False,
        description="only runs that wait, are paused, are half undone, or failed in the last day",
    )


class AuditFilter(BaseModel):
    """Which lines of a run's history are wanted."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True)

    event_type: Text100 | None = Field(None, alias="eventType")
    since: Instant | None = Field(None, alias="from")
    until: Instant | None = Field(None, alias="to")


async def _orchestrator(ctx: Ctx) -> Orchestrator:
    return ctx.part(Orchestrator)


Saga = Annotated[Orchestrator, Depends(_orchestrator)]


def listed(rows: list[dict[str, Any]], total: int, page: Page) -> dict[str, Any]:
    """A list of ours as an answer."""
    following = page.offset + len(rows)
    return {
        "content": rows,
        "totalElements": total,
        "next": following if rows and following < total else None,
    }


def paged(rows: list[dict[str, Any]], total: int, query: _Paged) -> dict[str, Any]:
    """A list as the Spring orchestrator answers it."""
    pages = -(-total // query.size)
    return {
        "content": rows,
        "page": query.page,
        "size": query.size,
        "totalElements": total,
        "totalPages": pages,
    }


async def run_of(ctx: Ctx, flow_id: UUID) -> Stored:
    """A run as one consistent picture; `NotFound` where there is none."""
    engine = ctx.part(Orchestrator).engine
    async with ctx.store.transaction() as tx:
        await tx.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        stored = await run_store.read(tx, engine.known, flow_id)
    if stored is None:
        raise NotFound(f"flowId: there is no run {flow_id}")
    return stored
