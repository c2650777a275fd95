"""All SQL of daily-scrum-service."""

from __future__ import annotations

from typing import Any

from functions.kit.durable import Connection, rule

# Users read them as history: a year, and a month more to look back on it.
RETENTION = (rule("scrums", "drawn_at", days=400),)

Moves = list[dict[str, Any]]


async def drawn(connection: Connection, sprint_id: str, request: str) -> Moves | None:
    """What a request has drawn already."""
    found: Moves | None = await connection.fetchval(
        "SELECT moves FROM scrums WHERE sprint_id = $1 AND request = $2", sprint_id, request
    )
    return found


async def record(connection: Connection, sprint_id: str, request: str, moves: Moves) -> None:
    await connection.execute(
        "INSERT INTO scrums (sprint_id, request, moves) VALUES ($1, $2, $3)",
        *(sprint_id, request, moves),
    )


async def scrums(connection: Connection, sprint_id: str, limit: int) -> list[dict[str, Any]]:
    """A sprint's simulated days, newest first."""
    rows = await connection.fetch(
        """SELECT sprint_id, drawn_at, moves FROM scrums WHERE sprint_id = $1
           ORDER BY drawn_at DESC LIMIT $2""",
        *(sprint_id, limit),
    )
    return [dict(row) for row in rows]
