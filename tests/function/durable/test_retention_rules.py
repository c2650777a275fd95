"""Each function's rules delete what is old and done with, and nothing else."""

from __future__ import annotations

import asyncpg
import pytest

from functions.kit.durable.retention import forget
from tests.conftest import MakeMigrated
from tests.support.cluster import Cluster
from tests.support.repository import rules_of, target

OLD = "now() - interval '401 days'"
# A function, a table with columns, rows, and the first column of those that stay.
CASES = [
    (
        "cycle_trigger",
        "cycle (project_id, sprint_id, state, updated_at)",
        f"('old', '', 'completed', {OLD}), ('open', '', 'open', {OLD}), "
        f"('failed', '', 'failed', {OLD}), ('young', '', 'completed', now())",
        {"open", "failed", "young"},
    ),
    (
        "daily_scrum_service",
        "scrums (sprint_id, request, moves, drawn_at)",
        f"('old', '1', '[]', {OLD}), ('young', '1', '[]', now())",
        {"young"},
    ),
    (
        "dead_letter",
        "user_action (subject, function, at, who, action, reason)",
        f"('old', 'dead_letter', {OLD}, 'ann', 'deleted', ''), "
        "('young', 'dead_letter', now(), 'ann', 'deleted', '')",
        {"young"},
    ),
    (
        "project_orchestrator",
        "decisions (project_id, request, attempt, decision, decided_at)",
        f"('old', '1', 1, '{{}}', {OLD}), ('young', '1', 1, '{{}}', now())",
        {"young"},
    ),
    (
        "scheduler",
        "backfill (schedule, since, before, which, at_once, state, requested_by, made_at,"
        " changed_at, changed_by)",
        f"('old', now(), now(), 'all', 1, 'done', 'ann', {OLD}, {OLD}, 'ann'), "
        f"('paused', now(), now(), 'all', 1, 'paused', 'ann', {OLD}, {OLD}, 'ann'), "
        f"('young', now(), now(), 'all', 1, 'cancelled', 'ann', {OLD}, now(), 'ann')",
        {"paused", "young"},
    ),
    (
        "sprint_report",
        "completion (sprint_id, project_id, total_tasks, reported_at)",
        f"('old', 'p', 1, {OLD}), ('young', 'p', 1, now())",
        {"young"},
    ),
    (
        "webhook_receiver",
        "comparison (name, due_at)",
        f"('old', {OLD}), ('young', now())",
        {"young"},
    ),
    (
        "webhook_receiver",
        "hook_delivery (hook, guid, event, attempt, delivered_at, state)",
        f"('old', '1', 'issues', 1, {OLD}, 'missing'), "
        "('young', '1', 'issues', 1, now() - interval '32 days', 'missing')",
        {"young"},
    ),
]


@pytest.mark.parametrize(
    ("name", "into", "rows", "stay"),
    [pytest.param(*case, id="-".join([case[0], case[1].split()[0]])) for case in CASES],
)
async def test_what_is_old_and_done_with_goes(
    name: str, into: str, rows: str, stay: set[str], cluster: Cluster, make_migrated: MakeMigrated
) -> None:
    url = await make_migrated(name)
    ctx = cluster.deploy(target(name), {"DATABASE_URL": url})
    connection = await asyncpg.connect(url)
    await connection.execute(f"INSERT INTO {into} VALUES {rows}")

    await forget(ctx.store, name, rules=rules_of(name, ctx))

    table, _, columns = into.partition(" (")
    left = await connection.fetch(f"SELECT {columns.partition(',')[0]} FROM {table}")
    await connection.close()
    assert {row[0] for row in left} == stay
