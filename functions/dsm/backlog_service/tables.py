"""All SQL of backlog-service."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from functions.kit.durable import Connection
from functions.kit.durable.locks import TASK_NUMBERS
from functions.kit.errors import Conflict, NotFound

Row = dict[str, Any]

_COLUMNS = """task_id, project_id, title, description, status, assigned_to, sprint_id,
              progress_percentage"""


async def add(tx: Connection, task: Row) -> None:
    added = await tx.fetchval(
        """INSERT INTO tasks (task_id, project_id, title, description, assigned_to)
           VALUES ($1, $2, $3, $4, $5) ON CONFLICT DO NOTHING RETURNING true""",
        *(task[n] for n in ("task_id", "project_id", "title", "description", "assigned_to")),
    )
    if not added:
        raise Conflict(f"Task {task['task_id']} already exists")


async def generate(tx: Connection, project_id: str, titles: Sequence[str]) -> list[str]:
    """Add one task for each title under ids that were never used; returns the ids."""
    await TASK_NUMBERS.hold(tx, project_id)
    prefix = f"{project_id}-TASK"
    last: int = await tx.fetchval(
        """SELECT coalesce(max(substr(task_id, length($1) + 1)::int), 0) FROM tasks
           WHERE task_id ^@ $1 AND substr(task_id, length($1) + 1) ~ '^[0-9]{1,9}$'""",
        prefix,
    )
    ids = [f"{prefix}{last + n:03d}" for n, _ in enumerate(titles, 1)]
    await tx.execute(
        """INSERT INTO tasks (task_id, project_id, title, description)
           SELECT given.id, $1, given.title, given.title
           FROM json_to_recordset($2) AS given (id text, title text)""",
        *(project_id, [{"id": id, "title": t} for id, t in zip(ids, titles, strict=True)]),
    )
    return ids


async def tasks(
    connection: Connection, project_id: str, status: str | None, limit: int, offset: int
) -> list[Row]:
    """The project's tasks, oldest first."""
    rows = await connection.fetch(
        f"""SELECT {_COLUMNS} FROM tasks
            WHERE project_id = $1 AND ($2::text IS NULL OR status = $2)
            ORDER BY number LIMIT $3 OFFSET $4""",
        *(project_id, status, limit, offset),
    )
    return [dict(row) for row in rows]


async def task(connection: Connection, task_id: str) -> Row:
    row = await connection.fetchrow(f"SELECT {_COLUMNS} FROM tasks WHERE task_id = $1", task_id)
    if row is None:
        raise NotFound(f"Task {task_id} not found")
    return dict(row)


async def summaries(
    connection: Connection, project_id: str | None, limit: int = 10_000, offset: int = 0
) -> list[Row]:
    """Counts of one project's tasks, or of every project's that has some."""
    rows = await connection.fetch(
        """SELECT project_id, sum(n)::int AS total_tasks,
                  jsonb_object_agg(status, n) AS status_counts,
                  sum(free)::int AS unassigned_for_sprint_count
           FROM (SELECT project_id, status, count(*) AS n,
                        count(*) FILTER (WHERE status = 'unassigned' AND sprint_id IS NULL) AS free
                 FROM tasks WHERE $1::text IS NULL OR project_id = $1
                 GROUP BY project_id, status) AS counted
           GROUP BY project_id ORDER BY project_id LIMIT $2 OFFSET $3""",
        *(project_id, limit, offset),
    )
    return [dict(row) for row in rows]


async def change(connection: Connection, task_id: str, fields: Mapping[str, Any]) -> None:
    """Set the given columns; a task that becomes unassigned leaves its sprint."""
    columns = dict(fields)
    if columns.get("status") == "unassigned":
        columns["sprint_id"] = None
    settings = ", ".join(f"{name} = ${n}" for n, name in enumerate(columns, 2))
    if not await connection.fetchval(
        f"UPDATE tasks SET {settings} WHERE task_id = $1 RETURNING true",
        *(task_id, *columns.values()),
    ):
        raise NotFound(f"Task {task_id} not found")


async def place(
    tx: Connection, project_id: str, at: datetime, placed: Sequence[Mapping[str, Any]]
) -> int:
    """Set where each task stands as of `at`, unless it has moved since; returns how many did."""
    names = ("task_id", "status", "progress_percentage", "sprint_id", "assigned_to")
    moved = await tx.fetch(
        """UPDATE tasks t SET status = given.status,
                  progress_percentage = given.progress_percentage,
                  sprint_id = given.sprint_id, assigned_to = given.assigned_to, moved_at = $2
           FROM json_to_recordset($3) AS given (task_id text, status text,
                    progress_percentage int, sprint_id text, assigned_to text)
           WHERE t.task_id = given.task_id AND t.project_id = $1 AND t.moved_at <= $2
           RETURNING t.task_id""",
        *(project_id, at, [{name: row[name] for name in names} for row in placed]),
    )
    return len(moved)
