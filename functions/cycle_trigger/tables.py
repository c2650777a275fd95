"""All SQL of cycle-trigger: a row for each cycle, so that one that was begun is finished."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from functions.cycle_trigger.decide import Cycle
from functions.kit.durable import Connection, Store, rule
from functions.kit.errors import shortened

State = Literal["open", "failed"]
_FIRST = ""  # the sprint_id of the cycle that starts a project's first sprint

# Users look back a year, and a month more. One that failed stays: a user has to finish it.
RETENTION = (rule("cycle", "updated_at", days=400, where="state = 'completed'"),)


async def begin(store: Store, cycle: Cycle) -> None:
    """Keep that a cycle is to be finished, before anything is done for it; it ends once."""
    await _write(store, cycle, "open", None, None)


async def note(
    store: Store, cycle: Cycle, state: State, step: str | None, detail: str | None
) -> None:
    """Keep how a cycle stands; `step` is the one that it did not come past."""
    await _write(store, cycle, state, step, None if detail is None else shortened(detail, 1000))


async def _write(
    store: Store, cycle: Cycle, state: State, step: str | None, detail: str | None
) -> None:
    async with store.connection() as connection:
        await connection.execute(
            """INSERT INTO cycle (project_id, sprint_id, state, step, detail, begun_at, updated_at)
               SELECT $1, $2, $3, $4, $5, now, now
               FROM (SELECT coalesce($6::timestamptz, now()) AS now) AS clock
               ON CONFLICT (project_id, sprint_id) DO UPDATE
               SET state = excluded.state, step = excluded.step, detail = excluded.detail,
                   updated_at = excluded.updated_at
               WHERE cycle.state <> 'completed'""",
            *(cycle.project_id, cycle.sprint_id or _FIRST, state, step, detail, store.now),
        )


async def end(tx: Connection, cycle: Cycle, now: datetime | None) -> bool:
    """Complete a cycle; False where it is completed already."""
    return bool(
        await tx.fetchval(
            """UPDATE cycle SET state = 'completed', step = NULL, detail = NULL,
                   updated_at = coalesce($3::timestamptz, now())
               WHERE project_id = $1 AND sprint_id = $2 AND state <> 'completed' RETURNING true""",
            *(cycle.project_id, cycle.sprint_id or _FIRST, now),
        )
    )


async def left_open(store: Store, quiet_s: float, limit: int) -> list[Cycle]:
    """Cycles that are open and have not changed for `quiet_s` seconds, oldest first."""
    async with store.connection() as connection:
        rows = await connection.fetch(
            """SELECT project_id, sprint_id FROM cycle WHERE state = 'open'
               AND updated_at <= coalesce($3::timestamptz, now()) - make_interval(secs => $1)
               ORDER BY updated_at LIMIT $2""",
            *(quiet_s, limit, store.now),
        )
    return [Cycle(row["project_id"], row["sprint_id"] or None) for row in rows]


async def unfinished(store: Store, limit: int, offset: int = 0) -> list[dict[str, Any]]:
    """The cycles that are open or have failed, the latest first."""
    async with store.connection() as connection:
        rows = await connection.fetch(
            """SELECT project_id, nullif(sprint_id, '') AS sprint_id, state, step, detail,
                      begun_at, updated_at
               FROM cycle WHERE state <> 'completed'
               ORDER BY updated_at DESC, project_id, sprint_id LIMIT $1 OFFSET $2""",
            *(limit, offset),
        )
    return [dict(row) for row in rows]
