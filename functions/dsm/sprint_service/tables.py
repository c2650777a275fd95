"""All SQL of sprint-service."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from functions.kit.durable import Connection
from functions.kit.durable.locks import SPRINTS
from functions.kit.errors import Conflict, NotFound

Row = dict[str, Any]

_SPRINT = "sprint_id, project_id, sprint_name, start_date, end_date, duration_weeks, status"
_TASK = "task_id, title, status, sprint_id, progress_percentage, assigned_to"


async def clock(tx: Connection, virtual: datetime | None) -> datetime:
    """The time: the database's, so that later is later in every process, or a virtual one."""
    now: datetime = await tx.fetchval(
        "SELECT coalesce($1::timestamptz, clock_timestamp())", virtual
    )
    return now


async def lock_project(tx: Connection, project_id: str) -> None:
    """Starting a project's sprint is done by one at a time."""
    await SPRINTS.hold(tx, project_id)


async def sprints_of(connection: Connection, project_id: str, status: str | None) -> list[Row]:
    """A project's sprints, newest start first."""
    rows = await connection.fetch(
        f"""SELECT {_SPRINT} FROM sprints
            WHERE project_id = $1 AND ($2::text IS NULL OR status = $2)
            ORDER BY start_date DESC, number DESC LIMIT 10000""",
        *(project_id, status),
    )
    return [dict(row) for row in rows]


async def all_sprints(connection: Connection, limit: int, offset: int) -> list[Row]:
    """The sprints of `limit` projects: projects sorted, newest start first."""
    rows = await connection.fetch(
        f"""SELECT {_SPRINT} FROM sprints WHERE project_id IN
            (SELECT DISTINCT project_id FROM sprints ORDER BY 1 LIMIT $1 OFFSET $2)
            ORDER BY project_id, start_date DESC, number DESC""",
        *(limit, offset),
    )
    return [dict(row) for row in rows]


async def overview(connection: Connection, limit: int, offset: int) -> list[Row]:
    """Of `limit` projects: the sprint in progress, or else the latest, with its tasks' counts."""
    rows = await connection.fetch(
        f"""SELECT latest.*, total_tasks, completed_tasks,
                   total_tasks - completed_tasks AS pending_tasks
            FROM (SELECT DISTINCT ON (project_id) {_SPRINT} FROM sprints
                  ORDER BY project_id, status = 'in_progress' DESC, start_date DESC, number DESC
                  LIMIT $1 OFFSET $2) AS latest
            CROSS JOIN LATERAL (
                SELECT count(*)::int AS total_tasks,
                       (count(*) FILTER (WHERE progress_percentage = 100))::int AS completed_tasks
                FROM tasks WHERE tasks.sprint_id = latest.sprint_id) AS counted
            ORDER BY project_id""",
        *(limit, offset),
    )
    return [dict(row) for row in rows]


async def active(connection: Connection, project_id: str | None) -> str | None:
    """The newest sprint in progress, of a project or of any."""
    found: str | None = await connection.fetchval(
        """SELECT sprint_id FROM sprints
           WHERE status = 'in_progress' AND ($1::text IS NULL OR project_id = $1)
           ORDER BY start_date DESC, number DESC LIMIT 1""",
        project_id,
    )
    return found


async def sprint(connection: Connection, sprint_id: str, *, lock: bool = False) -> Row:
    row = await connection.fetchrow(
        f"SELECT {_SPRINT} FROM sprints WHERE sprint_id = $1 {'FOR UPDATE' if lock else ''}",
        sprint_id,
    )
    if row is None:
        raise NotFound(f"Sprint {sprint_id} not found")
    return dict(row)


async def tasks(connection: Connection, sprint_id: str) -> list[Row]:
    rows = await connection.fetch(
        f"SELECT {_TASK} FROM tasks WHERE sprint_id = $1 ORDER BY number", sprint_id
    )
    return [dict(row) for row in rows]


async def summary(connection: Connection, sprint_id: str) -> Row:
    """Counts of a sprint's tasks; done means a progress of 100, whatever the status is."""
    row = await connection.fetchrow(
        """SELECT count(*)::int AS total_tasks,
                  (count(*) FILTER (WHERE progress_percentage = 100))::int AS completed_tasks,
                  (count(*) FILTER (WHERE progress_percentage < 100))::int AS pending_tasks
           FROM tasks WHERE sprint_id = $1""",
        sprint_id,
    )
    assert row is not None
    return dict(row)


async def count(connection: Connection, project_id: str) -> int:
    found: int = await connection.fetchval(
        "SELECT count(*) FROM sprints WHERE project_id = $1", project_id
    )
    return found


