"""The sprints that were reported as complete: again and again, until the next one is there."""

from __future__ import annotations

from collections.abc import Sequence

from functions.events.sprint import SprintCompleted
from functions.kit.durable import Store, rule

# A project that has had no next sprint for a year is not waited for.
RETENTION = (rule("completion", "reported_at", days=365),)


async def reported(store: Store, sprint_ids: Sequence[str]) -> dict[str, SprintCompleted]:
    """Those of the given sprints that were reported as complete, by id."""
    async with store.connection() as connection:
        rows = await connection.fetch(
            """SELECT project_id, sprint_id, total_tasks FROM completion
               WHERE sprint_id = any($1::text[])""",
            list(sprint_ids),
        )
    return {row["sprint_id"]: SprintCompleted(**row) for row in rows}


async def remember(store: Store, completed: Sequence[SprintCompleted]) -> None:
    """Keep what is reported as complete now."""
    async with store.connection() as connection:
        await connection.execute(
            """INSERT INTO completion (sprint_id, project_id, total_tasks)
               SELECT * FROM jsonb_to_recordset($1::jsonb)
                   AS given (sprint_id text, project_id text, total_tasks int)
               ON CONFLICT (sprint_id) DO NOTHING""",
            [one.model_dump(mode="json") for one in completed],
        )
