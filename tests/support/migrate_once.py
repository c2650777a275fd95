"""A Job for tests: counts its runs in the database."""

from __future__ import annotations

import asyncio
import os

import asyncpg


async def main() -> None:
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    await connection.execute("CREATE TABLE IF NOT EXISTS run (at timestamptz DEFAULT now())")
    await connection.execute("INSERT INTO run DEFAULT VALUES")
    await connection.close()


if __name__ == "__main__":
    asyncio.run(main())
