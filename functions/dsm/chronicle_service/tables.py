"""All SQL of chronicle-service."""

from __future__ import annotations

from datetime import date
from typing import Any

from functions.kit.durable import Connection
from functions.kit.errors import Conflict

Row = dict[str, Any]

MAX_ROWS = 10_000  # of anything that one request lists


async def add_report(tx: Connection, report: Row) -> str:
    """File a daily report; the id of the one that is there if its content is the same."""
    number = await tx.fetchval(
        """INSERT INTO chronicle_notes (event_type, project_id, sprint_id, report_date, summary,
                                        summary_metrics, reports, additional_data)
           VALUES ('daily_scrum_report', $1, $2, $3, $4, $5, $6, $7)
           ON CONFLICT DO NOTHING RETURNING id""",
        *(report[name] for name in ("project_id", "sprint_id", "report_date", "summary")),
        *(report[name] for name in ("summary_metrics", "reports", "additional_data")),
    )
    if number is not None:
        return str(number)
    row = await tx.fetchrow(
        """SELECT id, project_id, summary, summary_metrics, reports, additional_data
           FROM chronicle_notes WHERE event_type = 'daily_scrum_report'
           AND sprint_id = $1 AND report_date = $2""",
        *(report["sprint_id"], report["report_date"]),
    )
    assert row is not None
    found = dict(row)
    if any(report[name] != value for name, value in found.items() if name != "id"):
        raise Conflict(
            f"Sprint {report['sprint_id']} has a daily scrum report of {report['report_date']} "
            f"already: note {found['id']}"
        )
    return str(found["id"])


async def reports(
    connection: Connection,
    sprint_id: str | None,
    project_id: str | None,
    day: date | None,
    limit: int = MAX_ROWS,
    offset: int = 0,
) -> list[Row]:
    """Daily reports, newest day first, in the order of filing within a day."""
    rows = await connection.fetch(
        """SELECT id, project_id, sprint_id, report_date, summary, summary_metrics, reports,
                  additional_data, created_at
           FROM chronicle_notes WHERE event_type = 'daily_scrum_report'
           AND ($1::text IS NULL OR sprint_id = $1) AND ($2::text IS NULL OR project_id = $2)
           AND ($3::date IS NULL OR report_date = $3)
           ORDER BY report_date DESC, created_at, id LIMIT $4 OFFSET $5""",
        *(sprint_id, project_id, day, limit, offset),
    )
    return [dict(row) for row in rows]


async def add_note(
    tx: Connection, kind: str, project_id: str, sprint_id: str | None, text: str, more: Row
) -> str:
    number = await tx.fetchval(
        """INSERT INTO chronicle_notes
               (event_type, project_id, sprint_id, note_content, additional_data)
           VALUES ($1, $2, $3, $4, $5) RETURNING id""",
        *(kind, project_id, sprint_id, text, more),
    )
    return str(number)


async def notes(
    connection: Connection, kind: str, sprint_id: str | None, project_id: str | None
) -> list[Row]:
    rows = await connection.fetch(
        """SELECT id::text, event_type, project_id, sprint_id, note_content, summary,
                  coalesce(report_date, created_at::date) AS report_date, additional_data,
                  additional_data->>'correlation_id' AS correlation_id, created_at
           FROM chronicle_notes WHERE event_type = $1
           AND ($2::text IS NULL OR sprint_id = $2) AND ($3::text IS NULL OR project_id = $3)
           ORDER BY created_at DESC LIMIT $4""",
        *(kind, sprint_id, project_id, MAX_ROWS),
    )
    return [dict(row) for row in rows]


async def add_retrospective(tx: Connection, content: Row) -> str:
    number = await tx.fetchval(
        """INSERT INTO sprint_retrospectives (sprint_id, project_id, content)
           VALUES ($1, $2, $3) ON CONFLICT DO NOTHING RETURNING id""",
        *(content["sprint_id"], content["project_id"], content),
    )
    if number is None:
        raise Conflict(f"Sprint {content['sprint_id']} has a retrospective already")
    return str(number)


async def retrospectives(
    connection: Connection, sprint_id: str | None, project_id: str | None
) -> list[Row]:
    rows = await connection.fetch(
        """SELECT id::text, content, created_at FROM sprint_retrospectives
           WHERE ($1::text IS NULL OR sprint_id = $1) AND ($2::text IS NULL OR project_id = $2)
           ORDER BY created_at DESC LIMIT $3""",
        *(sprint_id, project_id, MAX_ROWS),
    )
    return [
        {"retrospective_id": row["id"], **row["content"], "created_at": row["created_at"]}
        for row in rows
    ]
