"""Queries of the Jobs' table: pages and counts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, get_args

from functions.job_launcher.budget_usage import USED
from functions.job_launcher.decide.job_status import State
from functions.job_launcher.tables import JobRow, row_of
from functions.kit.durable import Connection

MAX_COUNT = 10_000
MAX_COSTS = 100


async def page(
    tx: Connection, filters: Mapping[str, str], before: int | None, limit: int
) -> list[JobRow]:
    """Return Jobs, newest first; `filters` are names and values, `before` is a position."""
    conditions = _conditions(filters, 3)
    where = " AND ".join(["($1::bigint IS NULL OR position < $1)", *conditions])
    rows = await tx.fetch(
        f"SELECT * FROM job WHERE {where} ORDER BY position DESC LIMIT $2",
        before,
        limit,
        *filters.values(),
    )
    return [row_of(row) for row in rows]


async def count(tx: Connection, filters: Mapping[str, str]) -> int:
    """Count the Jobs, up to `MAX_COUNT`."""
    where = " AND ".join(["true", *_conditions(filters, 2)])
    found: int = await tx.fetchval(
        f"SELECT count(*) FROM (SELECT FROM job WHERE {where} LIMIT $1) AS counted",
        MAX_COUNT,
        *filters.values(),
    )
    return found


async def costs(tx: Connection, now: datetime, since: datetime) -> list[dict[str, Any]]:
    """Return what the Jobs launched since a time have used, by issue or task, `MAX_COSTS` rows."""
    rows = await tx.fetch(
        f"""SELECT coalesce(request->>'github', '') AS repository, request->>'issue' AS issue,
                min(task_id) AS task_id, group_name AS group, count(*) AS jobs, {USED},
                coalesce(sum((usage->>'turns')::bigint), 0)::bigint AS turns,
                count(usage) AS reported
            FROM job WHERE launched_at >= $2
            GROUP BY 1, 2, group_name, CASE WHEN request->>'issue' IS NULL THEN task_id END
            ORDER BY usd DESC, tokens DESC, minutes DESC LIMIT {MAX_COSTS}""",
        *(now, since),
    )
    return [dict(row) for row in rows]


def _conditions(filters: Mapping[str, str], first: int) -> list[str]:
    columns = {"group": "group_name", "task": "task_id"}
    return [f"{columns.get(name, name)} = ${n}" for n, name in enumerate(filters, first)]


async def count_by_state(connection: Connection) -> tuple[dict[str, int], float]:
    """Return the number of Jobs in each state, and the age of the oldest queued one in seconds."""
    rows = await connection.fetch("SELECT state, count(*) AS n FROM job GROUP BY state")
    oldest_s: float = await connection.fetchval(
        """SELECT coalesce(extract(epoch FROM now() - min(queued_at)), 0)::float8
           FROM job WHERE state = 'queued'"""
    )
    none = dict.fromkeys(get_args(State), 0)
    return none | {row["state"]: row["n"] for row in rows}, oldest_s
