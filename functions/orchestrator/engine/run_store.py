"""Runs and their definitions, as the engine reads them. The API's queries are in queries.py.

A batch locks the rows of its runs in the order of their ids, which prevents deadlocks.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias
from uuid import UUID

from functions.kit.durable import Connection
from functions.orchestrator.decide.model import Definition, Run, Step
from functions.orchestrator.stored_json import (
    STEP_COLUMNS,
    definition_from_json,
    run_from_row,
    step_from_row,
)

# Definitions by template id, cached: a stored definition is immutable.
Known: TypeAlias = dict[int, Definition]


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored run, with the workers of its steps and its timer."""

    run: Run
    template_id: int
    correlation_id: str
    workers: Mapping[str, str]
    timer_at: datetime | None


@dataclass(frozen=True, slots=True)
class Template:
    """The current version of an orchestration, and its workers."""

    id: int
    version: int
    definition: Definition
    workers: Mapping[str, str]


_STEP_COLUMNS = ", ".join(f"s.{name}" for name in STEP_COLUMNS)


def _one_by_one(lock: str) -> str:
    # Row by row, in the given order: a plan cached while the table was empty would scan all of it.
    row = "SELECT * FROM orchestration_run run WHERE run.flow_id = wanted.flow_id OFFSET 0"
    return f"""SELECT found.* FROM unnest($1::uuid[]) AS wanted (flow_id)
        CROSS JOIN LATERAL ({row} {lock}) AS found"""


_READ = _one_by_one("")
_LOCK, _LOCK_FREE = _one_by_one("FOR NO KEY UPDATE"), _one_by_one("FOR NO KEY UPDATE SKIP LOCKED")


async def read(tx: Connection, known: Known, flow_id: UUID) -> Stored | None:
    """Read a run in one snapshot, without locks; in a transaction."""
    return (await read_all(tx, known, [flow_id])).get(flow_id)


async def read_all(tx: Connection, known: Known, flow_ids: Sequence[UUID]) -> dict[UUID, Stored]:
    """Read runs as `read` does."""
    return await _stored(tx, known, await tx.fetch(_READ, flow_ids) if flow_ids else [])


async def lock(
    tx: Connection, known: Known, wanted: Iterable[UUID], woken: Iterable[UUID]
) -> dict[UUID, Stored]:
    """Lock and read runs; skip those of the `woken` that are locked."""
    first, second = sorted(wanted), sorted(woken)
    rows = await tx.fetch(_LOCK, first) if first else []
    if second:
        rows += await tx.fetch(_LOCK_FREE, second)
    return await _stored(tx, known, rows)


async def _stored(tx: Connection, known: Known, rows: Sequence[Any]) -> dict[UUID, Stored]:
    if not rows:
        return {}
    ids = [row["flow_id"] for row in rows]
    # A statement of its own: its snapshot has the writes of the last holder of the locks. The first
    # one, which waited, sees the locked rows as they are now, but all other tables as they were.
    found = await tx.fetch(
        f"""SELECT s.flow_id, s.step_name, w.worker_service AS registered, {_STEP_COLUMNS}
           FROM json_to_recordset($1) AS locked (flow_id uuid, orch_name text)
           CROSS JOIN LATERAL (SELECT * FROM orchestration_step_run step
               WHERE step.flow_id = locked.flow_id OFFSET 0) AS s
           LEFT JOIN worker_registration w
                ON w.orch_name = locked.orch_name AND w.step_name = s.step_name
           ORDER BY s.flow_id, s.seq""",
        [{"flow_id": str(row["flow_id"]), "orch_name": row["orch_name"]} for row in rows],
    )
    await _load_definitions(tx, known, {row["template_id"] for row in rows})
    steps: dict[UUID, dict[str, Step]] = {flow_id: {} for flow_id in ids}
    workers: dict[UUID, dict[str, str]] = {flow_id: {} for flow_id in ids}
    for flow_id, name, registered, *columns in found:
        steps[flow_id][name] = step_from_row(columns)
        if registered is not None:
            workers[flow_id][name] = registered
    stored = {}
    for row in rows:
        flow_id = row["flow_id"]
        run = run_from_row(row, known[row["template_id"]], steps[flow_id])
        stored[flow_id] = Stored(
            run, row["template_id"], row["correlation_id"], workers[flow_id], row["timer_at"]
        )
    return stored


async def templates(tx: Connection, known: Known, names: Iterable[str]) -> dict[str, Template]:
    """Return the current versions of orchestrations, by name."""
    rows = await tx.fetch(
        """SELECT t.id, t.orch_name, t.version, (
               SELECT jsonb_object_agg(step_name, worker_service)
               FROM worker_registration w WHERE w.orch_name = t.orch_name
           ) AS workers
           FROM orchestration_template t WHERE t.current AND t.orch_name = ANY($1::text[])""",
        list(names),
    )
    await _load_definitions(tx, known, {row["id"] for row in rows})
    return {
        row["orch_name"]: Template(
            row["id"], row["version"], known[row["id"]], row["workers"] or {}
        )
        for row in rows
    }


async def _load_definitions(tx: Connection, known: Known, ids: set[int]) -> None:
    unknown = ids - set(known)
    if unknown:
        rows = await tx.fetch(
            "SELECT id, definition FROM orchestration_template WHERE id = ANY($1)", list(unknown)
        )
        for row in rows:
            known[row["id"]] = definition_from_json(row["definition"])