async def start(tx: Connection, sprint: Row, tasks: Sequence[Row]) -> None:
    await tx.execute(
        f"INSERT INTO sprints ({_SPRINT}) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        *(sprint[name.strip()] for name in _SPRINT.split(",")),
    )
    elsewhere = await tx.fetch(
        "SELECT task_id, sprint_id FROM tasks WHERE open AND task_id = any($1::text[])",
        [task["task_id"] for task in tasks],
    )
    if elsewhere:
        raise Conflict(
            "Already in a sprint in progress: " + ", ".join(row["task_id"] for row in elsewhere)
        )
    await tx.execute(
        """INSERT INTO tasks (sprint_id, task_id, title, status, progress_percentage, assigned_to)
           SELECT $1, task_id, title, status, progress_percentage, assigned_to
           FROM json_to_recordset($2) AS task (task_id text, title text, status text,
                                               progress_percentage int, assigned_to text)""",
        *(sprint["sprint_id"], tasks),
    )


async def open_task(tx: Connection, task_id: str) -> Row:
    """A task of a sprint in progress, with its project, held until the transaction ends."""
    found = await tx.fetchval("SELECT sprint_id FROM tasks WHERE task_id = $1 AND open", task_id)
    if found is None:
        if await tx.fetchval("SELECT true FROM tasks WHERE task_id = $1 LIMIT 1", task_id):
            raise Conflict(f"Task {task_id} is in no sprint in progress")
        raise NotFound(f"Task {task_id} not found")
    # The sprint first, as in every write: so no two wait for one another.
    holder = await sprint(tx, found, lock=True)
    row = await tx.fetchrow(
        f"SELECT {_TASK} FROM tasks WHERE task_id = $1 AND sprint_id = $2 AND open FOR UPDATE",
        *(task_id, found),
    )
    if row is None:
        raise Conflict(f"Task {task_id} is in no sprint in progress")
    return {**row, "project_id": holder["project_id"]}


async def set_tasks(tx: Connection, sprint_id: str, moved: Iterable[Mapping[str, Any]]) -> None:
    """Set status and progress of tasks in a sprint."""
    names = ("task_id", "status", "progress_percentage")
    await tx.execute(
        """UPDATE tasks t SET status = g.status, progress_percentage = g.progress_percentage
           FROM json_to_recordset($2) AS g (task_id text, status text, progress_percentage int)
           WHERE t.sprint_id = $1 AND t.task_id = g.task_id""",
        *(sprint_id, [{name: m[name] for name in names} for m in moved]),
    )


async def close(tx: Connection, sprint_id: str, status: str) -> None:
    """End a sprint; its task rows stay, as its history."""
    await tx.execute("UPDATE sprints SET status = $2 WHERE sprint_id = $1", sprint_id, status)
    await tx.execute("UPDATE tasks SET open = false WHERE sprint_id = $1", sprint_id)


async def retrospective(connection: Connection, sprint_id: str) -> str | None:
    found: str | None = await connection.fetchval(
        "SELECT retrospective_id FROM sprints WHERE sprint_id = $1", sprint_id
    )
    return found


async def set_retrospective(tx: Connection, sprint_id: str, retrospective_id: str) -> None:
    await tx.execute(
        "UPDATE sprints SET retrospective_id = $2 WHERE sprint_id = $1",
        *(sprint_id, retrospective_id),
    )


async def take_over(connection: Connection, function: str) -> None:
    """Move what a process of the version before keeps in a table of its own to the kit's outbox."""
    await connection.execute(
        """WITH gone AS (DELETE FROM outbox
                         RETURNING number, id::text, project_id, sprint_id, kind, body, extensions),
                given AS (
                    SELECT *, kind = 'event' AS is_event,
                           CASE kind WHEN 'event' THEN body ->> 'subject'
                                     WHEN 'placements' THEN project_id
                                     ELSE sprint_id END AS subject
                    FROM gone WHERE kind <> 'refused')
           INSERT INTO outbox_event (function, is_call, partition_key, message)
           SELECT $1, NOT is_event, key, (jsonb_strip_nulls(jsonb_build_object(
                   'specversion', '1.0', 'id', id, 'source', '/functions/sprint-service',
                   'type', CASE WHEN is_event THEN body ->> 'type' ELSE kind END,
                   'subject', subject, 'time', CASE WHEN is_event THEN body -> 'time' END,
                   'datacontenttype', 'application/json', 'partitionkey', key))
               || jsonb_build_object('data', CASE WHEN is_event THEN body -> 'data' ELSE body END)
               || CASE WHEN is_event AND extensions = '{}'
                  THEN jsonb_build_object('correlationid', id) ELSE extensions END)::json
           FROM given CROSS JOIN LATERAL (
               SELECT CASE kind WHEN 'event' THEN subject
                                WHEN 'placements' THEN 'placements of ' || subject
                                ELSE 'notes of ' || subject END) AS named (key)
           ORDER BY number""",
        function,
    )
