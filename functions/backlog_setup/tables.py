"""The rows of a backlog in backlog-service's tables, which its own migrations make."""

from __future__ import annotations

from dataclasses import asdict

from functions.backlog_setup.decide import Backlog
from functions.kit.durable import Connection
from functions.kit.durable.locks import SEED
from functions.kit.errors import PermanentError, TemporaryError

NEEDED = {
    "tasks": (
        *("task_id", "project_id", "title", "description", "status"),
        *("assigned_to", "sprint_id", "progress_percentage"),
    ),
    "stories": ("id", "description"),
    "story_tasks": ("story_id", "task_id"),
}
REMEDY = "run the migrations of backlog-service, which owns it"


async def verify(tx: Connection) -> None:
    """Raise one error that names every missing table or column, and what to run."""
    database = await tx.fetchval("SELECT current_database()")
    rows = await tx.fetch(
        """SELECT t.name AS table, a.attname AS column
           FROM unnest($1::text[]) AS t (name)
           JOIN pg_attribute a ON a.attrelid = to_regclass(t.name)
           WHERE a.attnum > 0 AND NOT a.attisdropped""",
        list(NEEDED),
    )
    found: dict[str, set[str]] = {}
    for row in rows:
        found.setdefault(row["table"], set()).add(row["column"])
    missing = [f"table {table}" for table in NEEDED if table not in found]
    missing += [
        f"column {table}.{column}"
        for table, columns in NEEDED.items()
        for column in columns
        if table in found and column not in found[table]
    ]
    if missing:
        detail = f"missing in database {database}: {', '.join(missing)}; {REMEDY}"
        raise TemporaryError(detail, delay_s=10)


async def seed(tx: Connection, backlog: Backlog, *, reset: bool) -> int:
    """Put the rows there and return how many were missing.

    What exists is kept. `reset` sets it back, but never takes a task out of its sprint: of such a
    task only title, description and assignee are set.
    """
    # One after the other per project: concurrent callers meet in no deadlock.
    await SEED.hold(tx, backlog.project_id)
    tasks, stories, links = backlog.tasks, backlog.stories, backlog.links
    created: int = await tx.fetchval(
        f"""WITH given AS (
                SELECT * FROM json_to_recordset($2) AS task
                (task_id text, title text, description text, status text, assigned_to text,
                 progress_percentage int)
            ), written AS (
                INSERT INTO tasks (task_id, project_id, title, description, status, assigned_to,
                                   sprint_id, progress_percentage)
                SELECT task_id, $1, title, description, status, assigned_to, NULL,
                       progress_percentage
                FROM given
                ON CONFLICT (task_id) DO {_RESET_TASK if reset else "NOTHING"}
                RETURNING (xmax = 0) AS created
            )
            SELECT count(*) FILTER (WHERE created) FROM written""",
        *(backlog.project_id, [asdict(task) for task in tasks]),
    )
    await tx.execute(
        f"""INSERT INTO stories (id, description)
            SELECT id, description FROM json_to_recordset($1) AS story (id text, description text)
            ON CONFLICT (id) DO {_RESET_STORY if reset else "NOTHING"}""",
        [{"id": id, "description": text} for id, text in stories],
    )
    await tx.execute(
        """INSERT INTO story_tasks (story_id, task_id)
           SELECT story_id, task_id FROM json_to_recordset($1) AS link (story_id text, task_id text)
           ON CONFLICT DO NOTHING""",
        [{"story_id": story_id, "task_id": task_id} for story_id, task_id in links],
    )
    # Last, when no other can write these rows any more: an error undoes all of it.
    await _refuse_foreign(tx, backlog)
    return created


_RESET_TASK = """UPDATE SET
    title = excluded.title,
    description = excluded.description,
    assigned_to = excluded.assigned_to,
    status = CASE WHEN tasks.sprint_id IS NULL THEN excluded.status ELSE tasks.status END,
    progress_percentage = CASE WHEN tasks.sprint_id IS NULL THEN excluded.progress_percentage
                               ELSE tasks.progress_percentage END"""
_RESET_STORY = "UPDATE SET description = excluded.description"


async def _refuse_foreign(tx: Connection, backlog: Backlog) -> None:
    """Ids are global: refuse those of another project's tasks, and of stories with such tasks."""
    tasks = [task.task_id for task in backlog.tasks]
    stories = [story_id for story_id, _ in backlog.stories]
    owned_tasks = await tx.fetch(
        """SELECT task_id AS id, project_id FROM tasks
           WHERE task_id = ANY($1) AND project_id <> $2 ORDER BY 1""",
        *(tasks, backlog.project_id),
    )
    owned_stories = await tx.fetch(
        """SELECT DISTINCT story_id AS id, project_id FROM story_tasks JOIN tasks USING (task_id)
           WHERE story_id = ANY($1) AND project_id <> $2 ORDER BY 1""",
        *(stories, backlog.project_id),
    )
    problems = [
        f"{name}.{position[row['id']]}.id: {row['id']!r} belongs to project {row['project_id']}"
        for name, ids, owned in (("tasks", tasks, owned_tasks), ("stories", stories, owned_stories))
        for position in [{id_: number for number, id_ in enumerate(ids)}]
        for row in owned
    ]
    if problems:
        raise PermanentError("; ".join(problems))
