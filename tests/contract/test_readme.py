"""Nothing that the README says about events, functions and their flow may drift."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from functions.kit.serve import FUNCTIONS
from tests.contract import tables
from tests.contract.repository import ROOT

MARKED = [
    pytest.param(path, name, id=f"{path.parent.name}-{name}")
    for path in tables.DOCUMENTS
    for name in tables.PARTS
    if f"<!-- {name} -->" in path.read_text()
]


@pytest.mark.parametrize(("path", "name"), MARKED)
def test_a_readme_says_what_the_code_and_the_yaml_say(path: Path, name: str) -> None:
    assert f"<!-- {name} -->\n{tables.PARTS[name]()}\n<!-- /{name} -->" in path.read_text(), (
        "run python -m tests.contract.tables --write"
    )


def test_every_part_stands_in_a_readme() -> None:
    assert {case.values[1] for case in MARKED} == set(tables.PARTS)


def test_the_flow_shows_the_morning() -> None:
    lines = tables.flow()
    assert "sprint-report -- sprint.completed --> cycle-trigger" in lines
    assert "scrum-simulate -- sprint.simulated --> scrum-report" in lines
    assert "30 8 * * * America/Chicago" in lines


def test_what_stands_between_markers_is_made_anew_and_the_rest_kept() -> None:
    text = tables.filled("a\n<!-- flow -->\nold\n<!-- /flow -->\nb\n")
    assert text == f"a\n<!-- flow -->\n{tables.flow()}\n<!-- /flow -->\nb\n"


def test_what_the_orchestrator_promises_is_proven_by_tests_that_exist() -> None:
    lines = (FUNCTIONS / "orchestrator" / "README.md").read_text().splitlines()
    rows = [line.split("|")[1:-1] for line in lines if line.startswith("| ")]
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    assert len(rows) > 15
    for situation, _, proof in rows[1:]:
        named = re.findall(r"`(test_\w+)`", proof)
        assert named, f"nothing proves {situation}"
        for name in named:
            assert f"def {name}(" in tests, f"{situation}: there is no {name}"
