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


def test_the_migrations_of_an_owner_are_one_line() -> None:
    """Two of one number, made at once, would both be the next: a database gets one of them."""
    for folder in sorted({path.parent for path in (ROOT / "functions").rglob("migrations/0*.py")}):
        files = sorted(folder.glob("[0-9]*.py"))
        numbers = [path.name.partition("_")[0] for path in files]
        assert numbers == [f"{n:04}" for n in range(1, len(files) + 1)], folder
        for path, before in zip(files, [None, *numbers], strict=False):
            text = path.read_text()
            assert f'\nrevision = "{path.name[:4]}"' in text, path
            assert f"\ndown_revision = {f'{chr(34)}{before}{chr(34)}' if before else None}" in text
