"""All SQL of project-orchestrator."""

from __future__ import annotations

from typing import Any

from functions.kit.durable import Connection, rule

# Users read them as history: a year, and a month more to look back on it.
RETENTION = (rule("decisions", "decided_at", days=400),)

Row = dict[str, Any]


async def as_kept(connection: Connection, project_id: str, request: str) -> str:
    """The request by which its decisions are kept: until 0.2 that was a raw key, of which this may
    be the digest."""
    found: str | None = await connection.fetchval(
        """SELECT request FROM decisions WHERE project_id = $1
           AND encode(sha256(convert_to(request, 'UTF8')), 'hex') = $2 LIMIT 1""",
        *(project_id, request),
    )
    return found or request


async def decision(
    connection: Connection, project_id: str, request: str, attempt: int
) -> Row | None:
    """What was decided for a request already."""
    found: Row | None = await connection.fetchval(
        """SELECT decision FROM decisions
           WHERE project_id = $1 AND request = $2 AND attempt = $3""",
        *(project_id, request, attempt),
    )
    return found


async def record(
    connection: Connection, project_id: str, request: str, attempt: int, decision: Row
) -> None:
    await connection.execute(
        "INSERT INTO decisions (project_id, request, attempt, decision) VALUES ($1, $2, $3, $4)",
        *(project_id, request, attempt, decision),
    )


async def latest(connection: Connection, project_id: str) -> Row | None:
    row = await connection.fetchrow(
        """SELECT decision, decided_at FROM decisions WHERE project_id = $1
           ORDER BY decided_at DESC LIMIT 1""",
        project_id,
    )
    return None if row is None else dict(row)


async def has_sample(connection: Connection, name: str) -> bool:
    return bool(await connection.fetchval("SELECT true FROM sample_data WHERE name = $1", name))


async def mark_sample(connection: Connection, name: str) -> None:
    await connection.execute(
        "INSERT INTO sample_data (name) VALUES ($1) ON CONFLICT DO NOTHING", name
    )
