"""Projects, employees, who works on what, holidays and leave."""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE projects (
            id text COLLATE "C" PRIMARY KEY,
            name text NOT NULL,
            description text NOT NULL,
            status text NOT NULL
        )
        """
    )
    op.execute(
        """
        CREATE TABLE employees (
            id text COLLATE "C" PRIMARY KEY,
            name text NOT NULL,
            gender text,
            state text,
            age int CHECK (age BETWEEN 0 AND 150)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE team_members (
            project_id text COLLATE "C" REFERENCES projects,
            employee_id text COLLATE "C" REFERENCES employees,
            PRIMARY KEY (project_id, employee_id)
        )
        """
    )
    op.execute("CREATE INDEX team_members_employee ON team_members (employee_id)")
    op.execute(
        """
        CREATE TABLE holidays (
            holiday_date date PRIMARY KEY,
            holiday_name text NOT NULL,
            type text NOT NULL
        )
        """
    )
    op.execute(
        """
        CREATE TABLE pto (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            project_id text COLLATE "C" NOT NULL,
            employee_id text COLLATE "C" NOT NULL,
            start_date date NOT NULL,
            end_date date NOT NULL CHECK (end_date >= start_date),
            reason text,
            FOREIGN KEY (project_id, employee_id) REFERENCES team_members
        )
        """
    )
    op.execute("CREATE INDEX pto_project ON pto (project_id, start_date)")


def downgrade() -> None:
    op.execute("DROP TABLE pto, holidays, team_members, employees, projects")
