"""All SQL of project-service."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from functions.kit.durable import Connection
from functions.kit.errors import Conflict, NotFound

Row = dict[str, Any]


@dataclass(frozen=True)
class Kind:
    """Rows whose id is given by who adds them."""

    noun: str
    table: str
    columns: tuple[str, ...]

    async def add(self, tx: Connection, row: Row) -> None:
        values = ", ".join(f"${n}" for n in range(1, len(self.columns) + 1))
        added = await tx.fetchval(
            f"""INSERT INTO {self.table} ({", ".join(self.columns)}) VALUES ({values})
                ON CONFLICT DO NOTHING RETURNING true""",
            *(row[name] for name in self.columns),
        )
        if not added:
            raise Conflict(f"{self.noun} {row['id']} already exists")

    async def page(self, connection: Connection, limit: int, offset: int) -> list[Row]:
        rows = await connection.fetch(
            f"""SELECT {", ".join(self.columns)} FROM {self.table}
                ORDER BY id LIMIT $1 OFFSET $2""",
            *(limit, offset),
        )
        return [dict(row) for row in rows]

    async def get(self, connection: Connection, id_: str) -> Row:
        row = await connection.fetchrow(
            f"SELECT {', '.join(self.columns)} FROM {self.table} WHERE id = $1", id_
        )
        if row is None:
            raise NotFound(f"{self.noun} {id_} not found")
        return dict(row)


PROJECTS = Kind("Project", "projects", ("id", "name", "description", "status"))
EMPLOYEES = Kind("Employee", "employees", ("id", "name", "gender", "state", "age"))


async def set_status(connection: Connection, project_id: str, status: str) -> None:
    if not await connection.fetchval(
        "UPDATE projects SET status = $2 WHERE id = $1 RETURNING true", project_id, status
    ):
        raise NotFound(f"Project {project_id} not found")


async def projects_of(connection: Connection, employee_id: str) -> list[Row]:
    """The teams, one for each project, that an employee is on."""
    await EMPLOYEES.get(connection, employee_id)
    rows = await connection.fetch(
        """SELECT p.id AS project_id, p.name FROM team_members m JOIN projects p
           ON p.id = m.project_id WHERE m.employee_id = $1 ORDER BY p.id""",
        employee_id,
    )
    return [dict(row) for row in rows]


async def assign(tx: Connection, project_id: str, employee_ids: Sequence[str]) -> int:
    """Put employees on a project's team; returns how many were not on it."""
    await PROJECTS.get(tx, project_id)
    unknown = await tx.fetch(
        """SELECT DISTINCT given.id FROM unnest($1::text[]) AS given(id)
           LEFT JOIN employees e ON e.id = given.id WHERE e.id IS NULL ORDER BY given.id""",
        list(employee_ids),
    )
    if unknown:
        raise NotFound(f"Employees not found: {', '.join(row['id'] for row in unknown)}")
    added = await tx.fetch(
        """INSERT INTO team_members (project_id, employee_id)
           SELECT $1, given.id FROM unnest($2::text[]) AS given(id)
           ON CONFLICT DO NOTHING RETURNING employee_id""",
        *(project_id, list(employee_ids)),
    )
    return len(added)


async def team(connection: Connection, project_id: str) -> list[Row]:
    await PROJECTS.get(connection, project_id)
    rows = await connection.fetch(
        """SELECT e.id, e.name, e.gender, e.state, e.age FROM team_members m
           JOIN employees e ON e.id = m.employee_id WHERE m.project_id = $1 ORDER BY e.id""",
        project_id,
    )
    return [dict(row) for row in rows]


async def teams(connection: Connection, limit: int, offset: int) -> list[Row]:
    """The projects that have a team, with its size."""
    rows = await connection.fetch(
        """SELECT p.id AS project_id, p.name, count(*)::int AS members FROM team_members m
           JOIN projects p ON p.id = m.project_id GROUP BY p.id ORDER BY p.id
           LIMIT $1 OFFSET $2""",
        *(limit, offset),
    )
    return [dict(row) for row in rows]


async def put_holidays(tx: Connection, holidays: Sequence[Row]) -> None:
    last = {h["holiday_date"]: h for h in holidays}
    await tx.execute(
        """INSERT INTO holidays (holiday_date, holiday_name, type)
           SELECT holiday_date, holiday_name, type FROM json_to_recordset($1)
               AS given (holiday_date date, holiday_name text, type text)
           ON CONFLICT (holiday_date) DO UPDATE
           SET holiday_name = excluded.holiday_name, type = excluded.type""",
        [h | {"holiday_date": str(day)} for day, h in last.items()],
    )


async def holidays(connection: Connection) -> list[Row]:
    rows = await connection.fetch(
        "SELECT holiday_date, holiday_name, type FROM holidays ORDER BY holiday_date LIMIT 10000"
    )
    return [dict(row) for row in rows]


async def add_pto(tx: Connection, project_id: str, employee_id: str, leave: Row) -> str:
    on_team = await tx.fetchval(
        "SELECT true FROM team_members WHERE project_id = $1 AND employee_id = $2",
        *(project_id, employee_id),
    )
    if not on_team:
        await PROJECTS.get(tx, project_id)
        raise NotFound(f"Employee {employee_id} is not on the team of project {project_id}")
    number = await tx.fetchval(
        """INSERT INTO pto (project_id, employee_id, start_date, end_date, reason)
           VALUES ($1, $2, $3, $4, $5) RETURNING id""",
        *(project_id, employee_id, leave["start_date"], leave["end_date"], leave["reason"]),
    )
    return str(number)


async def pto(connection: Connection, project_id: str, employee_id: str | None) -> list[Row]:
    await PROJECTS.get(connection, project_id)
    rows = await connection.fetch(
        """SELECT id::text AS pto_id, employee_id, start_date, end_date, reason FROM pto
           WHERE project_id = $1 AND ($2::text IS NULL OR employee_id = $2)
           ORDER BY start_date, id LIMIT 10000""",
        *(project_id, employee_id),
    )
    return [dict(row) for row in rows]


async def delete_pto(connection: Connection, project_id: str, pto_id: str) -> None:
    if not await connection.fetchval(
        "DELETE FROM pto WHERE project_id = $1 AND id::text = $2 RETURNING true",
        *(project_id, pto_id),
    ):
        raise NotFound(f"Leave {pto_id} of project {project_id} not found")


async def absences(connection: Connection, project_id: str, first: date, last: date) -> list[Row]:
    """Holidays, and leave of the project's team, that touch the days `first` to `last`."""
    rows = await connection.fetch(
        """SELECT 'holiday' AS type, holiday_date AS date, holiday_name AS name, type AS details
           FROM holidays WHERE holiday_date BETWEEN $2 AND $3
           UNION ALL
           SELECT 'pto', greatest(l.start_date, $2), e.name,
                  concat(l.start_date, ' to ', l.end_date, ': ' || l.reason)
           FROM pto l JOIN employees e ON e.id = l.employee_id
           WHERE l.project_id = $1 AND l.start_date <= $3 AND l.end_date >= $2
           ORDER BY 2, 1, 3 LIMIT 10000""",
        *(project_id, first, last),
    )
    return [dict(row) for row in rows]
