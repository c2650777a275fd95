"""How rows travel into SQL: as records of named columns, never as lists that must be counted."""

from __future__ import annotations

import re

import pytest

from tests.support.repository import ROOT

MODULES = sorted((ROOT / "functions").rglob("*.py"))
# Several arrays side by side, and rows as tuples. Where arrays are faster, the code that names
# the columns numbers them: `orchestrator/batch_writes.py`.
COUNTED = re.compile(r"unnest\([^()]*\$\d+[^()]*,|\.executemany\(|\.copy_records_to_table\(")


def test_rows_travel_as_named_records() -> None:
    found = [path.name for path in MODULES if COUNTED.search(path.read_text())]
    assert found == []


@pytest.mark.parametrize(
    "planted",
    [
        "FROM unnest($1::text[], $2::bigint[]) AS given (source, id)",
        "FROM unnest($1::text[],\n            $2::int[])",
        "await tx.executemany(",
    ],
)
def test_rows_that_must_be_counted_are_found(planted: str) -> None:
    assert COUNTED.search(planted)


def test_one_list_of_keys_is_no_row() -> None:
    assert not COUNTED.search("SELECT step FROM unnest($2::text[]) AS step, unnest({arrays})")


def test_the_inbox_has_one_owner() -> None:
    """Its SQL stands in the kit alone."""
    table = re.compile(r"\b(?:FROM|INTO|UPDATE|JOIN) inbox\b")
    own = [path for path in MODULES if table.search(path.read_text())]
    assert {path.parent.relative_to(ROOT).as_posix() for path in own} <= {
        *("functions/kit/durable", "functions/kit/process", "functions/kit/durable/migrations")
    }
