"""All SQL of daily-scrum-service."""

from __future__ import annotations

from typing import Any

from functions.kit.durable import Connection, rule

# Users read them as history: a year, and a month more to look back on it.
RETENTION = (rule("scrums", "drawn_at", days=400),)

Moves = list[dict[str, Any]]


async def drawn(connection: Connection, sprint_id: str, request: str) -> tuple[str, Moves] | None:
    """What a request has drawn already, and the request as it was kept with that: until 0.2 a key
    was kept raw, of which this may be the digest."""
    row = await connection.fetchrow(
        """SELECT request, moves FROM scrums WHERE sprint_id = $1
           AND (request = $2 OR encode(sha256(convert_to(request, 'UTF8')), 'hex') = $2)
           ORDER BY drawn_at LIMIT 1""",
        *(sprint_id, request),
    )
    return None if row is None else (row["request"], row["moves"])


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
