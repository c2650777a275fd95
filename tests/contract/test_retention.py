"""No table grows for ever: a rule deletes from it, or it is known why there is none."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest

from functions.kit.durable import migrate, retention
from tests.support.cluster import Cluster
from tests.support.repository import all_folders, rules_of, target

# Tables without a rule, by the reason.
WITHOUT_RULE = {
    "what users own: they delete it": {
        "backlog_service": {"tasks", "stories", "story_tasks"},
        "chronicle_service": {"chronicle_notes", "sprint_retrospectives"},
        "client_service": {"realm_client"},
        "orchestrator": {
            "orchestration_template",
            "orchestration_step_template",
            "worker_registration",
        },
        "project_service": {"projects", "employees", "team_members", "holidays", "pto"},
        "realm_service": {"realm"},
        "sprint_service": {"sprints", "tasks"},
    },
    "a few rows, however long it runs": {
        "project_orchestrator": {"sample_data"},
        "scheduler": {"schedule", "schedule_version", "tick_total"},
    },
    "deleted with the row that it refers to": {
        "dead_letter": {"redrive"},
        "scheduler": {"backfill_item"},
    },
    "dropped where no row names it any more": {"agent_outputs": {"agent_artifact"}},
    "of the version before: its rows are moved to the kit's outbox": {"sprint_service": {"outbox"}},
}
CREATED = re.compile(r"\bCREATE TABLE (?:IF NOT EXISTS )?(\w+)|\bcreate_table\(\s*\"(\w+)", re.I)
DROPPED = re.compile(r"\bDROP TABLE (?:IF EXISTS )?([\w, ]+)", re.I)
RENAMED = re.compile(r"\b_rename\(\"(\w+)\", \"(\w+)\"\)")
DELETED = re.compile(r"\bDELETE FROM (\w+)")


def tables_of(migrations: Path) -> set[str]:
    """The tables that are there once all migrations of a folder have run."""
    found: set[str] = set()
    for path in sorted(migrations.glob("[0-9]*.py")):
        upgrade, _, _ = path.read_text().partition("def downgrade")
        for names in DROPPED.findall(upgrade):
            found -= {name.strip() for name in names.split(",")}
        found |= {sql or operation for sql, operation in CREATED.findall(upgrade)}
        for old, new in RENAMED.findall(upgrade):
            found = found - {old} | {new}
    return found


def deleted_by(rules: Sequence[retention.Rule]) -> set[str]:
    return {name for one in rules for name in DELETED.findall(one.statement)}


OWNERS = [name for name, folder in all_folders().items() if (folder / "migrations").is_dir()]


@pytest.mark.parametrize("name", OWNERS)
def test_each_table_has_a_rule_or_a_reason(name: str, cluster: Cluster) -> None:
    ruled = deleted_by(rules_of(name, cluster.deploy(target(name))))
    reasons = [tables.get(name, set()) for tables in WITHOUT_RULE.values()]
    listed = [ruled, *reasons]
    assert sorted(t for tables in listed for t in tables) == sorted(
        tables_of(all_folders()[name] / "migrations")
    ), "each table once: it has a rule, or stands above with the reason why not"


def test_each_table_of_the_kit_has_a_rule() -> None:
    assert deleted_by(retention._of_kit("f", 1, 1)) == tables_of(migrate.KIT.migrations)


def test_only_owners_are_listed() -> None:
    assert {name for tables in WITHOUT_RULE.values() for name in tables} <= set(OWNERS)
