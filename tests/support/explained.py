"""What PostgreSQL reads for a statement."""

from __future__ import annotations

import json

import asyncpg


async def pages(
    connection: asyncpg.Connection[asyncpg.Record], statement: str, *values: object
) -> int:
    """Execute it; how many pages of tables and indexes it read."""
    plan = await connection.fetchval(
        f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) {statement}", *values
    )
    root = json.loads(plan)[0]["Plan"]
    return int(root["Shared Hit Blocks"] + root["Shared Read Blocks"])
